"""checkov on the evaluated template: an optional extra (`pip install checkov`), with what we accept and why.

It reads ARM, not Bicep: on raw Bicep it follows no variable and no module and would be wrong both ways.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from infra_templates import Template

ACCEPTED = {
    "CKV_AZURE_13": "asked of the app settings resource, which has no authentication of its own; entraClientId is the opt-in",
    "CKV_AZURE_17": "client certificates: the caller is Data Factory, which brings a key or a token, not a certificate",
    "CKV_AZURE_35": "storage is closed by identity; network=private and network=perimeter also close it by network",
    "CKV_AZURE_36": "trusted services are all customers'; in private mode the factory is named by its resource id instead",
    "CKV_AZURE_40": "the signing key has no end: a key that ends by itself stops deliveries; the runbook rotates it",
    "CKV_AZURE_41": "the secrets here are placeholders that are switched off; the runbook sets the end of the real ones",
    "CKV_AZURE_59": "as CKV_AZURE_35: the switch is on, the firewall in private mode denies",
    "CKV_AZURE_63": "HTTP logging to a file system that Flex Consumption does not have; requests are in Application Insights",
    "CKV_AZURE_65": "detailed error pages to that file system: would show a caller more than he needs",
    "CKV_AZURE_66": "failed request tracing to that file system, as above",
    "CKV_AZURE_80": ".NET: there is none",
    "CKV_AZURE_88": "Azure Files: Flex Consumption runs from a package in a container",
    "CKV_AZURE_103": "the factory has no Git binding: ./sealift deploy brings adf/, so that a review comes before every change",
    "CKV_AZURE_104": "the factory's public endpoint is Azure's authoring API; data does not pass it",
    "CKV_AZURE_109": "the vault's firewall is on in private mode; the default is closed by identity",
    "CKV_AZURE_112": "HSM: vaultSku=premium is the opt-in",
    "CKV_AZURE_139": "a registry without public access needs Premium (50 a month) and agents of its own for az acr build",
    "CKV_AZURE_163": "scanning of images is Defender's, a subscription's choice",
    "CKV_AZURE_166": "quarantine needs Premium",
    "CKV_AZURE_189": "as CKV_AZURE_109",
    "CKV_AZURE_206": "replication: what is here can be made again from the warehouse; storageRedundancy is the opt-in",
    "CKV_AZURE_212": "several instances: each message is one restartable file; waiting instances would be billed",
    "CKV_AZURE_213": "health check of App Service: not a thing of Flex Consumption, which replaces instances itself",
    "CKV_AZURE_222": "Data Factory's runtime reaches the app by its public address; private mode allows only its service tag",
    "CKV_AZURE_225": "zone redundancy of the plan: a batch job that reruns does not need it",
}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("checkov"), reason="checkov is not installed (an optional extra)")
@pytest.mark.parametrize("name", ["dbt-image", "private", "customer-managed-key", "entra"])
def test_checkov_finds_only_what_is_accepted(templates: dict[str, Template], tmp_path: Path, name: str) -> None:
    body = {"contentVersion": "1.0.0.0", "resources": templates[name].resources}
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    (tmp_path / "template.json").write_text(json.dumps({"$schema": schema, **body}))
    command = ["checkov", "--framework", "arm", "--skip-download", "--quiet", "--compact", "--output", "json"]

    done = subprocess.run([*command, "--file", str(tmp_path / "template.json")], capture_output=True, text=True)

    found = json.loads(done.stdout)
    failed = {
        (check["check_id"], check["check_name"], check["resource"]) for check in found["results"]["failed_checks"]
    }
    assert found["summary"]["passed"] > 20
    assert not {item for item in failed if item[0] not in ACCEPTED}


def test_every_acceptance_has_a_reason() -> None:
    for check, reason in ACCEPTED.items():
        assert len(reason) > 15, check
