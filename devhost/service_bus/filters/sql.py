"""SQL filters: the part of Service Bus's language that selects messages by their properties.

    condition  = and { OR and }          and    = not { AND not }         not = [NOT] test
    test       = "(" condition ")" | EXISTS "(" property ")" | value rest
    rest       = ("=" | "<>" | "!=" | "<" | "<=" | ">" | ">=") value
               | [NOT] IN "(" literal { "," literal } ")"
               | [NOT] LIKE text [ESCAPE text]
               | IS [NOT] NULL
    value      = property | literal
    property   = [("sys" | "user") "."] name        name may be in "double quotes" or [brackets]
    literal    = 'text' | number | TRUE | FALSE

Keywords and the names after `sys.` have no case. A property that is missing, or a comparison of
unlike types, makes a test unknown; a message passes only when the whole condition is true.
Arithmetic, functions, parameters and actions are refused when the configuration is read.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from devhost.service_bus.core.settings import Filter
from devhost.service_bus.filters.correlation import SYSTEM_PROPERTIES
from devhost.service_bus.wire.sections import Readable
from devhost.service_bus.wire.values import Value

type _Test = Callable[[Readable], bool | None]
type _Term = Callable[[Readable], Value]

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>'(?:[^']|'')*') |
    (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?) |
    (?P<quoted>"(?:[^"]|"")+"|\[(?:[^\]]|\]\])+\]) |
    (?P<word>[A-Za-z_][\w-]*) |
    (?P<sign><=|>=|<>|!=|[=<>(),.])
    )""",
    re.VERBOSE,
)
_COMPARE: dict[str, Callable[[Value, Value], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,  # type: ignore[dict-item]  # given only what can be compared
    "<=": operator.le,  # type: ignore[dict-item]
    ">": operator.gt,  # type: ignore[dict-item]
    ">=": operator.ge,  # type: ignore[dict-item]
}
_SYSTEM = {name.lower(): amqp for name, amqp in SYSTEM_PROPERTIES.items()} | {"subject": "subject"}
_MAX_DEPTH = 32


class SqlError(ValueError):
    """The expression is not in the part of the language that is understood here."""


def sql_filter(expression: str) -> Filter:
    """The filter of an expression. Raises SqlError, which says where it stops being understood."""
    parser = _Parser(expression)
    test = parser.condition()
    parser.expect_end()
    return lambda message: test(message) is True


class _Parser:
    """Recursive descent over the tokens; each method returns what to do with a message."""

    def __init__(self, expression: str) -> None:
        self._tokens = _tokens(expression)
        self._at = 0
        self._depth = 0

    def condition(self) -> _Test:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise SqlError("the expression is nested too deeply")
        tests = [self._all_of()]
        while self._take_word("or"):
            tests.append(self._all_of())
        self._depth -= 1
        return tests[0] if len(tests) == 1 else lambda m: _any([test(m) for test in tests])

    def expect_end(self) -> None:
        if self._at < len(self._tokens):
            raise SqlError(f"{self._tokens[self._at][1]!r} is not understood")

    def _all_of(self) -> _Test:
        tests = [self._negation()]
        while self._take_word("and"):
            tests.append(self._negation())
        return tests[0] if len(tests) == 1 else lambda m: _all([test(m) for test in tests])

    def _negation(self) -> _Test:
        negations = 0
        while self._take_word("not"):
            negations += 1
        return _negated(self._test(), negate=negations % 2 == 1)

    def _test(self) -> _Test:
        if self._take_sign("("):
            inner = self.condition()
            self._expect_sign(")")
            return inner
        if self._take_word("exists"):
            self._expect_sign("(")
            name = self._property()
            self._expect_sign(")")
            return lambda m: name(m) is not None
        return self._rest(self._value())

    def _rest(self, left: _Term) -> _Test:
        kind, token = self._next("a comparison")
        if kind == "sign" and token in _COMPARE:
            right, compare = self._value(), _COMPARE[token]
            return lambda m: _compared(compare, left(m), right(m))
        if kind == "word" and token.lower() == "is":
            negate = self._take_word("not")
            self._expect_word("null")
            return lambda m: (left(m) is None) is not negate
        negate = kind == "word" and token.lower() == "not"
        if negate:
            kind, token = self._next("IN or LIKE")
        if kind == "word" and token.lower() == "in":
            return _negated(self._in(left), negate=negate)
        if kind == "word" and token.lower() == "like":
            return _negated(self._like(left), negate=negate)
        raise SqlError(f"{token!r} is not understood; expected a comparison")

    def _in(self, left: _Term) -> _Test:
        self._expect_sign("(")
        choices = [self._literal()]
        while self._take_sign(","):
            choices.append(self._literal())
        self._expect_sign(")")
        return lambda m: _any([_compared(operator.eq, left(m), choice) for choice in choices])

    def _like(self, left: _Term) -> _Test:
        pattern = self._text()
        escape = self._text() if self._take_word("escape") else None
        matches = _like_pattern(pattern, escape).fullmatch

        def test(message: Readable) -> bool | None:
            value = left(message)
            return matches(value) is not None if isinstance(value, str) else None

        return test

    def _value(self) -> _Term:
        kind, token = self._peek("a property or a value")
        if kind in ("text", "number") or (kind == "word" and token.lower() in ("true", "false")):
            literal = self._literal()
            return lambda _: literal
        return self._property()

    def _property(self) -> _Term:
        kind, token = self._next("a property")
        scope = token.lower() if kind == "word" else ""
        if scope in ("sys", "user") and self._take_sign("."):
            kind, token = self._next("a property")
        else:
            scope = "user"
        if kind not in ("word", "quoted"):
            raise SqlError(f"{token!r} is not understood; expected a property")
        if self._peek_is("sign", "("):
            raise SqlError(f"the function {token!r} is not supported")
        name = token if kind == "word" else _unquoted(token)
        if scope == "user":
            return lambda m: m.user.get(name)
        field = _SYSTEM.get(name.lower())
        if field is None:
            known = ", ".join(f"sys.{each}" for each in SYSTEM_PROPERTIES)
            raise SqlError(f"sys.{name} is not supported; known are {known}")
        return lambda m: m.system.get(field)

    def _literal(self) -> Value:
        kind, token = self._next("a value")
        if kind == "text":
            return token[1:-1].replace("''", "'")
        if kind == "number":
            return int(token) if re.fullmatch(r"[+-]?\d+", token) else float(token)
        if kind == "word" and token.lower() in ("true", "false"):
            return token.lower() == "true"
        raise SqlError(f"{token!r} is not understood; expected a value")

    def _text(self) -> str:
        literal = self._literal()
        if not isinstance(literal, str):
            raise SqlError(f"{literal!r} is not understood; expected 'text'")
        return literal

    # Tokens

    def _peek(self, expected: str) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise SqlError(f"the expression ends where {expected} was expected")
        return self._tokens[self._at]

    def _next(self, expected: str) -> tuple[str, str]:
        token = self._peek(expected)
        self._at += 1
        return token

    def _peek_is(self, kind: str, text: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at] == (kind, text)

    def _take_sign(self, sign: str) -> bool:
        taken = self._peek_is("sign", sign)
        self._at += taken
        return taken

    def _take_word(self, word: str) -> bool:
        tokens = self._tokens[self._at : self._at + 1]
        taken = [(kind, text.lower()) for kind, text in tokens] == [("word", word)]
        self._at += taken
        return taken

    def _expect_sign(self, sign: str) -> None:
        if not self._take_sign(sign):
            raise SqlError(f"{self._peek(repr(sign))[1]!r} is not understood; expected {sign!r}")

    def _expect_word(self, word: str) -> None:
        if not self._take_word(word):
            found = self._peek(word.upper())[1]
            raise SqlError(f"{found!r} is not understood; expected {word.upper()}")


def _tokens(expression: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at, end = 0, len(expression.rstrip())
    while at < end:
        match = _TOKEN.match(expression, at)
        if match is None or match.lastgroup is None:
            raise SqlError(f"{expression[at:].strip()[:20]!r} is not understood")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return tokens


def _unquoted(token: str) -> str:
    quote = token[-1]
    return token[1:-1].replace(quote * 2, quote)


def _like_pattern(pattern: str, escape: str | None) -> re.Pattern[str]:
    if escape is not None and len(escape) != 1:
        raise SqlError(f"ESCAPE takes one character, not {escape!r}")
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            parts.append(re.escape(next(characters, "")))
        else:
            parts.append({"%": ".*", "_": "."}.get(character, re.escape(character)))
    return re.compile("".join(parts), re.DOTALL)


def _compared(compare: Callable[[Value, Value], bool], left: Value, right: Value) -> bool | None:
    return compare(left, right) if _comparable(left, right) else None


def _comparable(left: Value, right: Value) -> bool:
    for kind in (bool, int | float, str):
        if isinstance(left, kind) or isinstance(right, kind):
            return isinstance(left, kind) and isinstance(right, kind)
    return left is not None and type(left) is type(right)


def _negated(test: _Test, *, negate: bool) -> _Test:
    if not negate:
        return test

    def negated(message: Readable) -> bool | None:
        result = test(message)
        return None if result is None else not result

    return negated


def _all(results: list[bool | None]) -> bool | None:
    if False in results:
        return False
    return None if None in results else True


def _any(results: list[bool | None]) -> bool | None:
    if True in results:
        return True
    return None if None in results else False
