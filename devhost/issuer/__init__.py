"""A local issuer of identities: makes keys, publishes them on loopback, signs any claims.

`python -m devhost.issuer` serves it: `GET /keys` is what tenants.yaml names in `jwks_url`, and
`POST /token` answers with a token of the claims that its body has. Whoever reaches it can be
anybody, so it is for developing and testing alone.
"""
