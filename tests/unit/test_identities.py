"""The one way from what a request or a message carries to an identity."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Forbidden, Unauthenticated
from contracts.identity import Identity, Role
from policies.identity.identities import Allowed, MessageFacts
from tests.unit.identity_fakes import (
    ISSUER,
    StoredKeys,
    World,
    issuer_settings,
    signing_key,
)

EVERYTHING = frozenset(Role)


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def principal(**fields: Any) -> dict[str, str]:
    """The header as App Service writes it."""
    claims = {"iss": ISSUER, "groups": "research", "sub": "u1", "roles": "sluice.read"} | fields
    told = {
        "auth_typ": "aad",
        "claims": [{"typ": typ, "val": val} for typ, val in claims.items() if val is not None],
        "name_typ": "name",
        "role_typ": "roles",
    }
    return {"x-ms-client-principal": base64.b64encode(json.dumps(told).encode()).decode()}


async def refused(world: World, headers: dict[str, str], match: str) -> None:
    with pytest.raises(Unauthenticated, match=match):
        await world.identities.identify(headers)


async def test_a_token_names_tenant_subject_and_roles():
    world = World()
    identity = await world.identities.identify(bearer(world.token("sales", Role.READ)))
    assert identity == Identity("sales", f"{ISSUER}#somebody", frozenset({Role.READ}))


@pytest.mark.parametrize("header", ["authorization", "api-key"])
async def test_a_key_names_tenant_subject_roles_and_scopes(header):
    world = World()
    key = world.stored.issue("sales", [Role.SUBMIT], models=frozenset({"chat"}))
    text = f"Bearer {key.text}" if header == "authorization" else key.text
    identity = await world.identities.identify({header: text})
    roles, models = frozenset({Role.SUBMIT}), frozenset({"chat"})
    assert identity == Identity("sales", f"key:{key.id}", roles, models, None)


async def test_nobody_is_told_how_to_make_themselves_known():
    await refused(World(), {}, "send `Authorization: Bearer`")


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Basic dTpw", "sk-sluice-1", "bearer\t"]
)
async def test_another_scheme_is_refused(given):
    await refused(World(), {"authorization": given}, "`Bearer` and a token")


async def test_two_credentials_are_refused_unless_they_are_one():
    world = World()
    key, other = world.stored.issue(), world.stored.issue()
    await refused(world, bearer(world.token()) | {"api-key": key.text}, "Two credentials")
    await refused(world, bearer(other.text) | {"api-key": key.text}, "Two credentials")
    await world.identities.identify(bearer(key.text) | {"api-key": key.text})


@pytest.mark.parametrize("header", ["", "-id", "-name", "-idp"])
async def test_the_platforms_header_is_refused_while_the_platform_does_not_set_it(header):
    """Beside an identity that holds too: whoever wrote it meant to be somebody else."""
    world = World(platform=False)
    forged = {f"x-ms-client-principal{header}": principal()["x-ms-client-principal"]}
    await refused(world, forged, "did not set")
    await refused(world, forged | bearer(world.stored.issue().text), "did not set")


async def test_the_platforms_word_is_believed_while_it_sets_the_header():
    world = World(platform=True)
    identity = await world.identities.identify(principal())
    assert identity == Identity("research", f"{ISSUER}#u1", frozenset({Role.READ}))
    # The token that came with it is the one that the platform has checked.
    assert await world.identities.identify(principal() | bearer("a.b.c")) == identity
    key = world.stored.issue("sales")
    assert (await world.identities.identify(principal() | bearer(key.text))).tenant == "sales"
    with pytest.raises(Forbidden, match="no tenant"):
        await world.identities.identify(principal(groups="nobody"))


async def test_what_was_proved_is_not_proved_again_while_it_cannot_have_changed():
    world = World()
    token = world.token()
    await world.identities.identify(bearer(token))
    world.issuer.roll_over(keep=False)
    world.time.seconds = 299
    await world.identities.identify(bearer(token))
    world.time.seconds = 400
    await world.identities.identify(bearer(token))  # by keys that were read 400 s ago
    assert world.wire.sent == 1
    world.time.seconds = 701
    await refused(world, bearer(token), "no key that its issuer publishes")


async def test_a_token_is_remembered_no_longer_than_it_holds():
    world = World()
    token = world.token(exp=world.time.epoch() + 10)
    await world.identities.identify(bearer(token))
    world.time.seconds = 69
    await world.identities.identify(bearer(token))  # clocks may differ by a minute
    world.time.seconds = 71
    await refused(world, bearer(token), "expired")


async def test_a_caller_may_use_no_more_than_their_tenant():
    models, flows = frozenset({"chat"}), frozenset({"f"})
    world = World(tenants={"research": Allowed(models, flows), "sales": Allowed()})
    key = world.stored.issue("research", models=frozenset({"chat", "embed"}))
    for headers in (bearer(key.text), bearer(world.token("research"))):
        identity = await world.identities.identify(headers)
        assert (identity.models, identity.flows) == (models, flows)
    other = world.stored.issue("research", models=frozenset({"embed"}))
    assert (await world.identities.identify(bearer(other.text))).models == frozenset()
    assert (await world.identities.identify(bearer(world.token("sales")))).models is None


async def test_a_key_of_a_tenant_that_there_is_no_more_opens_nothing():
    world = World()
    key = world.stored.issue("gone")
    with pytest.raises(Forbidden, match=r"of the tenant 'gone', which tenants\.yaml does not have"):
        await world.identities.identify(bearer(key.text))


@given(
    st.one_of(
        st.text(alphabet=st.characters(max_codepoint=255)),
        st.builds("Bearer {}".format, st.text(alphabet=st.characters(max_codepoint=255))),
        st.builds("Bearer sk-sluice-{}".format, st.text()),
        st.builds("Bearer {}.{}.{}".format, st.text(), st.text(), st.text()),
    )
)
async def test_whatever_is_sent_is_refused_and_never_a_fault(text):
    for header in ("authorization", "api-key"):
        with pytest.raises(Unauthenticated):
            await World().identities.identify({header: text})


@given(
    st.binary() | st.text().map(str.encode) | st.from_regex(rb'\{"auth_typ": .*', fullmatch=True)
)
async def test_whatever_the_platforms_header_holds_is_refused_and_never_a_fault(content):
    header = base64.b64encode(content).decode()
    with pytest.raises((Unauthenticated, Forbidden)):
        await World(platform=True).identities.identify({"x-ms-client-principal": header})


# Messages.

BODY = b'{"flow": "f", "input": {}}'
DIGEST = hashlib.sha256(BODY).hexdigest()


def message(world: World, **fields: Any) -> MessageFacts:
    return MessageFacts(**({"enqueued_at": world.time.now(), "id": "m1", "body": BODY} | fields))


async def test_a_message_proves_its_tenant_with_a_token():
    world = World()
    identity = await world.identities.identify_message(f"Bearer {world.token()}", message(world))
    assert identity.tenant == "research"


async def test_a_token_must_have_held_when_the_message_was_sent():
    world = World()
    token, sent_at = world.token(), world.time.now()
    world.time.seconds = 7 * 24 * 3600
    await world.identities.identify_message(f"Bearer {token}", message(world, enqueued_at=sent_at))
    late = message(world, enqueued_at=sent_at + timedelta(hours=2))
    with pytest.raises(Unauthenticated, match="expired"):
        await world.identities.identify_message(f"Bearer {token}", late)


@pytest.mark.parametrize("given", [None, "", "Bearer", "token", 5, b"Bearer x", "Bearer a.b.c"])
async def test_a_message_without_an_identity_is_refused(given):
    world = World()
    with pytest.raises(Unauthenticated):
        await world.identities.identify_message(given, message(world))


async def test_an_api_key_is_refused_in_a_message():
    world = World()
    key = world.stored.issue()
    with pytest.raises(Unauthenticated, match="everybody who reads the queue"):
        await world.identities.identify_message(f"Bearer {key.text}", message(world))


async def test_messages_without_a_token_may_be_one_tenants():
    world = World(unsigned_tenant="sales")
    identity = await world.identities.identify_message(None, message(world))
    assert identity == Identity("sales", "service-bus", frozenset({Role.SUBMIT}))
    with pytest.raises(Unauthenticated):  # what is said must hold all the same
        await world.identities.identify_message("Bearer a.b.c", message(world))


def producer() -> World:
    """An issuer that is a producer with a key pair of its own."""
    keys = [signing_key().published]
    return World(settings=(issuer_settings(jwks_url=None, keys=keys, signs_messages=True),))


async def test_a_producers_token_is_for_one_message():
    world = producer()
    token = f"Bearer {world.token(jti='m1', body_sha256=DIGEST)}"
    assert (await world.identities.identify_message(token, message(world))).tenant == "research"
    for other in (
        message(world, id="m2"),
        message(world, body=BODY + b" "),
        message(world, id=None),
    ):
        with pytest.raises(Unauthenticated, match=r"`jti`|`body_sha256`"):
            await world.identities.identify_message(token, other)


@pytest.mark.parametrize(
    "claims", [{}, {"jti": "m1"}, {"body_sha256": DIGEST}, {"jti": "m1", "body_sha256": None}]
)
async def test_a_producers_token_must_say_for_which(claims):
    world = producer()
    with pytest.raises(Unauthenticated):
        await world.identities.identify_message(f"Bearer {world.token(**claims)}", message(world))


async def test_a_token_made_for_a_message_is_of_no_use_at_the_http_door():
    world = producer()
    await refused(world, bearer(world.token(jti="m1", body_sha256=DIGEST)), "for a message")


async def test_one_may_send_for_a_tenant_that_there_is():
    world = World(tenants={"research": Allowed(frozenset({"chat"}))})
    identity = world.identities.of_tenant("research", "blob")
    assert identity == Identity(
        "research", "blob", frozenset({Role.SUBMIT}), frozenset({"chat"}), None
    )
    assert world.identities.of_tenant("sales", "blob") is None


async def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("policies.identity.identities.MOST_PROVED", 2)
    world = World()
    for number in range(5):
        await world.identities.identify(bearer(world.token(sub=str(number))))
    assert len(world.identities._proved) == 2


def test_the_fakes_issue_keys_that_differ():
    stored = StoredKeys()
    assert stored.issue().text != stored.issue().text
