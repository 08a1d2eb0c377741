"""The way in: a model is called by its name, and one of its deployments answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.calls import CallHandle, CallScope, ModelAnswer, ModelCall
from contracts.deployments import DeploymentStatus
from contracts.errors import NotFound
from endpoints import long_calls
from endpoints import settings as deployments_yaml
from endpoints.context import Context
from endpoints.credentials import Credential, FetchToken, Identity, Key, azure_token
from endpoints.deployment import Deployment
from endpoints.long_calls import LongDeployment, LongModel
from endpoints.mirroring import Mirror
from endpoints.model import Model
from endpoints.protocols import AnyDeployment, synapse
from endpoints.protocols.aml_batch import AmlBatchSettings
from endpoints.protocols.common_settings import Auth
from endpoints.settings import ModelSettings, Settings
from endpoints.sharing import Sharing
from endpoints.status import status
from endpoints.streaming import Streaming
from endpoints.wire import Wire


def http_client() -> Wire:
    """The one kind of client that the app has; each is for one event loop."""
    from endpoints.client import HttpClient  # aiohttp takes a while: not at an import of the app

    return HttpClient()


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
        context: Context | None = None,
    ) -> None:
        self._wire = wire or http_client()
        self._databases: list[Wire] = []
        self._long: dict[str, LongDeployment] = {}
        self._fetch_token = fetch_token
        self._context = context or Context()
        self._identities: dict[str, Identity] = {}
        self._models = {name: self._model(name, model) for name, model in settings.models.items()}
        self.models: Mapping[str, ModelInfo] = {
            name: _info(name, model) for name, model in settings.models.items()
        }

    @classmethod
    def load(
        cls, path: Path, environ: Mapping[str, str], *, context: Context | None = None
    ) -> Endpoints:
        """From deployments.yaml; opens no connection. Raises SettingsError with all findings."""
        return cls(deployments_yaml.load(path, environ), context=context)

    async def invoke(self, call: ModelCall, scope: CallScope) -> ModelAnswer:
        """The answer of the best deployment that takes the call.

        Every request made on the way is added to `scope.attempts`. Moves on to the next
        deployment at once; waits for capacity no longer than `scope.patience`. Raises

        - NotFound, InvalidRequest, PayloadTooLarge, PersonalDataRefused: the call cannot be made
          as it is;
        - DeadlineExceeded: no time is left for a (further) attempt;
        - CallRejected, OutcomeUnknown, NoCapacity, CallFailed, EndpointUnusable: see `endings`;
        - CallPending, CallGivenUp: see `long_running`.
        """
        model, pin = self._asked(call)
        return await model.invoke(call, pin, scope)

    async def stream(self, call: ModelCall, scope: CallScope) -> Streaming:
        """As `invoke`, for an answer as server-sent events, passed on as they arrive.

        Moves on to other deployments until one begins to answer. An answer that breaks off later
        ends with OutcomeUnknown where it is read.
        """
        model, pin = self._asked(call)
        return await model.stream(call, pin, scope)

    async def look(self, handles: Mapping[str, CallHandle]) -> None:
        """Raises CallPending while deployments work on all of the calls that have not ended."""
        await long_calls.look(self._long, handles.values())

    async def cancel(self, handles: Mapping[str, CallHandle]) -> None:
        """Raises DependencyUnavailable while a deployment cannot be told."""
        await long_calls.cancel(self._long, handles.values(), self._identity)

    def _asked(self, call: ModelCall) -> tuple[Model, str | None]:
        name, _, pin = call.model.partition("@")
        model = self._models.get(name)
        if model is None:
            raise NotFound(f"No model {name!r}; there are {', '.join(self._models)}.")
        return model, pin or None

    def share(self, worker: str) -> dict[str, Sharing]:
        """Begin to keep to limits together with other workers, by model.

        From now on each limit is used in a small part, until the others are heard of.
        """
        return {
            name: Sharing(model, self._context.clocks, worker)
            for name, model in self._models.items()
        }

    def statuses(self) -> list[DeploymentStatus]:
        """Every deployment as this process knows it."""
        return [
            status(deployment, model.name, model.pool.waiting, self._context.clocks)
            for model in self._models.values()
            for deployment in model.deployments
        ]

    async def aclose(self) -> None:
        """Close every connection."""
        for model in self._models.values():
            await model.aclose()
        for identity in self._identities.values():
            await identity.aclose()
        for wire in (self._wire, *self._databases):
            await wire.aclose()

    def _model(self, name: str, settings: ModelSettings) -> Model:
        deployments = {each.name: self._deployment(name, each) for each in settings.deployments}
        mirror = None
        if settings.mirror is not None:
            shadow = deployments[settings.mirror.to]
            mirror = Mirror(shadow, settings.mirror.percent, self._context)
        kind = LongModel if deployments.keys() & self._long.keys() else Model
        return kind(name, settings, tuple(deployments.values()), self._context, mirror)

    def _deployment(self, model: str, settings: AnyDeployment) -> Deployment:
        credential, wire = self._credential(settings.auth), self._wire
        if isinstance(settings, AmlBatchSettings):
            long = LongDeployment(model, settings, credential, wire, self._context)
            self._long[settings.name] = long
            return long
        if isinstance(settings, synapse.SynapseSettings):
            wire = synapse.wire(settings)
            self._databases.append(wire)
        return Deployment(model, settings, credential, wire, self._context)

    def _credential(self, auth: Auth | None) -> Credential | None:
        if auth is None:
            return None
        if auth.key is not None:
            return Key(auth.key.get_secret_value())
        return self._identity(auth.managed_identity or "")

    def _identity(self, scope: str) -> Credential:
        if scope not in self._identities:
            self._identities[scope] = Identity(scope, self._fetch_token)
        return self._identities[scope]


def _info(name: str, model: ModelSettings) -> ModelInfo:
    deployments = tuple(DeploymentInfo(each.name, each.protocol) for each in model.deployments)
    return ModelInfo(name, model.description, deployments)
