"""Policies on the evaluated template: what must be true of every stage and every opt-in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from infra_templates import (
    GOLDEN,
    ROOT,
    SETS,
    UPDATE,
    Bodies,
    Template,
    golden,
    golden_is_of_these_files,
    write_golden,
)

STORAGE = "Microsoft.Storage/storageAccounts"
SITE = "Microsoft.Web/sites"
DIAGNOSTICS = "Microsoft.Insights/diagnosticSettings"
# These carry no tags: they belong to what carries them.
UNTAGGED = {
    "Microsoft.Authorization/locks",
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Authorization/roleDefinitions",
    "Microsoft.Consumption/budgets",
    DIAGNOSTICS,
}
NAME_LIMITS = {
    STORAGE: (r"[a-z0-9]{3,24}", None),
    "Microsoft.KeyVault/vaults": (r"[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]", None),
    "Microsoft.ContainerRegistry/registries": (r"[a-zA-Z0-9]{5,50}", None),
    "Microsoft.DataFactory/factories": (r"[A-Za-z0-9][A-Za-z0-9-]{1,61}[A-Za-z0-9]", None),
    SITE: (r"[a-zA-Z0-9][a-zA-Z0-9-]{0,58}[a-zA-Z0-9]", None),
    "Microsoft.Resources/resourceGroups": (r"[\w().-]{1,89}[\w()-]", None),
    "Microsoft.ContainerInstance/containerGroups": (r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", None),
    "Microsoft.DBforPostgreSQL/flexibleServers": (r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", None),
    "Microsoft.OperationalInsights/workspaces": (r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]", None),
    "Microsoft.Consumption/budgets": (r"[\w-]{1,63}", None),
}


def test_the_checker_finds_nothing(evaluated: tuple[Bodies, str]) -> None:
    assert evaluated[1] == ""


def test_the_golden_templates_are_what_the_checker_makes(evaluated: tuple[Bodies, str]) -> None:
    bodies, _ = evaluated
    if os.environ.get(UPDATE):
        write_golden(bodies)

    stale = sorted(name for name, body in bodies.items() if golden().get(name) != body)

    assert golden_is_of_these_files(), f"run this test again with {UPDATE}=1 and look at the difference"
    assert not stale, f"run this test again with {UPDATE}=1 and look at the difference"


def test_every_parameter_set_has_a_golden_template() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {*SETS, "inputs"}


@pytest.mark.skipif(not shutil.which("bicep"), reason="bicep is not installed")
@pytest.mark.parametrize("command", [["build", "--stdout"], ["lint"]])
def test_the_compiler_finds_no_error(command: list[str]) -> None:
    done = subprocess.run(["bicep", *command, str(ROOT / "infra" / "main.bicep")], capture_output=True, text=True)

    assert "Error" not in done.stderr
    assert done.returncode == 0


@pytest.mark.skipif(not shutil.which("bicep"), reason="bicep is not installed")
def test_the_golden_template_has_the_resources_that_bicep_s_own_engine_predicts(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    shutil.copytree(ROOT / "adf", tmp_path / "adf")
    given = json.loads((ROOT / "infra" / "main.parameters.dev.json").read_text())["parameters"]
    lines = [f"param {name} = {_literal(entry['value'])}" for name, entry in given.items()]
    file = tmp_path / "infra" / "dev.bicepparam"
    file.write_text("\n".join(["using 'main.bicep'", *lines]) + "\n")
    zeros = "00000000-0000-0000-0000-000000000000"

    done = subprocess.run(
        ["bicep", "snapshot", str(file), "--mode", "overwrite", "--subscription-id", zeros, "--location", "westeurope"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    predicted = json.loads(file.with_suffix(".snapshot.json").read_text())["predictedResources"]
    found = {(each["type"].lower(), each["name"]) for each in predicted}
    assert found == {(each["type"].lower(), each["name"]) for each in golden()["dev"]["resources"]}


def _literal(value: Any) -> str:
    """Return a value as Bicep writes it."""
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


def test_no_account_takes_keys_or_shows_blobs(template: Template) -> None:
    for account in template.of(STORAGE):
        properties = account["properties"]
        assert properties["allowSharedKeyAccess"] is False
        assert properties["allowBlobPublicAccess"] is False
        assert properties["isLocalUserEnabled"] is False
        assert properties["allowCrossTenantReplication"] is False
        assert properties["minimumTlsVersion"] == "TLS1_2"
        assert properties["supportsHttpsTrafficOnly"] is True
        assert properties["sasPolicy"]["expirationAction"] == "Block"
    for container in template.of(f"{STORAGE}/blobServices/containers"):
        assert container["properties"]["publicAccess"] == "None"


def test_plaintext_leaves_no_copy_behind(template: Template) -> None:
    blobs = template.named(f"{STORAGE}/blobServices", "straw")["properties"]
    [rule] = template.named(f"{STORAGE}/managementPolicies", "straw")["properties"]["policy"]["rules"]

    assert blobs["isVersioningEnabled"] is False
    assert blobs["deleteRetentionPolicy"] == {"enabled": False}
    assert blobs["containerDeleteRetentionPolicy"] == {"enabled": False}
    assert rule["definition"]["actions"]["baseBlob"]["delete"] == {"daysAfterModificationGreaterThan": 1}
    assert "prefixMatch" not in rule["definition"]["filters"]


def test_sealed_files_can_be_restored(template: Template) -> None:
    blobs = template.named(f"{STORAGE}/blobServices", "stenc")["properties"]

    assert blobs["isVersioningEnabled"] is True
    assert blobs["deleteRetentionPolicy"]["days"] >= 7


def test_plaintext_and_sealed_files_never_share_an_account(template: Template) -> None:
    containers = {
        name.split("/")[-1]: name.split("/")[0] for name in names(template, f"{STORAGE}/blobServices/containers")
    }

    assert set(containers) == {"raw", "encrypted", "batches", "dbt", "app-package"}
    assert containers["encrypted"] == containers["batches"] != containers["raw"]
    assert containers["dbt"] not in (containers["raw"], containers["encrypted"])


def names(template: Template, kind: str) -> list[str]:
    return [resource["name"] for resource in template.of(kind)]


def test_the_vault_is_guarded_by_roles_and_cannot_be_purged(template: Template) -> None:
    [vault] = template.of("Microsoft.KeyVault/vaults")

    assert vault["apiVersion"] == "2026-02-01"
    assert vault["properties"]["enableRbacAuthorization"] is True
    assert vault["properties"]["enablePurgeProtection"] is True
    assert vault["properties"]["softDeleteRetentionInDays"] == 90
    assert not vault["properties"].get("accessPolicies")


def test_a_placeholder_secret_is_off_and_says_so(template: Template) -> None:
    secrets = template.of("Microsoft.KeyVault/vaults/secrets")

    assert secrets
    for secret in secrets:
        assert secret["properties"]["attributes"] == {"enabled": False}
        assert secret["properties"]["value"] == "not set yet"


def test_placeholders_are_written_once_only() -> None:
    text = (ROOT / "infra" / "modules" / "vault.bicep").read_text()

    assert re.search(r"@onlyIfNotExists\(\)\s+resource placeholders ", text)


@pytest.mark.parametrize("name", ["sealift-signing", "sealift-openpgp", "sealift-smime"])
def test_a_signing_key_can_only_sign(template: Template, name: str) -> None:
    [key] = [key for key in template.of("Microsoft.KeyVault/vaults/keys") if key["name"].endswith(f"/{name}")]

    assert key["properties"]["keySize"] == 3072
    assert key["properties"]["keyOps"] == ["sign", "verify"]
    assert key["properties"]["attributes"]["exportable"] is False
    assert "rotationPolicy" not in key["properties"]


def test_no_output_and_no_setting_holds_a_secret(template: Template) -> None:
    for name, output in template.outputs.items():
        text = f"{name} {json.dumps(output)}".lower()
        assert not re.search(r"password|secret|connectionstring|listkeys|sharedkey|instrumentationkey", text), name
    assert "listKeys(" not in json.dumps(template.resources)
    assert "AccountKey=" not in json.dumps(template.resources)


def test_every_data_resource_has_diagnostics(template: Template) -> None:
    watched = {setting["scope"].split("/providers/", 1)[1].lower() for setting in template.of(DIAGNOSTICS)}

    for account in names(template, STORAGE):
        assert f"microsoft.storage/storageaccounts/{account}/blobservices/default".lower() in watched
    for service in names(template, f"{STORAGE}/queueServices"):
        assert f"microsoft.storage/storageaccounts/{service.split('/')[0]}/queueservices/default" in watched
    for kind in (
        "Microsoft.KeyVault/vaults",
        "Microsoft.DataFactory/factories",
        "Microsoft.ContainerRegistry/registries",
        "Microsoft.DBforPostgreSQL/flexibleServers",
    ):
        for name in names(template, kind):
            assert f"{kind}/{name}".lower() in watched
    for setting in template.of(DIAGNOSTICS):
        assert setting["properties"]["workspaceId"]
        assert any(log["enabled"] for log in setting["properties"]["logs"])


def test_every_read_of_plaintext_is_logged(template: Template) -> None:
    [setting] = [item for item in template.of(DIAGNOSTICS) if "/straw" in item["scope"]]

    assert {log["category"] for log in setting["properties"]["logs"]} == {
        "StorageRead",
        "StorageWrite",
        "StorageDelete",
    }


def test_every_alert_has_an_action_and_somebody_gets_it(template: Template) -> None:
    [group] = template.of("Microsoft.Insights/actionGroups")
    alerts = template.of("Microsoft.Insights/metricAlerts") + template.of("Microsoft.Insights/scheduledQueryRules")

    assert group["properties"]["emailReceivers"][0]["emailAddress"]
    assert {alert["name"].rsplit("-", 1)[0] for alert in alerts} == {
        "failed-pipeline",
        "no-delivery",
        "poison",
        "certificate",
    }
    for alert in alerts:
        assert group["name"] in json.dumps(alert["properties"]["actions"])
        assert alert["properties"]["enabled"] is True
    [expiry] = template.of("Microsoft.EventGrid/systemTopics/eventSubscriptions")
    assert group["name"] in json.dumps(expiry["properties"]["destination"])
    [budget] = template.of("Microsoft.Consumption/budgets")
    for notification in budget["properties"]["notifications"].values():
        assert notification["contactEmails"]


def test_the_runbook_has_what_the_alerts_point_to(templates: dict[str, Template]) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    text = json.dumps(templates["dev"].resources)

    pointers = re.findall(r'docs/runbook\.md: \\"([^\\]+)\\"', text)
    assert len(pointers) >= 4
    for heading in pointers:
        assert re.search(rf"^## {re.escape(heading)}$", runbook, re.MULTILINE), heading


def test_tags_are_everywhere(template: Template) -> None:
    for resource in template.resources:
        depth = resource["type"].count("/")
        if resource["type"] in UNTAGGED or (depth > 1 and not resource["type"].endswith("virtualNetworkLinks")):
            continue
        assert resource.get("tags", {}).get("application") == "sealift", resource["name"]


def test_names_fit_even_for_the_longest_environment_name(template: Template) -> None:
    for kind, (pattern, _) in NAME_LIMITS.items():
        for name in names(template, kind):
            assert re.fullmatch(pattern, name), f"{kind} {name}"


def test_the_app_is_https_and_identity_only(template: Template) -> None:
    [site] = template.of(SITE)
    properties = site["properties"]

    assert site["identity"]["type"] == "UserAssigned"
    assert properties["httpsOnly"] is True
    assert properties["siteConfig"]["minTlsVersion"] == properties["siteConfig"]["scmMinTlsVersion"] == "1.2"
    refused = {"ftpsState", "linuxFxVersion", "alwaysOn"}  # by Flex Consumption, region by region
    assert not refused & set(properties["siteConfig"])
    assert not {"endToEndEncryptionEnabled", "sshEnabled"} & set(properties)
    assert properties["functionAppConfig"]["runtime"] == {"name": "python", "version": "3.13"}
    assert properties["functionAppConfig"]["deployment"]["storage"]["authentication"]["type"] == "UserAssignedIdentity"
    policies = template.of(f"{SITE}/basicPublishingCredentialsPolicies")
    assert {policy["name"].split("/")[1]: policy["properties"]["allow"] for policy in policies} == {
        "ftp": False,
        "scm": False,
    }
    [plan] = template.of("Microsoft.Web/serverfarms")
    assert plan["sku"] == {"name": "FC1", "tier": "FlexConsumption"}


def test_a_group_may_administer_the_warehouse_that_ci_deploys(templates: dict[str, Template]) -> None:
    kind = "Microsoft.DBforPostgreSQL/flexibleServers/administrators"
    [administrator] = templates["customer-managed-key"].of(kind)

    assert administrator["name"].endswith("/66666666-6666-6666-6666-666666666666")
    assert administrator["properties"]["principalType"] == "Group"
    assert administrator["properties"]["principalName"] == "Warehouse administrators"


def test_the_registry_has_no_password(template: Template) -> None:
    [registry] = template.of("Microsoft.ContainerRegistry/registries")

    assert registry["properties"]["adminUserEnabled"] is False
    assert registry["properties"]["anonymousPullEnabled"] is False


def test_application_insights_takes_no_keys(template: Template) -> None:
    [insights] = template.of("Microsoft.Insights/components")

    assert insights["properties"]["DisableLocalAuth"] is True


def test_there_is_no_container_group_without_an_image(templates: dict[str, Template]) -> None:
    kind = "Microsoft.ContainerInstance/containerGroups"

    assert not templates["dev"].of(kind)
    [group] = templates["dbt-image"].of(kind)
    [container] = group["properties"]["containers"]
    [registry] = group["properties"]["imageRegistryCredentials"]
    variables = {item["name"]: item for item in container["properties"]["environmentVariables"]}
    assert group["properties"]["restartPolicy"] == "Never"
    assert set(registry) == {"server", "identity"}
    assert variables["WAREHOUSE_LOGIN"]["value"] == "entra"
    assert "secretReferences" not in group["properties"]
    assert all(set(variable) == {"name", "value"} for variable in variables.values())
    assert "diagnostics" not in group["properties"]


def test_the_factory_keeps_its_global_parameters_with_the_stage_s_addresses(templates: dict[str, Template]) -> None:
    [factory] = templates["dbt-image"].of("Microsoft.DataFactory/factories")
    [group] = templates["dbt-image"].of("Microsoft.ContainerInstance/containerGroups")
    declared = json.loads((ROOT / "adf" / "factory" / "sealift.json").read_text())["properties"]["globalParameters"]
    found = factory["properties"]["globalParameters"]

    assert set(found) == set(declared)
    assert found["containerGroupId"]["value"].endswith(f"/rg-sealift-optin/providers/{group['type']}/{group['name']}")
    assert found["containerName"]["value"] == group["properties"]["containers"][0]["name"]
    assert "sealifthost" not in found["dbtStorageUrl"]["value"]


# -- opt-ins --------------------------------------------------------------------------------------------------------


def test_nothing_is_public_in_private_mode_but_what_must_be(templates: dict[str, Template]) -> None:
    private = templates["private"]
    [site] = private.of(SITE)
    [vault] = private.of("Microsoft.KeyVault/vaults")
    [factory] = private.of("Microsoft.DataFactory/factories")
    ranges = ["203.0.113.0/24", "198.51.100.7/32", "192.0.2.4/31"]

    for account in private.of(STORAGE):
        rules = account["properties"]["networkAcls"]
        assert rules["defaultAction"] == "Deny"
        assert rules["bypass"] == "None"
        assert [rule["resourceId"].split("/")[-1] for rule in rules["resourceAccessRules"]] == [factory["name"]]
        # Azure refuses /31 and /32 here, and nowhere else.
        assert [rule["value"] for rule in rules["ipRules"]] == [
            "203.0.113.0/24",
            "198.51.100.7",
            "192.0.2.4",
            "192.0.2.5",
        ]
    assert [rule["value"] for rule in vault["properties"]["networkAcls"]["ipRules"]] == ranges
    restrictions = site["properties"]["siteConfig"]["ipSecurityRestrictions"]
    assert [rule["ipAddress"] for rule in restrictions] == ["DataFactory", *ranges]
    assert vault["properties"]["networkAcls"]["defaultAction"] == "Deny"
    assert site["properties"]["siteConfig"]["ipSecurityRestrictionsDefaultAction"] == "Deny"
    assert site["properties"]["siteConfig"]["scmIpSecurityRestrictionsDefaultAction"] == "Deny"
    assert site["properties"]["outboundVnetRouting"] == {"allTraffic": True}
    endpoints = private.of("Microsoft.Network/privateEndpoints")
    parts = sorted(
        item["properties"]["privateLinkServiceConnections"][0]["properties"]["groupIds"][0] for item in endpoints
    )
    assert parts == ["blob", "blob", "blob", "queue", "vault"]
    assert len(private.of("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")) == 5


def test_a_perimeter_holds_all_storage_and_the_vault(templates: dict[str, Template]) -> None:
    perimeter = templates["perimeter"]
    guarded = perimeter.of(STORAGE) + perimeter.of("Microsoft.KeyVault/vaults")
    members = perimeter.of("Microsoft.Network/networkSecurityPerimeters/resourceAssociations")

    assert {item["properties"]["publicNetworkAccess"] for item in guarded} == {"SecuredByPerimeter"}
    assert len(members) == len(guarded) == 4
    assert {member["properties"]["accessMode"] for member in members} == {"Enforced"}


def test_a_static_address_carries_the_app_and_dbt(templates: dict[str, Template]) -> None:
    egress = templates["static-egress-ip"]
    [site] = egress.of(SITE)
    [vnet] = egress.of("Microsoft.Network/virtualNetworks")
    [group] = egress.of("Microsoft.ContainerInstance/containerGroups")
    [address] = egress.of("Microsoft.Network/publicIPAddresses")

    assert site["properties"]["virtualNetworkSubnetId"].endswith("/subnets/app")
    assert group["properties"]["subnetIds"][0]["id"].endswith("/subnets/dbt")
    assert address["properties"]["publicIPAllocationMethod"] == "Static"
    for subnet in vnet["properties"]["subnets"]:
        assert subnet["properties"]["defaultOutboundAccess"] is False
        assert subnet["properties"]["natGateway"]["id"]
    assert egress.outputs["SEALIFT_EGRESS_IP"]["value"]


def test_immutability_starts_unlocked_and_spares_the_records(templates: dict[str, Template]) -> None:
    immutable = templates["immutable"]
    [policy] = immutable.of(f"{STORAGE}/blobServices/containers/immutabilityPolicies")
    containers = {
        item["name"].split("/")[-1]: item["properties"].get("immutableStorageWithVersioning")
        for item in immutable.of(f"{STORAGE}/blobServices/containers")
    }

    assert policy["name"].split("/")[2] == "encrypted"
    assert policy["properties"]["immutabilityPeriodSinceCreationInDays"] == 30
    assert "state" not in policy["properties"]
    assert containers.pop("encrypted") == {"enabled": True}
    assert not any(containers.values())


def test_a_customer_managed_key_covers_every_account(templates: dict[str, Template]) -> None:
    accounts = templates["customer-managed-key"].of(STORAGE)

    assert {account["properties"]["encryption"]["keySource"] for account in accounts} == {"Microsoft.Keyvault"}
    assert {account["identity"]["type"] for account in accounts} == {"UserAssigned"}


def test_with_entra_only_the_tokens_of_the_factory_the_deployer_and_the_operators_are_taken(
    templates: dict[str, Template],
) -> None:
    [settings] = [item for item in templates["entra"].of(f"{SITE}/config") if item["name"].endswith("/authsettingsV2")]
    properties = settings["properties"]
    provider = properties["identityProviders"]["azureActiveDirectory"]

    assert properties["globalValidation"]["unauthenticatedClientAction"] == "Return401"
    assert properties["globalValidation"]["excludedPaths"] == ["/api/health"]
    assert provider["validation"]["defaultAuthorizationPolicy"]["allowedPrincipals"]["identities"] == [
        "[factory/factory.identity.principalId]",
        "33333333-3333-3333-3333-333333333333",
        "55555555-5555-5555-5555-555555555555",
    ]


def test_prod_cannot_be_deleted_by_mistake(templates: dict[str, Template]) -> None:
    locked = {lock["scope"].split("/")[-1][:5] for lock in templates["prod"].of("Microsoft.Authorization/locks")}

    assert locked == {"stenc", "kv-" + templates["prod"].named("Microsoft.KeyVault/vaults", "kv-")["name"][3:5]}


def test_each_type_has_one_api_version(templates: dict[str, Template]) -> None:
    versions: dict[str, set[str]] = {}
    for template in templates.values():
        for resource in template.resources:
            versions.setdefault(resource["type"], set()).add(resource["apiVersion"])

    assert not {kind: found for kind, found in versions.items() if len(found) > 1}


def test_azd_can_set_every_parameter() -> None:
    declared = set(re.findall(r"^param (\w+)", (ROOT / "infra" / "main.bicep").read_text(), re.MULTILINE))
    document: dict[str, Any] = json.loads((ROOT / "infra" / "main.parameters.json").read_text())

    # A password that nobody knows: the template makes it itself. The partners' secrets come from partners/.
    assert declared - set(document["parameters"]) == {"warehouseAdministratorPassword", "partnerSecrets"}
