"""The durable client binding: the JSON from which the vendor's client makes itself."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from devhost.functions_host.host_json import DurableConfig
from devhost.functions_host.json_config import Json

WEBHOOK_PATH = "/runtime/webhooks/durabletask"
_ID = "INSTANCEID"  # the placeholder that the vendor's client replaces


def client_binding(
    hub_address: str, host_url: str, system_key: str | None, config: DurableConfig
) -> str:
    """The binding's value, in the shape of the Durable extension.

    hub_address is `host:port` of the gRPC service; host_url is where this host serves HTTP.
    """
    base = f"{host_url}{WEBHOOK_PATH}"
    query = {"taskHub": config.hub_name, "connection": config.connection_name}
    suffix = urlencode(query if system_key is None else {**query, "code": system_key})
    binding: dict[str, Json] = {
        "taskHubName": config.hub_name,
        "connectionName": config.connection_name,
        "creationUrls": {**_creation_urls(base, suffix)},
        "managementUrls": {**_management_urls(f"{base}/instances/{_ID}", suffix)},
        "baseUrl": base,
        "httpBaseUrl": base,
        "requiredQueryStringParameters": suffix,
        "rpcBaseUrl": f"http://{hub_address}",
        "maxGrpcMessageSizeInBytes": config.max_message_bytes or 0,
        "grpcHttpClientTimeout": "00:01:40",
    }
    return json.dumps(binding)


def _creation_urls(base: str, suffix: str) -> dict[str, str]:
    start = f"{base}/orchestrators/{{functionName}}[/{{instanceId}}]"
    wait = "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}"
    return {
        "createNewInstancePostUri": f"{start}?{suffix}",
        "createAndWaitOnNewInstancePostUri": f"{start}?{wait}&{suffix}",
    }


def _management_urls(instance: str, suffix: str) -> dict[str, str]:
    return {
        "id": _ID,
        "statusQueryGetUri": f"{instance}?{suffix}",
        "sendEventPostUri": f"{instance}/raiseEvent/{{eventName}}?{suffix}",
        "terminatePostUri": f"{instance}/terminate?reason={{text}}&{suffix}",
        "rewindPostUri": f"{instance}/rewind?reason={{text}}&{suffix}",
        "purgeHistoryDeleteUri": f"{instance}?{suffix}",
        "restartPostUri": f"{instance}/restart?{suffix}",
        "suspendPostUri": f"{instance}/suspend?reason={{text}}&{suffix}",
        "resumePostUri": f"{instance}/resume?reason={{text}}&{suffix}",
    }
