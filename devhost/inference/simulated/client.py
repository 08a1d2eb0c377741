"""Steering simulated deployments that run in another process."""

from __future__ import annotations

import aiohttp

from devhost.inference.simulated.behaviour import BEHAVIOUR, Behaviour
from devhost.inference.simulated.control import PREFIX
from devhost.inference.simulated.state import STATE, State


class Refused(Exception):
    """The control door said no; says why."""


class SimulatedClient:
    """The same words as a deployment in this process has: set, state, reset_counts."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        """`base_url` is what the process said when it was ready. The session stays the caller's."""
        self._session = session
        self._url = base_url + PREFIX

    async def set(self, name: str, behaviour: Behaviour) -> None:
        """Have the deployment behave so from now on. Raises Refused."""
        await self._state("PUT", name, BEHAVIOUR.dump_json(behaviour))

    async def state(self, name: str) -> State:
        """Raises Refused when there is no such deployment."""
        return await self._state("GET", name)

    async def reset_counts(self, name: str) -> None:
        """Count from zero. Raises Refused when there is no such deployment."""
        await self._state("DELETE", f"{name}/counts")

    async def _state(self, method: str, path: str, body: bytes | None = None) -> State:
        async with self._session.request(method, f"{self._url}/{path}", data=body) as response:
            content = await response.read()
            if response.status != 200:
                raise Refused(f"{response.status}: {content.decode(errors='replace')}")
            return STATE.validate_json(content)
