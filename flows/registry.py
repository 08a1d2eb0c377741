"""The flows: every folder that is one, loaded; every folder that should be one, with the reason.

A folder's kind is the file it has:

    flow.yaml         direct            one model call
    prompt.yaml       semantic_kernel   a prompt in Semantic Kernel's format
    flow.dag.yaml     promptflow_dag
    flow.flex.yaml    promptflow_flex

Besides them there are the flows of `flows.adapters.plain`, which every app has.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contracts.calls import JsonObject
from contracts.errors import InvalidRequest, NotFound
from contracts.flows import BrokenFlow, Flow, FlowInfo
from contracts.problems import FieldProblem
from flows.adapters import direct, promptflow, semantic_kernel
from flows.adapters.calls import check_model
from flows.adapters.folder import BrokenFolder
from flows.adapters.own_modules import check_names
from flows.adapters.plain import PLAIN_FLOWS, PlainCall
from flows.adapters.shared import Redact, Shared, unchanged
from flows.inputs import InputCheck, schema_error
from flows.traced import Traced

_log = logging.getLogger("sluice.flows")

_KINDS: dict[str, Callable[[Path, Shared], Flow]] = {
    direct.FILE: direct.load,
    semantic_kernel.FILE: semantic_kernel.load,
    promptflow.DAG_FILE: promptflow.load_dag,
    promptflow.FLEX_FILE: promptflow.load_flex,
}
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_NOT_FLOWS = frozenset({"adapters"})


@dataclass(frozen=True, slots=True)
class _Loaded:
    flow: Flow
    check: InputCheck
    check_model: Callable[[str | None], None]


class Flows:
    """What a process can run. All runs happen in one event loop."""

    def __init__(
        self, loaded: dict[str, _Loaded], broken: list[BrokenFlow], shared: Shared
    ) -> None:
        self._loaded = loaded | _plain()
        self._shared = shared
        self.broken = broken
        self.infos: list[FlowInfo] = [item.flow.info for item in loaded.values()]

    @classmethod
    def load(
        cls,
        directory: Path | None = None,
        models: Collection[str] | None = None,
        redact: Redact = unchanged,
    ) -> Flows:
        """Load the folders of `directory`, by default this package's, in order of their names.

        With `models`, the names in deployments.yaml, a flow that calls another one is broken.
        `redact` gives back each rendered Semantic Kernel prompt as it may be sent.
        """
        shared = Shared(redact=redact)
        loaded: dict[str, _Loaded] = {}
        broken: list[BrokenFlow] = []
        for folder in _folders(directory or Path(__file__).parent):
            try:
                loaded[folder.name] = _load(folder, shared, models)
            except BrokenFolder as error:
                broken.append(BrokenFlow(name=folder.name, reason=str(error)))
            except Exception as error:  # noqa: BLE001 - one folder never takes the others down
                _log.exception("flow %s could not be read", folder.name)
                reason = f"{type(error).__name__} while it was read; see the log"
                broken.append(BrokenFlow(name=folder.name, reason=reason))
        for flow in broken:
            _log.error("flow %s is broken: %s", flow.name, flow.reason)
        return cls(loaded, broken, shared)

    def get(self, name: str) -> Flow:
        """The flow of this name. Raises NotFound, which lists those there are."""
        if name not in self._loaded:
            raise NotFound(f"There is no flow {name!r}; expected {self._expected(name)}.")
        return self._loaded[name].flow

    def check(self, name: str, input: JsonObject, model: str | None = None) -> Flow:
        """The flow, when it can run with this input and model; for doors, before a job starts.

        Raises InvalidRequest, which names the fields at fault and what was expected.
        """
        if name not in self._loaded:
            expected = self._expected(name)
            raise InvalidRequest(
                f"There is no flow {name!r}; expected {expected}.",
                [FieldProblem(field="flow", expected=expected)],
            )
        item = self._loaded[name]
        item.check(input)
        item.check_model(model)
        return item.flow

    async def close(self) -> None:
        """Stop what runs in the background; runs may start it again."""
        await self._shared.gateway.close()

    def _expected(self, name: str) -> str:
        known = f"one of {', '.join(info.name for info in self.infos) or 'none'}"
        broken = any(flow.name == name for flow in self.broken)
        return f"{known} ({name!r} is broken: see GET /v1/flows)" if broken else known


def _folders(directory: Path) -> list[Path]:
    return sorted(
        path.resolve()
        for path in directory.iterdir()
        if path.is_dir() and not path.name.startswith(("_", ".")) and path.name not in _NOT_FLOWS
    )


def _load(folder: Path, shared: Shared, models: Collection[str] | None) -> _Loaded:
    if not _NAME.fullmatch(folder.name):
        raise BrokenFolder(
            "expected a name of small letters, digits, - and _ that starts with a letter"
        )
    kinds = [file for file in _KINDS if (folder / file).is_file()]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none of them"
        raise BrokenFolder(f"expected one of {', '.join(_KINDS)}; found {found}")
    check_names(folder)
    flow = _KINDS[kinds[0]](folder, shared)
    info = flow.info
    if wrong := schema_error(info.input_schema):
        raise BrokenFolder(f"{kinds[0]}: expected a JSON Schema of the input; {wrong}")
    unknown = [model for model in info.models if models is not None and model not in models]
    if unknown and models is not None:
        raise BrokenFolder(
            f"{kinds[0]}: expected models of deployments.yaml ({', '.join(sorted(models))}), found"
            f" {', '.join(unknown)}"
        )
    return _Loaded(
        Traced(flow), InputCheck(info.name, info.input_schema), partial(check_model, info)
    )


def _plain() -> dict[str, _Loaded]:
    flows = [PlainCall(task) for task in PLAIN_FLOWS]
    return {
        flow.info.name: _Loaded(
            Traced(flow), InputCheck(flow.info.name, flow.info.input_schema), flow.check_model
        )
        for flow in flows
    }
