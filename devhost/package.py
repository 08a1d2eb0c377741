"""Makes the package that is deployed: python -m devhost.package dist/app.zip [--with-dependencies]

Holds what git knows and .funcignore does not name, as `func` and azd have it. With its dependencies
it needs no build in Azure, and so no way from there to a package registry; they have to be for the
platform that it runs on, which is Linux with Python 3.13.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
SITE_PACKAGES = ".python_packages/lib/site-packages"
"""Where Azure's worker looks for them."""
EPOCH = (2020, 1, 1, 0, 0, 0)
"""Of each file, so that the same code makes the same package."""


def main(arguments: Sequence[str]) -> int:
    (target,) = (Path(argument) for argument in arguments if not argument.startswith("--"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(target, "w") as package:
        for name in app_files():
            _add(package, name, ROOT / name)
        if "--with-dependencies" in arguments:
            for name, path in _dependencies(Path(folder)):
                _add(package, name, path)
    sys.stdout.write(f"{target}: {target.stat().st_size:,} bytes\n")
    return 0


def app_files(root: Path = ROOT) -> list[str]:
    """What git knows of and .funcignore lets through, by path."""
    patterns = (root / ".funcignore").read_text(encoding="utf-8").split()
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    known = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    names = set(known.stdout.splitlines())
    return sorted(
        name for name in names if (root / name).is_file() and not left_out(name, patterns)
    )


def left_out(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern names the file or a folder that it is in."""
    steps = PurePosixPath(name).parts
    whole = ("/".join(steps[: at + 1]) for at in range(len(steps)))
    return any(
        fnmatch(step, pattern) or fnmatch(path, pattern)
        for step, path in zip(steps, whole, strict=True)
        for pattern in patterns
    )


def _dependencies(folder: Path) -> Iterator[tuple[str, Path]]:
    command = ["-m", "pip", "install", "--quiet", "--target", str(folder)]
    pins = ["-r", str(ROOT / "requirements.txt"), "-c", str(ROOT / "constraints.txt")]
    subprocess.run([sys.executable, *command, *pins], check=True)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{SITE_PACKAGES}/{path.relative_to(folder).as_posix()}", path


def _add(package: zipfile.ZipFile, name: str, path: Path) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    package.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
