"""The app and its infrastructure agree: queues, containers, settings, functions, routes, roles."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from contracts import names
from devhost.bicep.__main__ import INFRA
from devhost.bicep.place import Place
from devhost.bicep.render import render
from endpoints.context import Context
from endpoints.invoke import Endpoints
from tests.unit.indexed import indexed
from tests.unit.infra_variants import (
    DEPLOYER,
    OPERATOR,
    ROOT,
    VARIANTS,
    blob_events,
    of_type,
    rendered,
    resources,
    serving,
    settings_of,
)
from wiring import DEFAULT_REPLY_QUEUES

CONTRACT = json.loads((INFRA / "contract.json").read_text())
QUEUE = "Microsoft.ServiceBus/namespaces/queues"


def bindings(kind):
    return [
        binding
        for function in indexed()
        for binding in json.loads(function.get_function_json())["bindings"]
        if binding["type"] == kind
    ]


# Queues.


def queue_disagreements(infra, code_queues, local_queues):
    """Where the infrastructure's queues differ from those of the code and of the local broker."""
    deployed = {
        each.name.partition("/")[2]: each.body["properties"]
        for each in rendered("as it is", infra)
        if each.type == QUEUE
    }
    said = []
    if set(deployed) != set(code_queues):
        said.append(f"code {sorted(code_queues)}, infrastructure {sorted(deployed)}")
    if set(deployed) != set(local_queues):
        said.append(f"local {sorted(local_queues)}, infrastructure {sorted(deployed)}")
    for name in set(deployed) & set(local_queues):
        local, cloud = local_queues[name], deployed[name]
        said.extend(
            f"{name}: {theirs} is {cloud[theirs]}, locally {local[ours]}"
            for ours, theirs in SAME.items()
            if local[ours] != cloud[theirs]
        )
    return said


SAME = {
    "LockDuration": "lockDuration",
    "MaxDeliveryCount": "maxDeliveryCount",
    "RequiresDuplicateDetection": "requiresDuplicateDetection",
    "RequiresSession": "requiresSession",
    "DeadLetteringOnMessageExpiration": "deadLetteringOnMessageExpiration",
}
CODE_QUEUES = {names.REQUESTS_QUEUE, names.RESULTS_QUEUE, names.REJECTED_QUEUE}


def local_queues():
    config = json.loads((ROOT / "devhost/service_bus/config.json").read_text())
    (namespace,) = config["UserConfig"]["Namespaces"]
    return {each["Name"]: each["Properties"] for each in namespace["Queues"]}


def test_queues_are_those_of_the_code_and_of_the_local_broker():
    assert queue_disagreements(INFRA, CODE_QUEUES, local_queues()) == []


def test_a_queue_renamed_in_the_infrastructure_alone_is_found(tmp_path):
    infra = tmp_path / "infra"
    shutil.copytree(INFRA, infra)
    contract = infra / "contract.json"
    contract.write_text(contract.read_text().replace("inference-requests", "inference-jobs"))

    found = queue_disagreements(infra, CODE_QUEUES, local_queues())
    assert any("inference-jobs" in each for each in found)


def test_a_queue_renamed_in_the_code_alone_is_found():
    renamed = {names.REQUESTS_QUEUE, names.RESULTS_QUEUE, "inference-refused"}
    found = queue_disagreements(INFRA, renamed, local_queues())
    assert any("inference-refused" in each for each in found)


@pytest.mark.parametrize(
    ("ours", "theirs", "other"),
    [
        ("MaxDeliveryCount", '"maxDeliveryCount": 10', '"maxDeliveryCount": 3'),
        ("LockDuration", '"lockDuration": "PT1M"', '"lockDuration": "PT5M"'),
        ("RequiresDuplicateDetection", 'tection": true', 'tection": false'),
    ],
)
def test_a_queue_that_works_otherwise_than_locally_is_found(tmp_path, ours, theirs, other):
    infra = tmp_path / "infra"
    shutil.copytree(INFRA, infra)
    contract = infra / "contract.json"
    contract.write_text(contract.read_text().replace(theirs, other))

    found = queue_disagreements(infra, CODE_QUEUES, local_queues())
    assert any(SAME[ours] in each for each in found)


