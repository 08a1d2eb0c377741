"""One key used from many places at a time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from policies.identity.bounded import Bounded
from policies.screening.digests import digest
from policies.screening.sender import Sender
from policies.screening.settings import KeySharingSettings

MOST_KEPT = 5_000
"""Keys."""
_MOST_PLACES = 64
"""Of a key; more make no difference."""


@dataclass(slots=True)
class _Places:
    """Digests of places, and when each was last seen; the one seen longest ago first."""

    last_seen: OrderedDict[bytes, float] = field(default_factory=OrderedDict)

    def add(self, place: str, now: float, within: float) -> int:
        """How many there were in the time `within`."""
        name = digest(place)
        self.last_seen[name] = now
        self.last_seen.move_to_end(name)
        while len(self.last_seen) > _MOST_PLACES or now - self._oldest() > within:
            self.last_seen.popitem(last=False)
        return len(self.last_seen)

    def _oldest(self) -> float:
        return next(iter(self.last_seen.values()))


@dataclass(slots=True)
class _Use:
    networks: _Places = field(default_factory=_Places)
    agents: _Places = field(default_factory=_Places)


class KeyUses:
    """Of all keys that this worker sees."""

    def __init__(self) -> None:
        self._uses: Bounded[bytes, _Use] = Bounded(MOST_KEPT)

    def shared(self, sender: Sender, settings: KeySharingSettings, now: float) -> str | None:
        """Count a place; `now` in seconds of a clock that never jumps."""
        name = digest(sender.tenant, sender.key)
        use = self._uses.get(name)
        if use is None:
            use = _Use()
            self._uses.put(name, use)
        within = settings.within_seconds
        network = sender.origin.network(settings.trusted_proxies)
        if network is not None and use.networks.add(network, now, within) > settings.networks:
            return "many_networks"
        agent = sender.origin.agent
        if agent and use.agents.add(agent, now, within) > settings.agents:
            return "many_agents"
        return None
