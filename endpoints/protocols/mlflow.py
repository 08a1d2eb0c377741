"""MLflow's own scoring server, as `mlflow models serve` and its containers run it.

It answers 400 also when the model's code raises (BAD_REQUEST), so a model's own failure is not to
be told from an input at fault.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from yarl import URL

from endpoints.protocols.common_settings import DeploymentSettings, expected
from endpoints.protocols.json_http import below, probe
from endpoints.protocols.mlflow_http import MlflowOverHttp
from endpoints.wire import Request


class MlflowSettings(DeploymentSettings):
    protocol: Literal["mlflow"]

    @model_validator(mode="after")
    def _base_url(self) -> MlflowSettings:
        if URL(self.url).path.rstrip("/").endswith("/invocations"):
            raise expected("url to be the base URL, without /invocations")
        return self


class Mlflow(MlflowOverHttp):
    def __init__(self, settings: MlflowSettings) -> None:
        super().__init__(below(settings.url, "invocations"))
        self._health = probe(below(settings.url, "ping"))

    def health(self) -> Request | None:
        return self._health
