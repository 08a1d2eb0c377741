"""From what is known of a caller to a tenant, roles, and what they may use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Forbidden
from contracts.flows import FlowInfo
from contracts.identity import Identity, Role
from policies.identity.claims import Claims
from policies.identity.members import Members
from policies.identity.platform import is_enabled
from policies.identity.scopes import check_flow, check_model, may_call, may_run
from tests.unit.identity_fakes import ISSUER, issuer_settings, member

ENTRA = "https://login.microsoftonline.com/1/v2.0"


def members(**rules) -> Members:
    return Members(rules, [issuer_settings(roles_claim="scp")])


def claims(issuer: str = ISSUER, **values) -> Claims:
    return Claims(issuer, {"sub": "u1"} | values)


def test_who_has_the_value_belongs_to_the_tenant():
    who = members(a=[member("a")], b=[member("b"), member("b", claim="appid")])
    assert who.identity(claims(groups=["x", "a"])).tenant == "a"
    assert who.identity(claims(groups="b")).tenant == "b"
    assert who.identity(claims(appid="b")).tenant == "b"
    assert who.identity(claims(appid="b", groups=["b"])).tenant == "b"


@pytest.mark.parametrize(
    ("told", "issuer"),
    [
        ({}, ISSUER),
        ({"groups": ["c"]}, ISSUER),
        ({"groups": "a b"}, ISSUER),
        ({"groups": {"a": 1}}, ISSUER),
        ({"roles": ["a"]}, ISSUER),
        ({"groups": ["a"]}, "https://other.example"),
        ({"groups": ["a", "b"]}, ISSUER),
    ],
)
def test_who_belongs_to_none_or_to_two_is_of_no_tenant(told, issuer):
    with pytest.raises(Forbidden, match="exactly one"):
        members(a=[member("a")], b=[member("b")]).identity(claims(issuer, **told))


@pytest.mark.parametrize(
    ("told", "roles"),
    [
        (["sluice.submit", "sluice.read"], {Role.SUBMIT, Role.READ}),
        ("sluice.bill sluice.operate openid", {Role.BILL, Role.OPERATE}),
        (["submit", "SLUICE.READ", "sluice.", "sluice.admin", 5, None], set()),
        (None, set()),
    ],
)
def test_roles_are_those_that_are_named_in_full(told, roles):
    assert members(a=[member("a")]).identity(claims(groups="a", scp=told)).roles == roles


@pytest.mark.parametrize(
    ("issuer", "told", "subject"),
    [
        (ENTRA, {"oid": "o1"}, "entra:o1"),
        (ENTRA, {}, f"{ENTRA}#u1"),
        (ISSUER, {"oid": "o1"}, f"{ISSUER}#u1"),  # anybody may call an object what they like
        ("platform:github", {"oid": "o1"}, "platform:github#u1"),
    ],
)
def test_the_audit_log_takes_nobody_for_another(issuer, told, subject):
    assert claims(issuer, **told).subject == subject


@pytest.mark.parametrize(
    ("value", "enabled"),
    [("True", True), ("true", True), ("False", False), ("", False), ("1", False), (None, False)],
)
def test_the_platform_says_whether_it_sets_its_headers(value, enabled):
    assert is_enabled({} if value is None else {"WEBSITE_AUTH_ENABLED": value}) is enabled


# Scopes.


def caller(models=None, flows=None) -> Identity:
    names = [None if each is None else frozenset(each) for each in (models, flows)]
    return Identity("a", "key:1", frozenset(Role), *names)


def flow(*models: str) -> FlowInfo:
    return FlowInfo(name="f", kind="direct", description="", input_schema={}, models=list(models))


@pytest.mark.parametrize(
    ("models", "asked", "allowed"),
    [
        (None, "chat", True),
        (["chat"], "chat", True),
        (["chat"], "chat@v2", True),
        (["chat"], "chat2", False),
        (["chat"], "Chat", False),
        ([], "chat", False),
        (["chat@v2"], "chat@v1", False),
    ],
)
def test_models_that_a_caller_may_name(models, asked, allowed):
    assert may_call(caller(models), asked) is allowed
    if not allowed:
        with pytest.raises(Forbidden, match="may not use the model"):
            check_model(caller(models), asked)


@pytest.mark.parametrize(
    ("models", "flows", "calls", "allowed"),
    [
        (None, None, ["chat"], True),
        (None, ["f"], ["chat"], True),
        (None, ["g"], ["chat"], False),
        (["embed"], ["f"], ["chat"], True),  # with the models that it calls itself
        (["embed"], None, ["chat"], False),
        (["embed", "chat"], None, ["chat", "embed"], True),
        (["embed"], None, ["chat", "embed"], False),
        ([], None, [], True),
        (None, [], ["chat"], False),
    ],
)
def test_flows_that_a_caller_may_name(models, flows, calls, allowed):
    assert may_run(caller(models, flows), flow(*calls)) is allowed
    if not allowed:
        with pytest.raises(Forbidden, match="may not use the flow"):
            check_flow(caller(models, flows), flow(*calls))


NAMES = st.sampled_from(["chat", "embed", "score"])


@given(st.none() | st.frozensets(NAMES), st.lists(NAMES), st.frozensets(NAMES))
def test_more_scope_never_takes_anything_away(models, calls, more):
    narrow = caller(models)
    wide = caller(None if models is None else models | more)
    assert may_run(narrow, flow(*calls)) <= may_run(wide, flow(*calls))
