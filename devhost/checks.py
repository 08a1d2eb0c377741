"""`./dev test`: style, types, import rules, infra and tests, whatever became of those before.

With arguments for pytest, or with --heavy, pytest alone. Ends with a non-zero status if anything
failed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LINT_IMPORTS = "from importlinter.cli import lint_imports_command as main; main()"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    arguments: tuple[str, ...]
    """Of this Python: console scripts break when a checkout moves."""


CHECKS = (
    Check("ruff check", ("-m", "ruff", "check", ".", "dev")),
    Check("ruff format", ("-m", "ruff", "format", "--check", ".", "dev")),
    Check("mypy", ("-m", "mypy")),
    Check("import rules", ("-c", _LINT_IMPORTS)),
    Check("infra", ("-m", "devhost.bicep")),
)


def main(arguments: Sequence[str]) -> int:
    chosen = [argument for argument in arguments if argument != "--long"]
    failed = 0 if chosen else sum(not passes(check) for check in CHECKS)
    if failed:
        _say(f"{failed} of {len(CHECKS)} checks failed; the tests run all the same.")
    tests = subprocess.run(pytest_command(arguments), cwd=ROOT, check=False)
    return tests.returncode or int(failed > 0)


def passes(check: Check) -> bool:
    """Run one check; its output is shown only when it fails."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *check.arguments],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    passed = done.returncode == 0
    seconds = time.monotonic() - began
    _say(f"{check.name:<14} {'passed' if passed else 'FAILED'} in {seconds:.1f} s")
    if not passed:
        _say(done.stdout)
    return passed


def pytest_command(arguments: Sequence[str]) -> list[str]:
    """--long adds the tests marked long, --heavy runs those marked heavy alone; a -m among the
    arguments chooses by itself."""
    if "--heavy" in arguments:
        selection = ["-m", "heavy", "tests/heavy"]
    else:
        selection = ["-m", "not heavy" if "--long" in arguments else "not long and not heavy"]
    given = [argument for argument in arguments if argument not in ("--long", "--heavy")]
    return [sys.executable, "-m", "pytest", *selection, *given]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
