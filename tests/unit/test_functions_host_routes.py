"""Route templates: what matches, with which values, and which of several is meant."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.functions_host.routes import RouteError, compile_route, split_path


def match(template: str, path: str):
    return compile_route(template).match(split_path(path))


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("jobs", "/jobs", {}),
        ("jobs", "/Jobs/", {}),
        ("jobs", "/jobs/1", None),
        ("jobs/{id}", "/jobs", None),
        ("jobs/{id}", "/jobs/1", {"id": "1"}),
        ("jobs/{id}", "/jobs/a%2Fb%20c", {"id": "a/b c"}),
        ("jobs/{id?}", "/jobs", {}),
        ("jobs/{id?}", "/jobs/1", {"id": "1"}),
        ("jobs/{id=7}", "/jobs", {"id": "7"}),
        ("files/{*path}", "/files", {}),
        ("files/{*path}", "/files/a/b/c", {"path": "a/b/c"}),
        ("files/{**path}", "/files/a", {"path": "a"}),
        ("{*path}", "/", {}),
        ("a/{x}/b/{y}", "/a/1/b/2", {"x": "1", "y": "2"}),
        ("f-{name}.{ext}", "/f-a.b.txt", {"name": "a.b", "ext": "txt"}),
        ("v{major:int}", "/v2", {"major": "2"}),
        ("v{major:int}", "/vx", None),
        ("a.b", "/aXb", None),
    ],
)
def test_matches(template, path, values):
    assert match(template, path) == values


@pytest.mark.parametrize(
    ("constraint", "accepted", "refused"),
    [
        ("int", ["0", "-5", "2147483647"], ["x", "1.5", "2147483648", "٣"]),
        ("long", ["9223372036854775807"], ["9223372036854775808"]),
        ("bool", ["true", "FALSE"], ["yes"]),
        ("guid", ["0f8fad5b-d9cb-469f-a165-70867728950e"], ["0f8fad5b"]),
        ("alpha", ["abc"], ["ab1", "é"]),
        ("datetime", ["2016-12-31", "2016-12-31T07:32:00"], ["yesterday"]),
        ("decimal", ["49.99", "-1"], ["1e3", "x"]),
        ("double", ["1e3", ".5"], ["x"]),
        ("length(3)", ["abc"], ["ab", "abcd"]),
        ("length(2,3)", ["ab", "abc"], ["a", "abcd"]),
        ("minlength(2)", ["ab"], ["a"]),
        ("maxlength(2)", ["ab"], ["abc"]),
        ("min(18)", ["18"], ["17", "x"]),
        ("max(18)", ["18"], ["19"]),
        ("range(1,3)", ["1", "3"], ["0", "4"]),
        ("regex(^\\d{{3}}$)", ["123"], ["1234"]),
        ("regex(^a:b=c$)", ["a:b=c"], ["a"]),
        ("alpha:length(2)", ["ab"], ["a1", "abc"]),
    ],
)
def test_constraints(constraint, accepted, refused):
    route = compile_route(f"x/{{value:{constraint}}}")
    for value in accepted:
        assert route.match(["x", value]) == {"value": value}
    for value in refused:
        assert route.match(["x", value]) is None


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{id:nope}", "unknown constraint 'nope'; known: int, long"),
        ("{id:length(x)}", "length(x)"),
        ("{id:length(1,2,3)}", "length(1,2,3)"),
        ("{id:regex(()}", "regex(()"),
        ("{id:regex([)}", "regex([)"),
        ("{id", "a { without its }"),
        ("id}", "a } without its {"),
        ("{}", "is no parameter"),
        ("{a b}", "is no parameter"),
        ("{a}/{a}", "occurs twice"),
        ("{*a}/b", "must be the last"),
        ("{a?}/b", "only the last segments may be optional"),
        ("x{a?}", "a segment of its own"),
    ],
)
def test_templates_that_cannot_be_served_are_named(template, said):
    with pytest.raises(RouteError) as raised:
        compile_route(template)
    assert repr(template) in str(raised.value)
    assert said in str(raised.value)


def test_the_more_specific_route_is_meant():
    routes = [
        compile_route(template)
        for template in ("{*rest}", "jobs/{id}", "jobs/{id:int}", "jobs/new", "jobs/{*rest}")
    ]
    ordered = [route.template for route in sorted(routes, key=lambda route: route.order)]
    assert ordered == ["jobs/new", "jobs/{id:int}", "jobs/{id}", "jobs/{*rest}", "{*rest}"]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_any_values_come_back_from_the_path_they_were_put_in(values):
    template = "/".join(f"s{n}/{{p{n}}}" for n in range(len(values)))
    path = "/".join(f"s{n}/{quote(value, safe='')}" for n, value in enumerate(values))
    assert match(template, path) == {f"p{n}": value for n, value in enumerate(values)}


@given(st.text(), st.text())
def test_no_template_and_no_path_breaks_the_matcher(template, path):
    try:
        route = compile_route(template)
    except RouteError:
        return
    route.match(split_path(path))
