"""`./dev bench`: runs one of tests/bench/bench_*.py, or lists them."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tests" / "bench"


def main(arguments: list[str]) -> int:
    benches = {path.stem.removeprefix("bench_"): path for path in FOLDER.glob("bench_*.py")}
    if not arguments or arguments[0] not in benches:
        for name, path in sorted(benches.items()):
            purpose = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            sys.stdout.write(f"{name:<20} {purpose.partition('\n')[0]}\n")
        if arguments:
            sys.stdout.write(f"There is no bench {arguments[0]!r}.\n")
        return 2 if arguments else 0
    path = benches[arguments[0]]
    sys.argv = [str(path), *arguments[1:]]
    runpy.run_path(str(path), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
