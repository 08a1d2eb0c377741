"""Bearer tokens: what holds, and all that must not."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import SluiceError, Unauthenticated
from devhost.issuer.signing_key import SigningKey
from policies.identity.tokens import ProvedToken, Tokens
from tests.unit.identity_fakes import (
    ISSUER,
    KEYS_URL,
    Published,
    Time,
    issuer,
    issuer_settings,
    signing_key,
)


class Check:
    """One issuer, and the app that believes it."""

    def __init__(self, algorithm: Any = "ES256", **settings: Any) -> None:
        self.issuer = issuer(algorithm=algorithm)
        self.time = Time()
        self.wire = Published(self.issuer)
        self.tokens = Tokens([issuer_settings(**settings)], self.wire, self.time.clocks)

    async def prove(self, token: str, at: float | None = None) -> ProvedToken:
        return await self.tokens.prove(token, at)

    async def refuses(self, token: str, match: str | None = None) -> None:
        with pytest.raises(Unauthenticated, match=match):
            await self.prove(token)


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def claims(token: str) -> dict[str, Any]:
    read: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return read


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_token_of_each_algorithm_holds(algorithm):
    check = Check(algorithm)
    proved = await check.prove(check.issuer.token({"groups": ["a", "b"]}))
    assert proved.claims.issuer == ISSUER
    assert proved.claims.all_of("groups") == ["a", "b"]


async def test_a_key_without_an_algorithm_signs_as_its_kind_does():
    """Entra ID publishes such."""
    check = Check("RS256")
    check.wire.body = json.dumps(
        {"keys": [_without(signing_key("RS256").published, "alg")]}
    ).encode()
    await check.prove(check.issuer.token())
    check.issuer.keys = [SigningKey(signing_key("RS256").private, "PS256", signing_key("RS256").id)]
    await check.refuses(check.issuer.token(), "another algorithm")


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({"iss": "https://other.example"}, "no issuer"),
        ({"iss": ISSUER + "/"}, "no issuer"),
        ({"iss": None}, "no issuer"),
        ({"iss": [ISSUER]}, "no issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": None}, "`aud`"),
        ({"aud": []}, "`aud`"),
        ({"aud": ["other", "sluice2"]}, "audience"),
        ({"sub": None}, "`sub`"),
        ({"sub": 5}, "not hold"),
        ({"exp": None}, "`exp`"),
        ({"exp": "soon"}, "no time"),
        ({"exp": True}, "no time"),
        ({"exp": 1e400}, "no time"),
        ({"nbf": "now"}, "no time"),
        ({"exp": 0}, "expired"),
        ({"nbf": 4e9}, "not valid yet"),
        ({"iat": 4e9}, "not valid yet"),
    ],
)
async def test_a_token_of_other_claims_does_not(told, match):
    check = Check()
    await check.refuses(check.issuer.token(told), match)


async def test_one_of_several_audiences_will_do():
    check = Check(audience=["api://sluice", "sluice"])
    await check.prove(check.issuer.token({"aud": ["else", "api://sluice"]}))
    await check.prove(check.issuer.token())


async def test_claims_may_be_required():
    check = Check(required_claims=["tid"])
    await check.refuses(check.issuer.token(), "`tid`")
    await check.prove(check.issuer.token({"tid": "t"}))


@pytest.mark.parametrize(("skew", "holds"), [(60, True), (0, False)])
async def test_clocks_may_differ_by_so_much(skew, holds):
    check = Check(clock_skew_seconds=skew)
    now = check.time.epoch()
    for told in ({"exp": now - 59, "nbf": now - 99}, {"nbf": now + 59}, {"iat": now + 59}):
        if holds:
            await check.prove(check.issuer.token(told))
        else:
            await check.refuses(check.issuer.token(told))
    for told in ({"exp": now - 61, "nbf": now - 99}, {"nbf": now + 62}, {"iat": now + 62}):
        await check.refuses(check.issuer.token(told))


async def test_a_token_may_be_judged_by_another_time():
    check = Check()
    now = check.time.epoch()
    token = check.issuer.token({"iat": now, "nbf": now, "exp": now + 100})
    for at, holds in ((now - 61, False), (now - 59, True), (now + 159, True), (now + 161, False)):
        if holds:
            await check.prove(token, at)
        else:
            with pytest.raises(Unauthenticated):
                await check.prove(token, at)


async def test_an_unsigned_token_is_refused():
    check = Check()
    told = claims(check.issuer.token())
    for alg in ("none", "None", "NONE", "", None, 5, ["ES256"], {}):
        header = {"alg": alg, "typ": "JWT", "kid": signing_key().id}
        await check.refuses(f"{part(header)}.{part(told)}.")
        await check.refuses(f"{part(header)}.{part(told)}.{part(b'x')}")
    await check.refuses(f"{part({'typ': 'JWT'})}.{part(told)}.")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_public_key_is_no_secret_to_sign_with(algorithm):
    """What a verifier that takes the header's word for the algorithm would accept."""
    check = Check(algorithm)
    key = signing_key(algorithm)
    head = part({"alg": "HS256", "typ": "JWT", "kid": key.id})
    signed = f"{head}.{part(claims(check.issuer.token()))}"
    for secret in (key.pem, key.pem.strip(), json.dumps(key.published).encode()):
        signature = hmac.digest(secret, signed.encode(), sha256)
        await check.refuses(f"{signed}.{part(signature)}", "not signed with one of")


