"""A headless Chromium from the npm registry, with all the libraries that it needs beside it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from devhost.setup.environments import CHROMIUM, ROOT
from devhost.setup.install import set_up_only

HERE = ROOT / "tests" / "e2e" / "browser"
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
ARGUMENTS = [
    "--no-sandbox",  # which it would need privileges for; the tests open this app's pages alone
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
]


def why_not() -> str | None:
    """Why there is none on this machine: the package has a binary for one kind alone."""
    here = (sys.platform, platform.machine())
    return None if here == ("linux", "x86_64") else f"no headless Chromium for {' '.join(here)}"


@dataclass(frozen=True)
class Chromium:
    folder: Path

    @property
    def program(self) -> Path:
        return self.folder / "chromium"

    @property
    def environment(self) -> dict[str, str | float | bool]:
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.folder / "lib"),
            "FONTCONFIG_PATH": str(self.folder / "fonts"),
        }


def installed() -> Chromium:
    """Installs it on first use. Raises Stop."""
    set_up_only(CHROMIUM)
    there = Chromium(CHROMIUM.folder / ".chromium")
    if not there.program.exists():
        _unpack(CHROMIUM.folder / "@sparticuz" / "chromium" / "bin", there.folder)
    return there


def _unpack(packed: Path, folder: Path) -> None:
    making = folder.with_name(f"{folder.name}.{os.getpid()}")
    making.mkdir(parents=True)
    node = Path(CHROMIUM.node_folder()) / "node"
    subprocess.run([node, HERE / "unpack.mjs", packed, making], check=True)
    for name in ("al2023", "fonts", "swiftshader"):
        with tarfile.open(making / f"{name}.tar") as archive:
            archive.extractall(making, filter="data")
        (making / f"{name}.tar").unlink()
    (making / "chromium").chmod(0o755)
    try:
        making.rename(folder)
    except OSError:  # another has been quicker
        shutil.rmtree(making)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    chromium = installed()
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch(
            executable_path=chromium.program, args=ARGUMENTS, env=chromium.environment
        )
        try:
            yield made
        finally:
            await made.close()
