"""What the front needs to know of each endpoint, and how it follows from a deployment.yml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

MODELS_FOLDER = Path(__file__).parents[2] / "infra" / "models"
OPENAI_ROUTES = ("v1/chat/completions", "v1/embeddings")


class RequestSettings(BaseModel):
    """`request_settings` of an Azure ML deployment, with Azure's defaults."""

    max_concurrent_requests_per_instance: int = Field(default=1, ge=1)
    request_timeout_ms: int = Field(default=5_000, ge=1, le=180_000)


class CodeConfiguration(BaseModel):
    code: str
    scoring_script: str


class DeploymentFile(BaseModel):
    """The keys of a deployment.yml (Azure ML CLI v2) that mean something on this machine."""

    name: str
    endpoint_name: str
    code_configuration: CodeConfiguration
    environment_variables: dict[str, str] = {}
    instance_count: int = Field(default=1, ge=1)
    request_settings: RequestSettings = RequestSettings()


@dataclass(frozen=True, slots=True)
class ModelServer:
    """One scoring script to serve."""

    endpoint: str
    deployment: str
    code: Path
    """The folder that is put on sys.path, as Azure does."""
    script: Path
    environment: dict[str, str]
    concurrency: int
    """Requests sent to the server at once, over all instances."""
    timeout_seconds: float


class Deployment(BaseModel):
    """A container behind an endpoint."""

    model_config = ConfigDict(extra="forbid")

    name: str
    upstream: str = Field(description="Base URL of the container: http://127.0.0.1:PORT.")
    routes: dict[str, str] = Field(
        description="Path below the endpoint, without leading slash, to the container's path."
    )
    concurrency: int = Field(ge=1, description="Requests sent on at once; as many again wait.")
    timeout_seconds: float = Field(gt=0, description="From arrival to answer; 408 after it.")


class Endpoint(BaseModel):
    """An online endpoint; requests go to its first deployment unless a header names another."""

    model_config = ConfigDict(extra="forbid")

    name: str
    key: str
    deployments: list[Deployment] = Field(min_length=1)


class FrontSettings(BaseModel):
    """The whole of the front's settings file."""

    model_config = ConfigDict(extra="forbid")

    endpoints: list[Endpoint]


def model_servers(folder: Path = MODELS_FOLDER) -> list[ModelServer]:
    """Every deployment.yml in the folders of `folder`. Raises pydantic's ValidationError."""
    return [read_deployment(path) for path in sorted(folder.glob("*/deployment.yml"))]


def read_deployment(path: Path) -> ModelServer:
    """One deployment.yml; paths in it are relative to its own folder, as for Azure's CLI."""
    file = DeploymentFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    code = (path.parent / file.code_configuration.code).resolve()
    limits = file.request_settings
    return ModelServer(
        endpoint=file.endpoint_name,
        deployment=file.name,
        code=code,
        script=code / file.code_configuration.scoring_script,
        environment=file.environment_variables,
        concurrency=limits.max_concurrent_requests_per_instance * file.instance_count,
        timeout_seconds=limits.request_timeout_ms / 1_000,
    )


def scoring_routes() -> dict[str, str]:
    """A scoring script serves /score only; OpenAI clients are sent to it too."""
    return {"score": "/score", **dict.fromkeys(OPENAI_ROUTES, "/score")}


def openai_routes() -> dict[str, str]:
    """A server that speaks OpenAI's API itself."""
    return {route: f"/{route}" for route in OPENAI_ROUTES}
