"""The app's functions as the Functions worker indexes them: it may do so once a process."""

from __future__ import annotations

from functools import cache

from azure.functions.decorators.function_app import Function

import function_app


@cache
def indexed() -> tuple[Function, ...]:
    return tuple(function_app.app.get_functions())