def test_what_the_contract_names_is_what_the_code_names():
    assert CONTRACT["requestsQueue"] == names.REQUESTS_QUEUE
    assert CONTRACT["resultsQueue"] == names.RESULTS_QUEUE
    assert CONTRACT["serviceBusConnection"] == names.SERVICE_BUS_CONNECTION


def test_no_template_names_a_queue_or_a_container_itself():
    spelled = [each["name"] for each in (*CONTRACT["queues"], *CONTRACT["containers"])]
    for path in INFRA.rglob("*.bicep"):
        code = re.sub(r"//.*|@description\('.*'\)|name: 'batch-inputs'", "", path.read_text())
        assert not [name for name in spelled if f"'{name}'" in code], path.name


def test_replies_are_kept_as_long_as_they_are_tried():
    """One is tried again for two days (docs/reliability.md), and a repeat must still be known."""
    kept = {
        each["name"]: each["duplicateDetectionHistoryTimeWindow"] for each in CONTRACT["queues"]
    }
    assert kept[names.RESULTS_QUEUE] == "P2D"
    assert CONTRACT["replyQueue"]["duplicateDetectionHistoryTimeWindow"] == "P2D"


def test_queues_for_replies_may_be_named_by_callers():
    settings = settings_of("everything")
    patterns = settings["SLUICE_REPLY_QUEUES"].split(",")
    assert patterns == ["inference-results", "shop-replies"]
    made = {each.name.partition("/")[2] for each in of_type(resources("everything"), QUEUE)}
    assert set(patterns) <= made
    assert DEFAULT_REPLY_QUEUES.split(",")[0] in patterns


@pytest.mark.parametrize("alert", json.loads((INFRA / "alerts.json").read_text())["metrics"])
def test_alerts_look_at_queues_that_are_there(alert):
    assert alert["queue"] in {"", *CODE_QUEUES}


def test_alerts_and_pictures_ask_for_figures_that_the_app_tells():
    source = "".join(path.read_text() for path in sorted((ROOT / "telemetry").glob("*.py")))
    asked = "".join((INFRA / name).read_text() for name in ("alerts.json", "workbook.json"))
    names_asked = set(re.findall(r"Name == '([\w.]+)'", asked))
    fields_asked = set(re.findall(r"Properties\['([\w.]+)'\]", asked))
    assert names_asked
    for name in names_asked | fields_asked:
        assert f'"{name}"' in source, name


def test_alerts_and_pictures_ask_for_lines_that_the_app_writes():
    source = "".join(
        path.read_text() for path in (ROOT / "wiring").glob("*.py") if path.name != "__main__.py"
    )
    asked = (INFRA / "alerts.json").read_text()
    for line in re.findall(r"Message startswith '([^']+)'", asked):
        assert f'"{line}' in source, line


def test_models_are_scaled_by_what_waits_and_by_the_use_of_their_gpus():
    deployment = {"name": "blue", "least": 1, "most": 4, "hasGpu": True}
    endpoint = {"name": "embed", "traffic": {}, "mirror": {}, "deployments": [deployment]}
    given = {
        "workspaceName": "mlw-sluice-abcd1234",
        "endpoints": [endpoint],
        "serviceBusId": "/subscriptions/x/namespaces/sb",
    }
    made = tuple(render(INFRA / "serving.bicep", given, Place("rg")))
    (scaling,) = of_type(made, "Microsoft.Insights/autoscaleSettings")
    (profile,) = scaling.body["properties"]["profiles"]
    assert profile["capacity"] == {"minimum": "1", "maximum": "4", "default": "1"}
    triggers = [rule["metricTrigger"] for rule in profile["rules"]]
    directions = [rule["scaleAction"]["direction"] for rule in profile["rules"]]
    assert [each["metricName"] for each in triggers] == [
        "GpuUtilizationPercentage",
        "GpuUtilizationPercentage",
        "ActiveMessages",
    ]
    assert directions == ["Increase", "Decrease", "Increase"]
    assert triggers[2]["dimensions"][0]["Values"] == [names.REQUESTS_QUEUE]


