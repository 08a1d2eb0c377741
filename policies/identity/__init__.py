"""Who asks, for which tenant, and what they may do.

identities     the one way from a request or a message to an identity
  api_keys       keys, looked up in storage
  tokens         bearer tokens, checked
    signing_keys   the keys of their issuers
  platform       what App Service authentication says
  members        from claims to a tenant and roles
scopes         models and flows that a caller may name
settings       what tenants.yaml says of all that
"""
