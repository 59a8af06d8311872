"""The grants on secrets are derived from the partners' files: nobody types a name twice, and nothing can be forgotten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from infra_fakes import FakeFactory
from infra_templates import ROOT, Template

from infra import partner_secrets
from infra.deploy import main
from infra.hooks import commands, secrets, stage
from infra.hooks.commands import HookFailed
from infra.partner_secrets import SecretsUnclear, check, derive, write

NORTHWIND: dict[str, Any] = yaml.safe_load((ROOT / "partners" / "northwind.yaml").read_text())
CEDARWAY: dict[str, Any] = yaml.safe_load((ROOT / "partners" / "cedarway.yaml").read_text())
Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """folder(partner, ...) writes partner files into a folder of their own."""

    def make(*partners: dict[str, Any]) -> Path:
        for partner in partners:
            (tmp_path / f"{partner['name']}.yaml").write_text(yaml.safe_dump(partner, sort_keys=False))
        return tmp_path

    return make


def found(folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {secret.name: (secret.kind, secret.readers) for secret in derive(folder)}


def test_the_file_that_the_template_reads_is_what_the_partners_say_now() -> None:
    assert check()


@pytest.mark.parametrize("stage_name", ["dev", "prod"])
def test_each_stage_grants_every_reader_of_every_secret_and_nobody_else(
    templates: dict[str, Template], stage_name: str
) -> None:
    template = templates[stage_name]
    made = {item["name"].split("/")[-1] for item in template.of("Microsoft.KeyVault/vaults/secrets")}
    granted = {
        (row["principal"], row["scope"].split("/")[-1])
        for row in template.access
        if "/secrets/" in row["scope"] and row["role"] == "Key Vault Secrets User"
    }
    ours = {("app", "alert-webhook"), ("factory", "function-key"), ("factory", "warehouse-password")}
    # A server of our own making knows dbt's identity; prod brings its own.
    ours |= {("dbt", "dbt-password")} if stage_name == "prod" else set()

    assert granted == ours | {(reader, secret.name) for secret in derive() for reader in secret.readers}
    assert made == {name for _, name in granted}


def test_a_secret_has_the_name_and_the_kind_that_its_file_gives_it(folder: Folder) -> None:
    partner = {
        **CEDARWAY,
        "certificate": "cw-pgp-2027",
        "escrow_certificate": "our-escrow",
        "sftp": {**CEDARWAY["sftp"], "password": "cw-login", "private_key": "cw-key"},
    }

    assert found(folder(partner)) == {
        "cw-key": ("sftp-key", ("app",)),
        "cw-login": ("sftp-password", ("app",)),
        "cw-pgp-2027": ("certificate", ("app",)),
        "our-escrow": ("escrow", ("app",)),
    }


def test_a_key_is_read_by_those_who_sign_in_with_it(folder: Folder) -> None:
    answers = [{"kind": "file", "folder": "/out", "pattern": "{name}.ok", "says": "accepted"}]
    answered = {**NORTHWIND["feeds"]["accruals"], "answers": answers}

    secrets = found(folder(NORTHWIND, CEDARWAY))

    assert secrets["northwind-sftp-key"] == ("sftp-key", ("factory",))
    assert secrets["cedarway-sftp-key"] == ("sftp-key", ("app",))
    secrets = found(folder({**NORTHWIND, "feeds": {"accruals": answered}}))
    assert secrets["northwind-sftp-key"] == ("sftp-key", ("app", "factory"))


def test_a_secret_that_partners_share_is_made_once(folder: Folder) -> None:
    shared = [{**partner, "escrow_certificate": "escrow"} for partner in (NORTHWIND, CEDARWAY)]

    [escrow] = [secret for secret in derive(folder(*shared)) if secret.name == "escrow"]

    assert escrow.partners == ("cedarway", "northwind")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"certificate": "function-key"}, "names the secret 'function-key', which is Sealift's own"),
        ({"certificate": "cedarway-sftp-key"}, "is both certificate of cedarway and SFTP key of cedarway"),
        (
            {"certificate": "c", "escrow_certificate": "C"},
            r"'c' \(certificate of cedarway\) and 'C' .* differ in case only",
        ),
    ],
)
def test_names_that_no_grant_can_follow_are_refused(folder: Folder, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SecretsUnclear, match=message) as caught:
        derive(folder({**CEDARWAY, **change}))

    assert caught.value.hint


def test_a_new_partner_is_missed_until_the_command_was_run(folder: Folder, tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    write(folder(NORTHWIND), file)
    assert write(folder(NORTHWIND), file) is False

    with pytest.raises(SecretsUnclear, match="it lacks 'cedarway-certificate'") as caught:
        check(folder(CEDARWAY), file)

    assert caught.value.hint.startswith("run ./sealift deploy secrets")
    assert write(tmp_path, file) is True
    assert len(check(tmp_path, file)) == 4


def test_a_partner_that_was_taken_out_and_a_changed_route_are_seen(folder: Folder, tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    write(folder(NORTHWIND, CEDARWAY), file)

    (tmp_path / "cedarway.yaml").unlink()
    with pytest.raises(SecretsUnclear, match="it has 'cedarway-certificate', which no partner names"):
        check(tmp_path, file)

    write(tmp_path, file)
    by_function = {**NORTHWIND["feeds"]["accruals"], "route": "function"}
    folder({**NORTHWIND, "feeds": {"accruals": by_function}})
    with pytest.raises(SecretsUnclear, match="readers or partners differ"):
        check(tmp_path, file)


def test_provisioning_stops_while_the_derived_file_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "partner_secrets.json"
    old.write_text("[]\n")
    monkeypatch.setattr(partner_secrets.check, "__defaults__", (partner_secrets.PARTNERS, old))

    assert commands.finish(secrets.main) == 1

    assert "it lacks 'cedarway-certificate'" in capsys.readouterr().err


def test_deploy_plan_shows_who_reads_which_secret(
    write: Callable[..., Path],
    stage_file: Callable[..., Path],
    arm: FakeFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["plan", "--stage", "test", "--adf", str(write()), "--stages", str(stage_file())]

    main(arguments)
    text = capsys.readouterr().out
    main([*arguments, "--json"])

    assert "northwind-sftp-key     factory reads the SFTP key of northwind" in text
    assert "cedarway-sftp-key      app reads the SFTP key of cedarway" in text
    assert json.loads(capsys.readouterr().out)["secrets"][0]["name"] == "cedarway-certificate"


def test_the_command_lists_what_it_wrote_and_check_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = partner_secrets.FILE.read_text()

    assert main(["secrets", "--check"]) == 0

    assert partner_secrets.FILE.read_text() == before
    assert len(capsys.readouterr().out.splitlines()) == len(json.loads(before))


@pytest.fixture
def infra(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "infra" / "main.parameters.json", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"partners": {"value": ["northwind"]}}, "'partners' is typed here"),
        ({"partnerSecrets": {"value": []}}, "'partnerSecrets' is typed here"),
        ({"partnerSftp": {"value": {"northwnd": {"host": "x"}}}}, r"no partners/northwnd\.yaml"),
    ],
)
def test_a_stage_file_that_names_a_partner_by_itself_is_refused(
    infra: Path, parameters: dict[str, Any], message: str
) -> None:
    (infra / "main.parameters.test.json").write_text(json.dumps({"parameters": parameters}))

    with pytest.raises(HookFailed, match=message):
        stage.variables("test", infra)
