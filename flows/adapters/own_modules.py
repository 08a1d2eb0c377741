"""A flow's own Python modules, kept apart from those of other flows and of the app."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.adapters.folder import BrokenFolder

_importing = threading.RLock()


@contextmanager
def own_modules(folder: Path) -> Iterator[None]:
    """Within it, imports find the folder's modules, as when its SDK runs it alone.

    Afterwards they are forgotten, so that the `helpers.py` of another flow is that flow's; what
    was imported keeps working. Nothing is written beside the sources. One flow at a time.
    """
    with _importing:
        writes_nothing, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.dont_write_bytecode = writes_nothing
            # An SDK may have put the folder there again.
            sys.path[:] = [entry for entry in sys.path if entry != str(folder)]
            # A copy: other threads go on importing meanwhile.
            for name, module in list(sys.modules.items()):
                if _of(folder, module):
                    del sys.modules[name]


def check_names(folder: Path) -> None:
    """Raises BrokenFolder when a file would hide an installed module while the flow is imported."""
    for path in sorted(folder.iterdir()):
        name = path.stem
        is_module = path.suffix == ".py" or (path / "__init__.py").is_file()
        spec = importlib.util.find_spec(name) if is_module and name.isidentifier() else None
        # Without an origin it is a folder on sys.path that could be a package: this one, say.
        if spec is not None and spec.origin is not None:
            raise BrokenFolder(
                f"{path.name}: expected a name that no installed Python module has: {name!r} is one"
            )


def _of(folder: Path, module: object) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(file).is_relative_to(folder)
