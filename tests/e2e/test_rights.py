"""The night under the deployed rights: what each principal used of the vault and of dbt's container, against the grants.

The vault of the demo refuses what the template does not grant. Storage is not compared: Azurite knows no roles.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import demo_rights
from cli.demo import Result
from local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "infra" / "golden"
WHO = {"function-app": "identities/app", "data-factory": "factory/factory"}
OPERATIONS = {
    "Key Vault Secrets User": {"read"},
    "Key Vault Reader": {"read"},
    "Sealift manifest signer": {"read", "sign"},
}
# What the template grants and this night does not use, with why it is granted.
UNUSED = {
    ("identities/app", "read", "secrets/alert-webhook"): "read when a feed is late, missing or red; none was",
    ("identities/app", "read", "keys/sealift-smime"): "no partner of the demo takes S/MIME files",
    ("identities/app", "sign", "keys/sealift-smime"): "no partner of the demo takes S/MIME files",
}

Use = tuple[str, str, str]


def granted() -> set[Use]:
    """Return principal, operation and resource of every grant on the vault that a program has on the stage dev."""
    found: set[Use] = set()
    for row in json.loads((GOLDEN / "dev.json").read_text())["access"]:
        if "Microsoft.KeyVault" in row["scope"] and row["principal"] in WHO.values():
            resource = "/".join(row["scope"].split("/")[-2:])
            role = row["role"].partition(" (")[0]
            found |= {(row["principal"], operation, resource) for operation in OPERATIONS[role]}
    return found


def used(stack: Stack) -> dict[Use, int]:
    """Return what the programs asked of the vault, with the last status."""
    found: dict[Use, int] = {}
    for request in stack.vault.requests():
        if request["principal"] not in WHO:
            continue
        kind, name, *rest = request["path"].strip("/").split("/")
        operation = "sign" if rest and rest[-1] == "sign" else "read"
        found[WHO[request["principal"]], operation, f"{kind}/{name}"] = request["status"]
    return found


def test_nobody_used_what_is_not_granted(stack: Stack, night: Result) -> None:
    assert night.run.succeeded

    beyond = {use: status for use, status in used(stack).items() if use not in granted()}

    assert beyond == {}
    assert [use for use, status in used(stack).items() if status == 403] == []


@pytest.mark.usefixtures("night")
def test_what_is_granted_and_was_not_used_has_a_reason(stack: Stack) -> None:
    assert granted() - set(used(stack)) == set(UNUSED)


@pytest.mark.usefixtures("night")
def test_the_demo_shows_what_each_program_used(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo_rights.show(stack) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["+", "Data", "Factory", "read", "secret", "northwind-sftp-key"] in [line[:6] for line in lines]
    assert ["+", "function", "app", "sign", "with", "key", "sealift-signing"] in [line[:7] for line in lines]
    assert ["+", "Data", "Factory", "start", "dbt's", "container", "once"] in lines


@pytest.mark.usefixtures("night")
def test_the_factory_does_no_more_with_dbt_s_container_than_its_role_allows(stack: Stack) -> None:
    roles = [
        resource["properties"]["permissions"][0]["actions"]
        for resource in json.loads((GOLDEN / "dbt-image.json").read_text())["resources"]
        if resource["type"] == "Microsoft.Authorization/roleDefinitions"
        and "container runner" in resource["properties"]["roleName"]
    ]
    actions = {
        ("GET", "containerGroups"): "Microsoft.ContainerInstance/containerGroups/read",
        ("POST", "start"): "Microsoft.ContainerInstance/containerGroups/start/action",
        ("POST", "stop"): "Microsoft.ContainerInstance/containerGroups/stop/action",
        ("GET", "logs"): "Microsoft.ContainerInstance/containerGroups/containers/logs/read",
    }
    asked = [json.loads(line) for line in stack.groups.log.read_text().splitlines()]
    mine = [line for line in asked if line["principal"] == "data-factory"]

    assert mine
    for line in mine:
        last = line["path"].rstrip("/").split("/")[-1]
        kind = last if last in ("start", "stop", "logs") else "containerGroups"
        assert actions[line["method"], kind] in roles[0], line
