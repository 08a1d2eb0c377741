"""Who asks: platform identities, tokens and keys, and the tenant that each belongs to."""