def test_there_is_an_alert_for_each_situation_that_operators_have_a_page_for():
    alerts = json.loads((INFRA / "alerts.json").read_text())
    raised = {each["when"] for each in (*alerts["metrics"], *alerts["logs"])}
    told = re.findall(r"^## (.+)$", (ROOT / "docs/operations.md").read_text(), re.M)
    assert raised == set(told)


# Containers.


def containers_of_the_code():
    """The settings that name a container, with what each is when it is empty."""
    source = "".join(path.read_text() for path in sorted((ROOT / "wiring").glob("*.py")))
    found = dict(re.findall(r'"(SLUICE_\w+_CONTAINER)"\)\s+or "([\w-]+)"', source))
    return {**found, names.BATCH_INPUTS: names.DEFAULT_BATCH_INPUTS}


def test_containers_are_those_of_the_code():
    assert {each["setting"]: each["name"] for each in CONTRACT["containers"]} == (
        containers_of_the_code()
    )


def test_containers_are_made_and_named_in_settings():
    made = {
        each.name.rpartition("/")[2]
        for each in of_type(
            resources("as it is"), "Microsoft.Storage/storageAccounts/blobServices/containers"
        )
    }
    settings = settings_of("as it is")
    for each in CONTRACT["containers"]:
        assert each["name"] in made
        assert settings[each["setting"]] == each["name"]


def test_who_did_what_and_who_used_what_is_not_deleted_by_a_rule():
    (policy,) = of_type(
        resources("as it is"), "Microsoft.Storage/storageAccounts/managementPolicies"
    )
    rules = policy.body["properties"]["policy"]["rules"]
    passing = {each["name"].removeprefix("delete-") for each in rules}
    kept = {"sluice-keys", "sluice-ledger", "sluice-audit"}
    assert passing == {each["name"] for each in CONTRACT["containers"]} - kept
    (immutable,) = of_type(
        resources("as it is"),
        "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies",
    )
    assert "/sluice-audit/" in immutable.name


# Settings.


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_setting_of_the_example_is_made_or_left_out_for_a_reason(variant):
    example = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    made = settings_of(variant)
    for name in example:
        is_made = name in made or any(each.startswith(f"{name}__") for each in made)
        assert is_made or name in CONTRACT["leftOut"], f"{name} is neither set nor left out"


def test_nothing_is_left_out_that_the_example_does_not_have():
    example = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    assert set(CONTRACT["leftOut"]) <= set(example)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_setting_is_made_that_nothing_reads(variant):
    example = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    platform = (
        "AZURE_CLIENT_ID",
        "APPLICATIONINSIGHTS_",
        "AzureWebJobs",
        "DURABLE_TASK_",
        "WEBSITE_",
    )
    platform += ("AzureFunctionsJobHost__", "FUNCTIONS_")
    code = containers_of_the_code()
    for name in settings_of(variant):
        plain = name.partition("__")[0]
        assert plain in example or plain in code or name.startswith(platform), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_models_can_be_called_with_these_settings_alone(variant):
    settings = settings_of(variant)
    assert settings["SLUICE_DEPLOYMENTS"].endswith("/deployments.azure.yaml")

    known = Endpoints.load(ROOT / "deployments.azure.yaml", settings, context=Context())
    usual = Endpoints.load(
        ROOT / "deployments.yaml",
        {**settings, **dict.fromkeys(CONTRACT["leftOut"], "key")},
        context=Context(),
    )
    assert set(known.models) == set(usual.models)


def test_a_file_of_a_batch_is_not_larger_than_the_host_takes():
    assert int(settings_of("as it is")["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"]) > 250_000_000


