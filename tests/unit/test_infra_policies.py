"""What holds for whatever infra/ deploys: no keys, no public doors, nothing unwatched."""

from __future__ import annotations

import json
import re

import pytest

from devhost.bicep.__main__ import INFRA, templates
from devhost.bicep.names import findings
from devhost.bicep.template import Template
from tests.unit.infra_variants import VARIANTS, of_type, resources

PRIVATE = ("as it is", "smallest, private", "scheduler", "two regions")
NO_PUBLIC = {
    "Microsoft.Storage/storageAccounts",
    "Microsoft.ServiceBus/namespaces",
    "Microsoft.KeyVault/vaults",
    "Microsoft.CognitiveServices/accounts",
    "Microsoft.MachineLearningServices/workspaces",
    "Microsoft.ContainerRegistry/registries",
    "Microsoft.AppConfiguration/configurationStores",
    "Microsoft.Web/sites",
    "Microsoft.DurableTask/schedulers",
}
OPTIONAL = {
    "Microsoft.AppConfiguration/configurationStores",
    "Microsoft.DurableTask/schedulers",
}
NO_KEYS = {
    "Microsoft.Storage/storageAccounts": ("allowSharedKeyAccess", False),
    "Microsoft.ServiceBus/namespaces": ("disableLocalAuth", True),
    "Microsoft.CognitiveServices/accounts": ("disableLocalAuth", True),
    "Microsoft.AppConfiguration/configurationStores": ("disableLocalAuth", True),
    "Microsoft.ContainerRegistry/registries": ("adminUserEnabled", False),
    "Microsoft.KeyVault/vaults": ("enableRbacAuthorization", True),
    "Microsoft.Insights/components": ("DisableLocalAuth", True),
    "Microsoft.MachineLearningServices/workspaces": ("systemDatastoresAuthMode", "Identity"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": ("allow", False),
}


@pytest.mark.parametrize("path", templates(), ids=lambda path: path.name)
def test_every_name_in_a_template_is_known_and_used(path):
    assert findings(Template(path)) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_takes_a_key(variant):
    seen = set()
    for each in resources(variant):
        if each.type in NO_KEYS:
            name, expected = NO_KEYS[each.type]
            assert each.body["properties"][name] == expected, each.name
            seen.add(each.type)
    assert seen >= set(NO_KEYS) - OPTIONAL


def test_no_template_asks_for_a_key():
    """But for Event Grid's door, which knows no other way."""
    for path in templates():
        keys = re.findall(r"listKeys|listAccountSas|\.listKeys\(", path.read_text())
        assert len(keys) == (1 if path.name == "event-grid.bicep" else 0), path.name


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_secret_is_among_the_settings(variant):
    text = json.dumps([each.body for each in resources(variant)])
    assert not re.search(r"AccountKey=|SharedAccessKey=|\"password\"|@secure", text, re.I)


@pytest.mark.parametrize("variant", PRIVATE)
def test_a_private_deployment_has_no_public_door(variant):
    seen = set()
    for each in resources(variant):
        if each.type in NO_PUBLIC:
            assert each.body["properties"]["publicNetworkAccess"] == "Disabled", each.name
            seen.add(each.type)
    assert seen >= NO_PUBLIC - OPTIONAL


@pytest.mark.parametrize("variant", PRIVATE)
def test_what_has_no_public_door_has_a_private_one(variant):
    targets = {
        each.body["properties"]["privateLinkServiceConnections"][0]["properties"][
            "privateLinkServiceId"
        ]
        for each in of_type(resources(variant), "Microsoft.Network/privateEndpoints")
    }
    for each in resources(variant):
        if each.type in NO_PUBLIC:
            shared = {
                "Microsoft.ServiceBus/namespaces",
                "Microsoft.AppConfiguration/configurationStores",
            }
            wanted = f"{each.type}/{each.name}"
            assert any(target.endswith(wanted) for target in targets) or (
                each.type in shared
                and any("serviceBus" in t or "settingsStore" in t for t in targets)
            ), wanted


@pytest.mark.parametrize("variant", PRIVATE)
def test_each_private_endpoint_has_its_name_in_a_zone_of_its_network(variant):
    zones = {
        (each.group, each.name)
        for each in of_type(resources(variant), "Microsoft.Network/privateDnsZones")
    }
    groups = of_type(resources(variant), "Microsoft.Network/privateEndpoints/privateDnsZoneGroups")
    assert groups
    for each in groups:
        for config in each.body["properties"]["privateDnsZoneConfigs"]:
            zone = config["properties"]["privateDnsZoneId"].rpartition("/")[2]
            assert (each.group, zone) in zones, f"{each.name}: {zone}"


def test_only_whom_an_operator_names_comes_in_from_outside():
    for app in of_type(resources("everything"), "Microsoft.Web/sites"):
        config = app.body["properties"]["siteConfig"]
        assert config["ipSecurityRestrictionsDefaultAction"] == "Deny"
        assert [each["ipAddress"] for each in config["ipSecurityRestrictions"]] == [
            "AzureEventGrid"
        ]
        assert config["scmIpSecurityRestrictionsDefaultAction"] == "Deny"
        assert [each["ipAddress"] for each in config["scmIpSecurityRestrictions"]] == [
            "203.0.113.7/32",
            "203.0.113.8/32",
        ]


def test_a_public_app_behind_front_door_takes_no_other_way_in():
    (app,) = of_type(resources("public"), "Microsoft.Web/sites")
    config = app.body["properties"]["siteConfig"]
    assert config["ipSecurityRestrictionsDefaultAction"] == "Deny"
    (rule,) = config["ipSecurityRestrictions"]
    assert rule["ipAddress"] == "AzureFrontDoor.Backend"
    assert list(rule["headers"]) == ["x-azure-fdid"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_older_than_tls_1_2_is_spoken(variant):
    for each in resources(variant):
        properties = each.body.get("properties") or {}
        for name in ("minimumTlsVersion", "minTlsVersion"):
            if name in properties:
                assert properties[name] in ("TLS1_2", "1.2"), each.name
        if each.type == "Microsoft.Web/sites":
            assert properties["httpsOnly"] is True
            assert properties["siteConfig"]["minTlsVersion"] == "1.2"
            premium = "functionAppConfig" not in properties
            assert properties["siteConfig"].get("ftpsState") == ("Disabled" if premium else None)


@pytest.mark.parametrize("variant", ["as it is", "two regions", "everything"])
def test_the_reference_deployment_outlasts_a_zone(variant):
    for each in resources(variant):
        properties = each.body.get("properties") or {}
        match each.type:
            case "Microsoft.Web/serverfarms" | "Microsoft.ServiceBus/namespaces":
                assert properties["zoneRedundant"] is True, each.name
            case "Microsoft.Storage/storageAccounts":
                assert each.body["sku"]["name"].endswith("ZRS"), each.name
            case "Microsoft.ContainerRegistry/registries":
                assert properties["zoneRedundancy"] == "Enabled", each.name
            case "Microsoft.Network/publicIPAddresses" | "Microsoft.Network/azureFirewalls":
                assert each.body["zones"] == ["1", "2", "3"], each.name


def test_two_regions_keep_each_others_data():
    accounts = of_type(resources("two regions"), "Microsoft.Storage/storageAccounts")
    jobs = [each for each in accounts if "data" in each.name or "host" in each.name]
    assert [each.body["sku"]["name"] for each in jobs] == ["Standard_RAGZRS"] * 4
    (namespace,) = of_type(resources("two regions"), "Microsoft.ServiceBus/namespaces")
    replication = namespace.body["properties"]["geoDataReplication"]
    assert [each["roleType"] for each in replication["locations"]] == ["Primary", "Secondary"]
    assert replication["maxReplicationLagDurationInSeconds"] == 0
    origins = of_type(resources("two regions"), "Microsoft.Cdn/profiles/originGroups/origins")
    assert [each.body["properties"]["priority"] for each in origins] == [1, 2]


WATCHED = {
    "Microsoft.ServiceBus/namespaces",
    "Microsoft.KeyVault/vaults",
    "Microsoft.CognitiveServices/accounts",
    "Microsoft.MachineLearningServices/workspaces",
    "Microsoft.AppConfiguration/configurationStores",
    "Microsoft.Web/sites",
    "Microsoft.Cdn/profiles",
    "Microsoft.Network/azureFirewalls",
    "Microsoft.Storage/storageAccounts/blobServices",
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_everything_that_can_tell_tells_the_workspace(variant):
    told = of_type(resources(variant), "Microsoft.Insights/diagnosticSettings")
    watched = [each for each in resources(variant) if each.type in WATCHED]
    assert len(told) == len(watched)
    for each in told:
        assert "workspace" in each.body["properties"]["workspaceId"].lower()


def test_neither_prompts_nor_answers_are_logged():
    text = json.dumps([each.body for each in resources("everything")])
    assert "RequestResponse" not in text
    assert '"traceInputsAndOutputs": true' not in text


def test_prompts_are_no_attacks_to_the_firewall():
    (firewall,) = of_type(
        resources("as it is"), "Microsoft.Network/FrontDoorWebApplicationFirewallPolicies"
    )
    rules = firewall.body["properties"]["managedRules"]["managedRuleSets"][0]
    excluded = {each["matchVariable"] for each in rules["exclusions"]}
    assert excluded == {"RequestBodyJsonArgNames", "RequestBodyPostArgNames"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_two_resources_have_the_same_name(variant):
    names = [
        (each.group, each.type, each.name)
        for each in resources(variant)
        if each.type != "Microsoft.Insights/diagnosticSettings"
    ]
    assert len(names) == len(set(names))


LONGEST = {
    "Microsoft.Storage/storageAccounts": r"[a-z0-9]{3,24}",
    "Microsoft.KeyVault/vaults": r"[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
    "Microsoft.ServiceBus/namespaces": r"[a-zA-Z][a-zA-Z0-9-]{4,48}[a-zA-Z0-9]",
    "Microsoft.ContainerRegistry/registries": r"[a-zA-Z0-9]{5,50}",
    "Microsoft.MachineLearningServices/workspaces": r"[a-zA-Z0-9][\w-]{2,32}",
    "Microsoft.Web/sites": r"[a-zA-Z0-9-]{2,60}",
    "Microsoft.CognitiveServices/accounts": r"[a-zA-Z0-9][\w.-]{1,63}",
    "Microsoft.Network/FrontDoorWebApplicationFirewallPolicies": r"[a-zA-Z][a-zA-Z0-9]{0,127}",
    "Microsoft.AppConfiguration/configurationStores": r"[a-zA-Z0-9-]{5,50}",
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_are_such_as_azure_takes(variant):
    for each in resources(variant):
        if each.type in LONGEST:
            assert re.fullmatch(LONGEST[each.type], each.name), each.name


def test_both_sizes_say_the_same_things():
    sizes = json.loads((INFRA / "sizes.json").read_text())
    smallest, reference = sizes["smallest"], sizes["reference"]
    assert smallest.keys() == reference.keys()
    for name in ("serviceBus", "app", "scheduler", "openAi", "machineLearning"):
        assert smallest[name].keys() == reference[name].keys()


def test_the_smallest_deployment_keeps_nothing_running():
    small = json.loads((INFRA / "sizes.json").read_text())["smallest"]
    assert small["app"]["alwaysReady"] == []
    kinds = {each.type for each in resources("smallest")}
    assert not {"Microsoft.Network/natGateways", "Microsoft.Network/azureFirewalls"} & kinds
    assert not {"Microsoft.Cdn/profiles", "Microsoft.Network/privateEndpoints"} & kinds
    (namespace,) = of_type(resources("smallest"), "Microsoft.ServiceBus/namespaces")
    assert namespace.body["sku"]["name"] == "Standard"
