"""The way in: a model is called by its name, and one of its deployments answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contracts.calls import CallScope, ModelAnswer, ModelCall
from contracts.errors import DeadlineExceeded, InvalidRequest, NotFound, PayloadTooLarge
from endpoints import settings as deployments_yaml
from endpoints.credentials import Credential, FetchToken, Identity, Key, azure_token
from endpoints.deployment import Deployment, Now
from endpoints.endings import Tally
from endpoints.protocols.common_settings import Auth
from endpoints.settings import ModelSettings, Settings
from endpoints.wire import Wire


def _http_client() -> Wire:
    from endpoints.client import HttpClient  # aiohttp takes a while: not at an import of the app

    return HttpClient()


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class DeploymentInfo:
    """A deployment as it is listed: without its address and credential."""

    name: str
    protocol: str


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as it is listed."""

    name: str
    description: str
    deployments: tuple[DeploymentInfo, ...]


class Endpoints:
    """All models of deployments.yaml. One for the whole process, used in one event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        wire: Wire | None = None,
        fetch_token: FetchToken = azure_token,
        now: Now = _utc_now,
    ) -> None:
        self._wire = wire or _http_client()
        self._fetch_token = fetch_token
        self._now = now
        self._identities: dict[str, Identity] = {}
        self._pools = {name: self._pool(name, model) for name, model in settings.models.items()}
        self.models: Mapping[str, ModelInfo] = {
            name: _info(name, model, self._pools[name]) for name, model in settings.models.items()
        }

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str]) -> Endpoints:
        """From deployments.yaml; opens no connection. Raises SettingsError with all findings."""
        return cls(deployments_yaml.load(path, environ))

    async def invoke(self, call: ModelCall, scope: CallScope) -> ModelAnswer:
        """The answer of the first deployment that takes the call, in declared order.

        Every request made on the way is added to `scope.attempts`. Moves on to the next
        deployment at once and never waits for capacity. Raises

        - NotFound, InvalidRequest, PayloadTooLarge: the call cannot be made as it is;
        - DeadlineExceeded: no time is left for a (further) attempt;
        - CallRejected, OutcomeUnknown, NoCapacity, CallFailed, EndpointUnusable: see `endings`.
        """
        pool = self._pool_for(call)
        tally = Tally(call.model)
        for deployment in _order(pool, tally, self._now()):
            try:
                result = await deployment.ask(call, scope)
            except PayloadTooLarge as error:
                tally.too_large(error)
                continue
            if result.verdict.outcome == "answered":
                return ModelAnswer(result.body, result.attempt)
            tally.add(result, scope, self._now())
        if scope.deadline is not None and scope.deadline <= self._now():
            raise DeadlineExceeded("The deadline passed before the model answered.")
        raise tally.error()

    async def aclose(self) -> None:
        """Close every connection."""
        for identity in self._identities.values():
            await identity.aclose()
        await self._wire.aclose()

    def _pool(self, name: str, model: ModelSettings) -> tuple[Deployment, ...]:
        return tuple(
            Deployment(name, settings, self._credential(settings.auth), self._wire, self._now)
            for settings in model.deployments
        )

    def _credential(self, auth: Auth | None) -> Credential | None:
        if auth is None:
            return None
        if auth.key is not None:
            return Key(auth.key.get_secret_value())
        scope = auth.managed_identity or ""
        if scope not in self._identities:
            self._identities[scope] = Identity(scope, self._fetch_token)
        return self._identities[scope]

    def _pool_for(self, call: ModelCall) -> list[Deployment]:
        """The deployments of the model that can do the task."""
        pool = self._pools.get(call.model)
        if pool is None:
            raise NotFound(f"No model {call.model!r}; there are {', '.join(self._pools)}.")
        able = [deployment for deployment in pool if call.task in deployment.tasks]
        if not able:
            tasks = sorted({task for deployment in pool for task in deployment.tasks})
            raise InvalidRequest(
                f"Model {call.model} does not do {call.task}; it does {', '.join(tasks)}."
            )
        return able


def _order(pool: list[Deployment], tally: Tally, now: datetime) -> list[Deployment]:
    """Who is asked, in which order. Those that cool down are told to the tally instead.

    An unusable one is passed over for a while, but when there is no other it is asked again:
    what ends a job for good should be true now.
    """
    ready = []
    passed_over = []
    cooling = False
    for deployment in pool:
        until = deployment.standing.cooling_until(now)
        if until is not None:
            tally.cooling(until)
            cooling = True
        elif deployment.standing.unusable(now):
            passed_over.append(deployment)
        else:
            ready.append(deployment)
    return ready if ready or cooling else passed_over


def _info(name: str, model: ModelSettings, pool: tuple[Deployment, ...]) -> ModelInfo:
    deployments = tuple(DeploymentInfo(each.name, each.protocol) for each in pool)
    return ModelInfo(name, model.description, deployments)
