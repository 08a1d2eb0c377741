"""The one table of protocols: the name in deployments.yaml, its settings, how it is spoken.

A further protocol is one file, with its settings and a class behind `DeploymentProtocol`, and a
line in each of the three places below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from endpoints.protocols.aml_online import AmlOnline, AmlOnlineSettings
from endpoints.protocols.common_settings import DeploymentSettings
from endpoints.protocols.interface import DeploymentProtocol
from endpoints.protocols.openai import OpenAI, OpenAISettings

type AnyDeployment = AmlOnlineSettings | OpenAISettings
type ByProtocol = Annotated[AnyDeployment, Field(discriminator="protocol")]

SETTINGS: dict[str, type[DeploymentSettings]] = {
    "aml_online": AmlOnlineSettings,
    "openai": OpenAISettings,
}


def speak(settings: AnyDeployment) -> DeploymentProtocol:
    """The protocol of a deployment, made for its settings."""
    match settings:
        case AmlOnlineSettings():
            return AmlOnline(settings)
        case OpenAISettings():
            return OpenAI(settings)
