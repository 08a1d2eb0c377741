"""What is looked at before it reaches a flow or a model, and let through, flagged or blocked."""
