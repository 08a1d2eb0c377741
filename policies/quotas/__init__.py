"""How much a tenant may use: rates, jobs at once, budgets, and which models and flows."""
