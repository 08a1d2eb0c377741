"""The reader of Bicep: what it makes of expressions, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.bicep import __main__ as command
from devhost.bicep.names import findings
from devhost.bicep.parameters import read_parameters, variables
from devhost.bicep.place import Place
from devhost.bicep.render import render
from devhost.bicep.template import Template
from devhost.bicep.values import BicepError


def written(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.bicep").write_text(text)
    return folder / "main.bicep"


def value(folder, expression, **parameters):
    kinds = {str: "string", bool: "bool", int: "int", list: "array", dict: "object"}
    declared = "".join(f"param {name} {kinds[type(it)]}\n" for name, it in parameters.items())
    text = f"{declared}resource r 'A/b@1' = {{\n  name: 'n'\n  properties: {expression}\n}}\n"
    (only,) = render(written(folder, main=text), parameters, Place("rg"))
    return only.body["properties"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a ? b.c : d.c", 1),
        ("!a || b.c == 1 && a", True),
        ("!a && a || a", True),
        ("[for (each, at) in e: '${each}${at}']", ["x0", "y1"]),
        ("map(e, each => each == 'x' ? 'first' : each)", ["first", "y"]),
        ("filter([b, d], each => each.c > 1)[0].c", 2),
        ("toObject(e, each => each, each => '${each}!')", {"x": "x!", "y": "y!"}),
        ("union(b, { f: { g: 1 } }, { f: { h: 2 } })", {"c": 1, "f": {"g": 1, "h": 2}}),
        ("concat(e, ['z'])", ["x", "y", "z"]),
        ("'it''s'", None),
        ("'a\\'b\\n${a}'", "a'b\ntrue"),
        ("cidrSubnet('10.64.0.0/12', 20, 1)", "10.64.16.0/20"),
        ("take(skip(e, 1), 1)", ["y"]),
        ("b['c']", 1),
        ("{ 'x-${e[0]}': null }", {"x-x": None}),
        ("resourceId('M.N/t', 'n')", f"{Place('rg').path}/providers/M.N/t/n"),
    ],
)
def test_expressions(tmp_path, expression, expected):
    given = {"a": True, "b": {"c": 1}, "d": {"c": 2}, "e": ["x", "y"]}
    if expected is None:
        with pytest.raises(BicepError, match="not understood"):
            value(tmp_path, expression, **given)
    else:
        assert value(tmp_path, expression, **given) == expected


operands = st.integers(0, 9).map(str)
sums = st.lists(operands, min_size=1, max_size=4).flatmap(
    lambda numbers: st.lists(
        st.sampled_from([" + ", " - ", " * "]),
        min_size=len(numbers) - 1,
        max_size=len(numbers) - 1,
    ).map(lambda signs: "".join(a + b for a, b in zip(numbers, [*signs, ""], strict=True)))
)
comparisons = st.tuples(sums, st.sampled_from([" < ", " > ", " <= ", " >= ", " == "]), sums).map(
    "".join
)
conditions = st.lists(comparisons, min_size=1, max_size=4).flatmap(
    lambda parts: st.lists(
        st.sampled_from([" && ", " || "]), min_size=len(parts) - 1, max_size=len(parts) - 1
    ).map(lambda signs: "".join(a + b for a, b in zip(parts, [*signs, ""], strict=True)))
)


@given(condition=conditions)
def test_operators_bind_as_they_do_elsewhere(tmp_path_factory, condition):
    """Python's order is the same for all of these."""
    expected = eval(condition.replace("&&", "and").replace("||", "or"))
    assert value(tmp_path_factory.mktemp("bicep"), condition) is expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("var a = b\noutput o string = a\n", "there is no b"),
        ("var a = true ? 1 : nowhere\noutput o int = a\n", "there is no nowhere"),
        ("param a string\n", "the parameter a is not used"),
        ("var a = 1\n", "the variable a is not used"),
        ("output o string = toTitle('a')\n", "the function toTitle is not known"),
        ("resource r 'A/b@1' = {\n  name: 'n'\n}\n", "no type with a version"),
        ("module m 'inner.bicep' = {\n  name: 'm'\n  params: {}\n}\n", "needs given"),
        (
            "module m 'inner.bicep' = {\n  name: 'm'\n  params: { given: 1, more: 2 }\n}\n",
            "takes no more",
        ),
        (
            "module m 'inner.bicep' = {\n  name: 'm'\n  params: { given: 1 }\n}\n"
            "output o string = m.outputs.other\n",
            "m has no output other",
        ),
        ("output o array = map([1], each => each + all)\n", "there is no all"),
    ],
)
def test_what_a_compiler_would_say(tmp_path, text, says):
    inner = "param given int\noutput same int = given\n"
    path = written(tmp_path, main=text, inner=inner)
    assert any(says in each for each in findings(Template(path)))


