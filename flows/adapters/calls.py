"""The model calls of one run, and what a run that failed raises."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from traceback import extract_tb

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_jsonable_python

from contracts.calls import ModelAnswer, ModelCall
from contracts.errors import FlowFailed, InvalidRequest, SluiceError
from contracts.flows import FlowInfo, FlowRun
from contracts.problems import FieldProblem

_log = logging.getLogger("sluice.flows")


class FlowCodeRaised(Exception):
    """An SDK reports that the flow's code raised, as text: the class and its stack trace."""

    def __init__(self, raised: str, stack: str) -> None:
        super().__init__(raised)
        self.raised = raised
        self.stack = stack


class ModelCalls:
    """How the code of one run calls models, whatever SDK stands in between."""

    def __init__(self, info: FlowInfo, run: FlowRun) -> None:
        """Raises InvalidRequest when `run.model` asks for what the flow cannot give."""
        check_model(info, run.model)
        self.info = info
        self.error: Exception | None = None
        """What the last call that failed raised: SDKs wrap it, HTTP loses it."""
        self._run = run

    async def __call__(self, call: ModelCall) -> ModelAnswer:
        """Call a model of the flow, or the one that was asked for instead."""
        try:
            if call.model not in self.info.models:
                raise FlowFailed(
                    f"Flow {self.info.name!r} calls model {call.model!r}, which its files do not"
                    f" name; they name {', '.join(self.info.models) or 'none'}."
                )
            if self._run.model is not None:
                call = replace(call, model=self._run.model)
            return await self._run.invoke(call)
        except Exception as error:
            self.error = error
            raise

    async def ended(self, running: Awaitable[object], folder: Path) -> JsonValue:
        """What the run returns, as JSON.

        Raises what a model call raised, else FlowFailed, which names the class of the error and
        the line of the flow's code, and never the error's text: it may quote a prompt.
        """
        try:
            result: JsonValue = to_jsonable_python(await running)
            return result
        except Exception as error:  # noqa: BLE001 - re-raised below as one of our own
            raised = self.error or self._failed(error, folder)
        raise raised

    def _failed(self, error: Exception, folder: Path) -> SluiceError:
        while isinstance(error.__cause__, Exception):
            error = error.__cause__
        if isinstance(error, SluiceError):
            return error
        _log.debug("flow %s raised", self.info.name, exc_info=error)
        if isinstance(error, PydanticSerializationError):
            return FlowFailed(f"Flow {self.info.name!r} returned something that is not JSON.")
        raised = error.raised if isinstance(error, FlowCodeRaised) else type(error).__name__
        place = _place(error, folder)
        # Without the error's text, which may quote a prompt: at DEBUG above.
        _log.warning("flow %s failed: %s%s", self.info.name, raised, place)
        return FlowFailed(f"Flow {self.info.name!r} failed: {raised}{place}.")


def check_model(info: FlowInfo, model: str | None) -> None:
    """Raises InvalidRequest when a model is asked for and the flow has not exactly one."""
    if model is None or len(info.models) == 1:
        return
    expected = f"no model: flow {info.name!r} calls {' and '.join(info.models) or 'none'}"
    raise InvalidRequest(
        f"`model` can be chosen only for a flow that calls exactly one; expected {expected}.",
        [FieldProblem(field="model", expected=expected)],
    )


def _place(error: Exception, folder: Path) -> str:
    """The innermost line of the folder's own code that the error passed through."""
    if isinstance(error, FlowCodeRaised):
        frames = re.findall(r'File "([^"\n]+)", line (\d+)', error.stack)
    else:
        frames = [(frame.filename, frame.lineno) for frame in extract_tb(error.__traceback__)]
    for filename, line in reversed(frames):
        if Path(filename).is_relative_to(folder):
            return f" in {Path(filename).relative_to(folder)}, line {line}"
    return ""
