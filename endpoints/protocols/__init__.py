"""The one table of protocols: the name in deployments.yaml, its settings, how it is spoken.

A further protocol is one file, with its settings and a class behind `DeploymentProtocol`, and a
line in each of the three places below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from endpoints.protocols.aml_batch import AmlBatch, AmlBatchSettings
from endpoints.protocols.aml_online import AmlOnline, AmlOnlineSettings
from endpoints.protocols.common_settings import DeploymentSettings
from endpoints.protocols.databricks import Databricks, DatabricksSettings
from endpoints.protocols.interface import DeploymentProtocol
from endpoints.protocols.mlflow import Mlflow, MlflowSettings
from endpoints.protocols.openai import OpenAI, OpenAISettings
from endpoints.protocols.synapse import Synapse, SynapseSettings
from endpoints.protocols.triton import Triton, TritonSettings

type AnyDeployment = (
    AmlBatchSettings
    | AmlOnlineSettings
    | DatabricksSettings
    | MlflowSettings
    | OpenAISettings
    | SynapseSettings
    | TritonSettings
)
type ByProtocol = Annotated[AnyDeployment, Field(discriminator="protocol")]

SETTINGS: dict[str, type[DeploymentSettings]] = {
    "aml_batch": AmlBatchSettings,
    "aml_online": AmlOnlineSettings,
    "databricks": DatabricksSettings,
    "mlflow": MlflowSettings,
    "openai": OpenAISettings,
    "synapse": SynapseSettings,
    "triton": TritonSettings,
}


def speak(settings: AnyDeployment) -> DeploymentProtocol:  # noqa: PLR0911 - one a protocol
    """The protocol of a deployment, made for its settings."""
    match settings:
        case AmlBatchSettings():
            return AmlBatch(settings)
        case AmlOnlineSettings():
            return AmlOnline(settings)
        case DatabricksSettings():
            return Databricks(settings)
        case MlflowSettings():
            return Mlflow(settings)
        case OpenAISettings():
            return OpenAI(settings)
        case SynapseSettings():
            return Synapse(settings)
        case TritonSettings():
            return Triton(settings)
