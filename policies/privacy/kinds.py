"""The kinds of personal data that patterns find. A value's placeholder is named after its kind."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    EMAIL = "email"
    PHONE = "phone"
    IBAN = "iban"
    CARD = "card"
    """A payment card's number."""
    SSN = "ssn"
    """A US social security number."""
    NINO = "nino"
    """A UK national insurance number."""
    TAX_ID = "tax_id"
    """A German Steuer-Identifikationsnummer."""
    IP = "ip"
    """An IPv4 or IPv6 address, but for loopback and the like."""
    PASSPORT = "passport"
    """The machine-readable lines of a passport."""
    LOGIN = "login"
    """User and password inside a URL."""
    KEY = "key"
    """A secret: keys of Azure, AWS, GitHub and others, JSON Web Tokens, private keys."""
