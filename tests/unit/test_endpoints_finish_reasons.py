"""Why a model stopped."""

import pytest

from endpoints.finish_reasons import finish_reasons


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        ({"choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}]}, ("stop", "length")),
        ({"choices": [{"finish_reason": None}, "odd", {}]}, ()),
        ({"choices": [{"finish_reason": "x" * 33}]}, ()),
        ({"choices": "none"}, ()),
        ([1, 2], ()),
        (None, ()),
    ],
)
def test_reasons_are_read_from_what_is_a_chat_completion(body, reasons):
    assert finish_reasons(body) == reasons
