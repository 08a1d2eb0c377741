"""Who may ask for what: identity, quotas, privacy and screening, declared in tenants.yaml."""
