"""All screens, in front of every flow, every real-time call and every line of a batch."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import JsonValue

from contracts.calls import JsonObject
from contracts.errors import DependencyUnavailable, Misconfigured
from endpoints.wire import Wire
from policies.screening.content_safety.asking import ContentSafety, Unanswered
from policies.screening.findings import Finding, Screen, blocked, tell
from policies.screening.injection.screen import attack
from policies.screening.key_sharing import KeyUses
from policies.screening.material import Material, Said, of_call, of_job
from policies.screening.rate import Rates
from policies.screening.repetition import Repetitions
from policies.screening.sender import Sender
from policies.screening.settings import (
    ContentSafetySettings,
    InjectionSettings,
    ScreeningSettings,
)
from policies.screening.size import too_large

_log = logging.getLogger("sluice.screening")


class Screening:
    """For all tenants of this process."""

    def __init__(
        self,
        tenants: Mapping[str, ScreeningSettings],
        defaults: ScreeningSettings,
        open_wire: Callable[[], Wire],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`defaults` hold for whoever is not named. Raises Misconfigured."""
        self._tenants = dict(tenants)
        self._defaults = defaults
        self._open_wire = open_wire
        self._now = now
        self._wire: Wire | None = None
        self._safety: dict[int, ContentSafety] = {}
        """By the identity of the settings, which live as long as this does."""
        self._rates, self._repetitions, self._key_uses = Rates(), Repetitions(), KeyUses()
        for name, settings in (*tenants.items(), ("defaults", defaults)):
            _check(name, settings)

    def of(self, tenant: str) -> ScreeningSettings | None:
        """What a tenant's requests pass; None where they pass nothing."""
        settings = self._tenants.get(tenant, self._defaults)
        return None if settings.is_off else settings

    async def call(self, sender: Sender, payload: JsonValue) -> list[str]:
        """Screen a real-time call, by its body; returns the flags that it goes on with.

        Raises ContentBlocked, or DependencyUnavailable where a verdict is owed and not to be had.
        """
        settings = self.of(sender.tenant)
        return [] if settings is None else await self._all(sender, settings, of_call(payload))

    async def job(self, sender: Sender, flow: str, input: JsonValue) -> list[str]:
        """Screen a job; as `call`."""
        settings = self.of(sender.tenant)
        return [] if settings is None else await self._all(sender, settings, of_job(flow, input))

    async def line(self, tenant: str, body: JsonObject, *, is_job: bool) -> list[str]:
        """Screen a line of a batch for what is in it; as `call`. That there are many lines, and
        that they are alike, is what a batch is for."""
        settings = self.of(tenant)
        if settings is None:
            return []
        asked = of_job(str(body.get("flow")), body.get("input")) if is_job else of_call(body)
        flags = _Flags(tenant)
        _size(settings, asked, flags)
        await self._content(settings, asked, flags)
        return flags.found

    async def _all(self, sender: Sender, settings: ScreeningSettings, asked: Material) -> list[str]:
        """The cheap ones first."""
        now, flags = self._now(), _Flags(sender.tenant)
        _size(settings, asked, flags)
        if (pace := settings.rate).decision != "off":
            flags.add(Screen.RATE, self._rates.burst(sender, pace, now), pace.decision)
        if (use := settings.key_sharing).decision != "off":
            flags.add(Screen.KEY_SHARING, self._key_uses.shared(sender, use, now), use.decision)
        if (again := settings.repetition).decision != "off":
            reason = self._repetitions.repeated(sender, asked, again, now)
            flags.add(Screen.REPETITION, reason, again.decision)
        await self._content(settings, asked, flags)
        return flags.found

    async def _content(self, settings: ScreeningSettings, asked: Material, flags: _Flags) -> None:
        if (rules := settings.injection).decision != "off":
            flags.add(Screen.INJECTION, await _attack(asked, rules), rules.decision)
        if settings.content_safety.decision != "off":
            await self._harm(settings, asked, flags)

    async def _harm(self, settings: ScreeningSettings, asked: Material, flags: _Flags) -> None:
        rules = settings.content_safety
        try:
            reason = await self._safety_of(rules).harm(asked)
        except Unanswered as error:
            _log.warning("Content Safety gave no verdict: %s", error)
            flags.add(Screen.CONTENT_SAFETY, "unanswered", "allow")
            if rules.on_error == "refuse":
                raise DependencyUnavailable(
                    "The request cannot be screened now, and is not run unscreened. Nothing was"
                    " lost: try again in a few seconds."
                ) from error
            return
        flags.add(Screen.CONTENT_SAFETY, reason, rules.decision)

    def _safety_of(self, rules: ContentSafetySettings) -> ContentSafety:
        """One for all tenants to whom the same applies."""
        found = self._safety.get(id(rules))
        if found is None:
            self._wire = self._wire or self._open_wire()
            found = self._safety[id(rules)] = ContentSafety(rules, self._wire)
        return found


class _Flags:
    """What the screens of one request have found."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self.found: list[str] = []

    def add(
        self, screen: Screen, reason: str | None, decision: Literal["off", "allow", "flag", "block"]
    ) -> None:
        """Take down what one found, if anything. Raises ContentBlocked."""
        if reason is None or decision == "off":
            return
        finding = Finding(screen, reason, decision)
        tell(finding, self._tenant)
        if decision == "block":
            raise blocked(finding)
        if decision == "flag":
            self.found.append(str(finding))


def _size(settings: ScreeningSettings, asked: Material, flags: _Flags) -> None:
    if (rules := settings.size).decision != "off":
        flags.add(Screen.SIZE, too_large(asked, rules), rules.decision)


async def _attack(asked: Material, settings: InjectionSettings) -> str | None:
    for said in asked.texts:
        if said.by_owner and not settings.system_messages:
            continue
        found = await _attack_in_pieces(said) if said.is_long else _attack_in(said)
        if found is not None:
            return found
    return None


def _attack_in(said: Said) -> str | None:
    found = attack(said.text, said.folded, said.seen)
    return None if found is None else str(found)


async def _attack_in_pieces(said: Said) -> str | None:
    for piece in said.pieces():
        if (found := _attack_in(piece)) is not None:
            return found
        await asyncio.sleep(0)
    return None


def _check(name: str, settings: ScreeningSettings) -> None:
    rules = settings.content_safety
    if rules.decision != "off" and (rules.endpoint is None or rules.auth is None):
        raise Misconfigured(
            f"tenants.yaml: screening.content_safety of {name} is {rules.decision!r}; expected an"
            " endpoint and auth beside it, here or under defaults."
        )
