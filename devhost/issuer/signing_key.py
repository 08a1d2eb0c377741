"""A key pair that signs tokens, and its public half as issuers publish it."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms
from pydantic import JsonValue

type Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]


def _made(algorithm: Algorithm, bits: int) -> Private:
    match algorithm:
        case "RS256" | "PS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=bits)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()


@dataclass(frozen=True)
class SigningKey:
    """Held in memory alone."""

    private: Private
    algorithm: Algorithm
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def make(cls, algorithm: Algorithm = "RS256", bits: int = 2048) -> SigningKey:
        """`bits` of RSA keys."""
        return cls(_made(algorithm, bits), algorithm)

    @property
    def published(self) -> dict[str, JsonValue]:
        """The public half, as a JSON Web Key."""
        algorithm = get_default_algorithms()[self.algorithm]
        jwk: dict[str, JsonValue] = json.loads(algorithm.to_jwk(self.private.public_key()))
        return jwk | {"kid": self.id, "use": "sig", "alg": self.algorithm}

    @property
    def pem(self) -> bytes:
        """The public half as text, which a careless verifier would take for a secret."""
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