def test_nothing_is_said_of_what_is_right(tmp_path):
    text = (
        "param names array\nvar long = map(names, name => '${name}!')\n"
        "module m 'inner.bicep' = [for (name, at) in long: {\n  name: name\n"
        "  params: { given: at }\n}]\n"
        "output o array = [for at in range(0, 2): m[at].outputs.same]\n"
    )
    path = written(tmp_path, main=text, inner="param given int\noutput same int = given\n")
    assert findings(Template(path)) == []


@pytest.mark.parametrize(
    ("text", "given", "says"),
    [
        ("param a string\n", {}, "a is needed"),
        ("param a string\n", {"a": 1}, "expected string"),
        ("param a int\n", {"a": True}, "expected int"),
        ("@allowed(['x'])\nparam a string\n", {"a": "y"}, "expected one of"),
        ("@minValue(0)\nparam a int\n", {"a": -1}, "out of bounds"),
        ("@maxLength(2)\nparam a string\n", {"a": "abc"}, "out of bounds"),
        ("param a string\n", {"a": "x", "b": "y"}, "takes no b"),
        ("param a string\nparam a string\n", {"a": "x"}, "declared twice"),
        ("var a = [resourceGroup().id]\noutput o array = a\n", {}, "a name of its own"),
        ("param a string = \n", {}, "not understood"),
        (
            "resource r 'A/b@1' = {\n  name: 'n'\n}\n"
            "resource s 'A/b@1' = if (r.properties.on) {\n  name: 's'\n}\n",
            {},
            "known only at deployment",
        ),
        (
            "resource r 'A/b@1' = {\n  name: 'n'\n}\n"
            "resource s 'A/b@1' = {\n  name: r.properties.other\n}\n",
            {},
            "known only at deployment",
        ),
    ],
)
def test_what_cannot_be_deployed_is_refused(tmp_path, text, given, says):
    with pytest.raises(BicepError, match=says):
        render(written(tmp_path, main=text), given, Place("rg"))


def test_a_name_may_be_made_of_what_a_module_is_given(tmp_path):
    """Known when the module begins, though not when the whole deployment does."""
    text = (
        "resource r 'A/b@1' = {\n  name: 'n'\n}\n"
        "module m 'inner.bicep' = {\n  name: 'm'\n  params: { id: r.properties.principal }\n}\n"
    )
    inner = "param id string\nresource s 'A/c@1' = {\n  name: guid(id, 'x')\n}\n"
    _, made = render(written(tmp_path, main=text, inner=inner), {}, Place("rg"))
    assert "r.properties.principal" in made.name


def test_parameters_are_filled_from_the_environment_as_azd_does(tmp_path):
    path = written(
        tmp_path, main="param a string\nparam b int\nparam c bool\noutput o array = [a, b, c]\n"
    )
    file = tmp_path / "main.parameters.json"
    file.write_text(
        '{"parameters": {"a": {"value": "${A}-${B=x}"}, "b": {"value": "${N=7}"},'
        ' "c": {"value": "${C=false}"}}}'
    )
    read = read_parameters(file, Template(path), {"A": "1", "C": "true"})

    assert read == {"a": "1-x", "b": 7, "c": True}
    assert variables(file) == {"A": None, "B": "x", "N": "7", "C": "false"}
    with pytest.raises(BicepError, match="A is not set"):
        read_parameters(file, Template(path), {})
    with pytest.raises(BicepError, match="expected int"):
        read_parameters(file, Template(path), {"A": "1", "N": "many"})


def test_the_command_lists_what_would_be_deployed(capsys):
    assert command.main([]) == 0
    listed = capsys.readouterr().out
    assert "Microsoft.Web/sites " in listed
    assert listed.rstrip().endswith("resources")

    assert command.main(["SLUICE_SIZE=huge"]) == 1
    assert "expected one of ['smallest', 'reference']" in capsys.readouterr().err