def test_flex_consumption_gets_no_setting_that_it_refuses():
    refused = {
        "FUNCTIONS_WORKER_RUNTIME",
        "FUNCTIONS_EXTENSION_VERSION",
        "WEBSITE_RUN_FROM_PACKAGE",
    }
    assert not refused & set(settings_of("as it is"))
    assert refused <= set(settings_of("everything"))


def test_the_task_hub_is_that_of_host_json():
    host = json.loads((ROOT / "host.json").read_text())
    assert CONTRACT["taskHub"] == host["extensions"]["durableTask"]["hubName"]
    settings = settings_of("everything")
    prefix = "AzureFunctionsJobHost__extensions__durableTask__"
    assert settings[f"{prefix}hubName"] == CONTRACT["taskHub"]
    assert settings[f"{prefix}storageProvider__type"] == "azureManaged"
    assert settings[f"{prefix}storageProvider__connectionStringName"] in settings
    (hub,) = {
        each.name.partition("/")[2]
        for each in of_type(resources("everything"), "Microsoft.DurableTask/schedulers/taskHubs")
    }
    assert hub == CONTRACT["taskHub"]


# Functions and routes.


def test_functions_that_the_infrastructure_names_are_there():
    triggers = {
        each.get_function_name(): each.get_trigger().get_binding_name() for each in indexed()
    }
    assert triggers[CONTRACT["functions"]["requests"]] == "serviceBusTrigger"
    assert triggers[CONTRACT["functions"]["blobs"]] == "blobTrigger"
    sizes = json.loads((INFRA / "sizes.json").read_text())
    for group in sizes["reference"]["app"]["alwaysReady"]:
        known = {"http", "durable", "blob", *(f"function:{name}" for name in triggers)}
        assert group["name"] in known


def test_a_stamp_that_stands_by_takes_no_messages():
    configs = of_type(resources("two regions"), "Microsoft.Web/sites/config")
    taken = [each.body["properties"]["AzureWebJobs.receive_job.Disabled"] for each in configs]
    assert taken == ["false", "true"]


def test_what_probes_the_app_asks_a_route_that_is_open_to_all():
    routes = {each["route"]: each for each in bindings("httpTrigger")}
    (group,) = of_type(resources("as it is"), "Microsoft.Cdn/profiles/originGroups")
    probed = group.body["properties"]["healthProbeSettings"]["probePath"].lstrip("/")
    assert routes[probed]["authLevel"].lower() == "anonymous"
    premium = of_type(resources("everything"), "Microsoft.Web/sites")[0]
    assert premium.body["properties"]["siteConfig"]["healthCheckPath"] == f"/{probed}"


def test_front_door_passes_every_route_of_the_app_and_none_of_the_hosts():
    (firewall,) = of_type(
        resources("as it is"), "Microsoft.Network/FrontDoorWebApplicationFirewallPolicies"
    )
    blocked = firewall.body["properties"]["customRules"]["rules"][0]["matchConditions"][0]
    pattern = re.compile(blocked["matchValue"][0])
    for binding in bindings("httpTrigger"):
        assert not pattern.search(f"https://host/{binding['route']}"), binding["route"]
    for path in ("/runtime/webhooks/durabletask/instances", "/admin/host/status"):
        assert pattern.search(f"https://host{path}")
    (route,) = of_type(resources("as it is"), "Microsoft.Cdn/profiles/afdEndpoints/routes")
    assert route.body["properties"]["patternsToMatch"] == ["/*"]


def test_blobs_are_told_of_where_the_trigger_looks():
    (trigger,) = bindings("blobTrigger")
    container, _, name = trigger["path"].partition("/")
    (subscription,) = of_type(blob_events(), "Microsoft.EventGrid/systemTopics/eventSubscriptions")
    told = subscription.body["properties"]
    assert told["filter"]["subjectBeginsWith"].endswith(f"/containers/{container}/")
    assert told["filter"]["subjectEndsWith"] == name.rpartition("}")[2]
    url = told["destination"]["properties"]["endpointUrl"]
    assert f"functionName=Host.Functions.{CONTRACT['functions']['blobs']}&" in url


