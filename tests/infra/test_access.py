"""Who may do what: the matrix is a golden file, and some things must never be in it."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from infra_templates import ROOT, UPDATE, Template

from docs.generate import roles

MATRIX = ROOT / "infra" / "access_matrix.json"


def matrix_of(templates: dict[str, Template]) -> dict[str, list[dict[str, str]]]:
    """The default's grants, and what each opt-in adds to them."""
    default = templates["dbt-image"].access
    known = {tuple(row.items()) for row in default}
    matrix = {"default": default}
    for name, template in templates.items():
        if name not in ("dev", "prod") and (
            added := [row for row in template.access if tuple(row.items()) not in known]
        ):
            matrix[name] = added
    return matrix


def test_the_golden_matrix_is_what_the_template_grants(templates: dict[str, Template]) -> None:
    found = matrix_of(templates)
    if os.environ.get(UPDATE):
        MATRIX.write_text(json.dumps(found, indent=2) + "\n")
        roles.PAGE.write_text(roles.page(found))

    assert found == json.loads(MATRIX.read_text()), f"look at the difference, then run again with {UPDATE}=1"


def test_the_page_of_roles_is_made_from_the_matrix() -> None:
    assert roles.PAGE.read_text() == roles.page(json.loads(MATRIX.read_text()))


def rows() -> list[dict[str, str]]:
    matrix: dict[str, list[dict[str, str]]] = json.loads(MATRIX.read_text())
    return [row for part in matrix.values() for row in part]


def test_every_grant_has_a_reason() -> None:
    for row in rows():
        assert len(row["why"]) > 20, row


def test_no_grant_is_on_the_group_or_the_subscription(template: Template) -> None:
    for row in template.access:
        assert row["scope"].count("/") >= 2, row


def test_nobody_gets_a_role_that_gives_roles(template: Template) -> None:
    wide = {"Owner", "Contributor", "User Access Administrator", "Role Based Access Control Administrator"}

    assert not [row for row in template.access if row["role"] in wide]


@pytest.mark.parametrize("principal", ["app", "factory", "dbt"])
def test_programs_read_single_secrets_never_the_vault(principal: str) -> None:
    for row in rows():
        if row["principal"] == principal and "KeyVault" in row["scope"]:
            assert "/secrets/" in row["scope"] or "/keys/" in row["scope"], row


def test_the_factory_can_read_but_not_change_what_is_sealed() -> None:
    found = {row["role"] for row in rows() if row["principal"] == "factory" and row["scope"].endswith("/encrypted")}

    assert found == {"Storage Blob Data Reader"}


@pytest.mark.parametrize("container", ["raw", "encrypted", "batches"])
def test_dbt_sees_no_partner_file(container: str) -> None:
    assert not [row for row in rows() if row["principal"] == "dbt" and row["scope"].endswith(f"/{container}")]


def test_only_the_app_signs_and_only_the_app_reads_certificates() -> None:
    for row in rows():
        if "/keys/sealift-" in row["scope"] and row["role"] != "Key Vault Reader":
            assert row["principal"] == "app"
        if "-certificate" in row["scope"] or row["scope"].endswith("-pgp"):
            assert row["principal"] == "app"


def custom_role(template: Template, start: str) -> dict[str, Any]:
    roles = template.of("Microsoft.Authorization/roleDefinitions")
    [found] = [role for role in roles if role["properties"]["roleName"].startswith(start)]
    return found


@pytest.mark.parametrize("key", ["sealift-signing", "sealift-openpgp", "sealift-smime"])
def test_the_app_may_sign_and_do_nothing_else_with_a_signing_key(templates: dict[str, Template], key: str) -> None:
    role = custom_role(templates["dev"], "Sealift manifest signer")
    permissions: list[dict[str, Any]] = role["properties"]["permissions"]
    granted = {
        (name, row["role"])
        for name in ("dbt-image", "built-in-role")
        for row in templates[name].access
        if row["scope"].endswith(f"/{key}") and row["principal"] == "app"
    }

    assert len(permissions) == 1
    assert permissions[0]["actions"] == []
    assert permissions[0]["dataActions"] == [
        "Microsoft.KeyVault/vaults/keys/read",
        "Microsoft.KeyVault/vaults/keys/sign/action",
    ]
    assert granted == {
        ("dbt-image", "Sealift manifest signer (<token>)"),
        ("built-in-role", "Key Vault Crypto User"),
    }


def test_the_factory_may_start_stop_and_watch_the_container_group_and_nothing_else(
    templates: dict[str, Template],
) -> None:
    role = custom_role(templates["dbt-image"], "Sealift container runner")
    permissions: list[dict[str, Any]] = role["properties"]["permissions"]

    assert permissions[0]["actions"] == [
        "Microsoft.ContainerInstance/containerGroups/read",
        "Microsoft.ContainerInstance/containerGroups/start/action",
        "Microsoft.ContainerInstance/containerGroups/stop/action",
        "Microsoft.ContainerInstance/containerGroups/containers/logs/read",
    ]
    assert permissions[0]["dataActions"] == []
    assert not templates["built-in-role"].of("Microsoft.Authorization/roleDefinitions")


def test_a_deployment_without_a_deployer_grants_people_nothing(templates: dict[str, Template]) -> None:
    assert not [row for row in templates["prod"].access if row["principal"] == "deployer"]


@pytest.mark.parametrize("key", ["sealift-openpgp", "sealift-smime"])
def test_nobody_but_the_app_has_a_grant_on_a_key_that_signs_files(templates: dict[str, Template], key: str) -> None:
    found = [row for row in templates["dev"].access if row["scope"].endswith(f"/{key}")]

    assert [row["principal"] for row in found] == ["app"]


def test_the_next_signing_key_signs_nothing_yet(templates: dict[str, Template]) -> None:
    found = [row for row in templates["next-signing-key"].access if row["scope"].endswith("/sealift-signing-2028")]

    assert [(row["principal"], row["role"]) for row in found] == [("deployer", "Key Vault Reader")]


def test_an_old_signing_key_is_read_by_the_app_and_signs_nothing(templates: dict[str, Template]) -> None:
    template = templates["old-signing-key"]
    found = [row for row in template.access if row["scope"].endswith("/sealift-signing-2024")]

    assert [(row["principal"], row["role"]) for row in found] == [("app", "Key Vault Reader")]
    assert not [key for key in template.of("Microsoft.KeyVault/vaults/keys") if key["name"].endswith("-2024")]