async def test_another_key_of_the_same_id_is_refused():
    check = Check()
    stolen = SigningKey(SigningKey.make("ES256").private, "ES256", signing_key().id)
    await check.refuses(check.issuer.token(key=stolen), "signature")


async def test_a_token_that_brings_its_own_key_is_refused():
    check = Check()
    own = SigningKey.make("ES256")
    for header in (
        {"jwk": own.published},
        {"jku": "https://evil.example/keys", "kid": own.id},
        {"x5u": "https://evil.example/cert"},
    ):
        told = claims(check.issuer.token())
        token = jwt.encode(told, own.private, algorithm="ES256", headers=header)
        await check.refuses(token)
    assert check.wire.sent <= 1  # and nobody else's keys were asked for


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "exp", None])
async def test_a_header_that_must_be_understood_and_is_not_is_refused(crit):
    check = Check()
    told = claims(check.issuer.token())
    headers = {"kid": signing_key().id, "crit": crit}
    token = jwt.encode(told, signing_key().private, algorithm="ES256", headers=headers)
    await check.refuses(token)


async def test_a_token_without_a_key_id_takes_the_only_key():
    check = Check()
    told = claims(check.issuer.token())
    token = jwt.encode(told, signing_key().private, algorithm="ES256")
    await check.prove(token)
    check = Check()
    check.issuer.roll_over()
    await check.refuses(token, "no key")


async def test_a_very_long_token_is_refused_unread():
    check = Check()
    await check.refuses(check.issuer.token({"groups": ["g" * 40] * 400}), "longer")
    assert check.wire.sent == 0


async def test_a_deeply_nested_token_is_refused():
    deep = b'{"a":' * 3000 + b"1" + b"}" * 3000
    check = Check()
    await check.refuses(f"{part(deep)[:8000]}.{part(deep)[:8000]}.x")
    await check.refuses(f"{part({'alg': 'ES256'})}.{part(b'[' * 8000)}.x")


TOKEN = issuer().token()


@given(
    at=st.integers(0, len(TOKEN) - 1),
    char=st.characters(max_codepoint=0x2FF),
    how=st.sampled_from(["replace", "insert", "drop"]),
)
async def test_no_mangled_token_is_accepted(at, char, how):
    """Not even one whose bytes come to the same: a token has one text."""
    check = Check()
    rest = TOKEN[at:] if how == "insert" else TOKEN[at + 1 :]
    mangled = TOKEN[:at] + ("" if how == "drop" else char) + rest
    if mangled != TOKEN:
        await check.refuses(mangled)


async def test_a_token_has_one_text():
    """The last character of a signature has bits to spare: 16 of them mean the same bytes."""
    check = Check()
    for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=\n .":
        for token in (TOKEN[:-1] + char, TOKEN + char, char + TOKEN):
            if token != TOKEN:
                await check.refuses(token)


@given(st.data())
async def test_no_token_with_a_changed_claim_is_accepted(data):
    check = Check()
    head, body, signature = check.issuer.token({"groups": ["research"]}).split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    name = data.draw(st.sampled_from(sorted(told)))
    value = data.draw(st.none() | st.text() | st.integers() | st.lists(st.text()))
    if told[name] != value:
        await check.refuses(f"{head}.{part(told | {name: value})}.{signature}")


async def test_no_sentence_repeats_what_was_sent():
    check = Check()
    secret = "s3cret"
    for told in ({"iss": secret}, {"aud": secret}, {"sub": None, "note": secret}, {"exp": secret}):
        with pytest.raises(SluiceError) as raised:
            await check.prove(check.issuer.token(told))
        assert secret not in raised.value.detail
        assert KEYS_URL not in raised.value.detail