# Roles.

ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0": "Azure Service Bus Data Receiver",
    "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39": "Azure Service Bus Data Sender",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "516239f1-63e1-4d78-a4de-a74fb236a071": "App Configuration Data Reader",
    "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd": "Cognitive Services OpenAI User",
    "0ad04412-c4d5-4796-b79c-f76d14c8d402": "Durable Task Data Contributor",
}
"""Of Azure's built-in roles those that the app may have, by id."""


def assignments(variant, principal):
    """Role and scope of each assignment of a principal."""
    return {
        (
            ROLES.get(each.body["properties"]["roleDefinitionId"].rpartition("/")[2], "custom"),
            each.body.get("scope", "group"),
        )
        for each in of_type(resources(variant), "Microsoft.Authorization/roleAssignments")
        if principal in each.body["properties"]["principalId"]
    }


def test_the_app_may_do_what_it_does_and_nothing_else():
    # In a module the app's principal is a parameter; in the shared one it is an output of a stamp.
    assert assignments("everything", "ppPrincipalId") | assignments(
        "everything", "appIdentity"
    ) == {
        ("Storage Blob Data Owner", "hostAccount"),
        ("Storage Queue Data Contributor", "hostAccount"),
        ("Storage Table Data Contributor", "hostAccount"),
        ("Storage Blob Data Contributor", "dataAccount"),
        ("Storage Queue Data Contributor", "dataAccount"),
        ("Key Vault Secrets User", "vault"),
        ("Cognitive Services OpenAI User", "openAi"),
        ("custom", "workspace"),
        ("Durable Task Data Contributor", "scheduler"),
        ("Azure Service Bus Data Receiver", "takenQueue"),
        ("Azure Service Bus Data Receiver", "sentQueue[0]"),
        ("Azure Service Bus Data Receiver", "sentQueue[1]"),
        ("Azure Service Bus Data Sender", "sentQueue[0]"),
        ("Azure Service Bus Data Sender", "sentQueue[1]"),
        ("Azure Service Bus Data Sender", "sentQueue[2]"),
        ("Monitoring Metrics Publisher", "insights"),
        ("App Configuration Data Reader", "settingsStore"),
    }


def test_every_role_is_given_in_one_module():
    for variant in VARIANTS:
        for each in resources(variant):
            if each.type.startswith("Microsoft.Authorization/"):
                assert each.file == "roles.bicep"


def test_nobody_is_given_anything_who_is_not_named():
    given = {
        each.body["properties"]["principalId"]
        for each in of_type(resources("as it is"), "Microsoft.Authorization/roleAssignments")
    }
    assert all("Identity" in each or "appPrincipalId" in each for each in given)
    assert assignments("everything", OPERATOR)
    assert {role for role, _ in assignments("everything", DEPLOYER)} == {
        "Storage Blob Data Contributor",
        "custom",
    }


# The serving side.


def test_endpoints_are_served_where_the_app_calls_them():
    endpoints = of_type(serving(), "Microsoft.MachineLearningServices/workspaces/onlineEndpoints")
    made = {each.name.partition("/")[2] for each in endpoints}
    token = "abcd1234"
    assert made == {f"{name}-{token}" for name in CONTRACT["endpoints"]}
    settings = settings_of("as it is")
    for name in CONTRACT["endpoints"]:
        host = settings[f"{name.upper()}_ENDPOINT_URL"].removeprefix("https://")
        assert re.match(
            rf"{name}-[a-z0-9]{{8}}\.swedencentral\.inference\.ml\.azure\.com/score$", host
        )


def test_traffic_goes_to_deployments_that_are_there_and_sums_to_a_hundred():
    file = json.loads((INFRA / "serving.parameters.json").read_text())
    for each in file["parameters"]["endpoints"]["value"]:
        there = {deployment["name"] for deployment in each["deployments"]}
        assert set(each["traffic"]) | set(each["mirror"]) <= there
        assert sum(each["traffic"].values()) == 100
        assert not {name for name in each["mirror"] if each["traffic"].get(name)}, "live or mirror"
        assert all(share <= 50 for share in each["mirror"].values())
