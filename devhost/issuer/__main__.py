"""`python -m devhost.issuer`: see the package."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from devhost.issuer.server import serving


async def _run(options: argparse.Namespace) -> None:
    async with serving(options.name, options.audience, options.port) as server:
        issuer = server.issuer
        lines = (
            f"issuer: {issuer.name}",
            f"audience: {issuer.audience}",
            f"jwks_url: {server.keys_url}",
            f'A token: curl -d \'{{"sub": "me", "groups": ["research"],'
            f' "roles": ["sluice.submit"]}}\' {server.keys_url.removesuffix("keys")}token',
        )
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devhost.issuer", description=__doc__)
    parser.add_argument("--port", type=int, default=7075)
    parser.add_argument("--name", help="the claim `iss`; by default the address")
    parser.add_argument("--audience", default="sluice", help="the claim `aud`")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(parser.parse_args()))


main()
