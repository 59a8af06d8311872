"""`./sealift azure setup | status`, whole: stand-ins for az and azd, a real PostgreSQL, a vault with the real protocol."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from azure.keyvault.secrets import SecretClient
from azure_programs import OUTPUTS, install
from infra_templates import ROOT

from cli import azure
from fault import Fault
from infra import partner_secrets
from infra.setup import checks, making, steps, warehouse
from infra.setup.checks import PROVIDERS
from infra.setup.site import Site
from infra.setup.steps import STEPS, Stopped, look, set_up
from local.key_vault.identity import IdentityEndpoint
from local.key_vault.server import KeyVault
from local.postgres import Postgres
from local.wire.certificates import CertificateAuthority

SFTP_KEYS = {secret.name for secret in partner_secrets.derive() if secret.kind == "sftp-key"}


@dataclass(kw_only=True)
class World:
    """A subscription as setup meets it."""

    state: Path
    infra: Path
    vault: KeyVault
    server: Postgres

    def site(self) -> Site:
        """A new process: nothing is remembered."""
        return Site(stage="dev", infra=self.infra, say=lambda _text: None)

    def change(self, **values: Any) -> None:
        self.state.write_text(json.dumps(json.loads(self.state.read_text()) | values))

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state.read_text())
        return found

    def calls(self) -> list[str]:
        return (self.state.parent / "calls").read_text().splitlines()

    def settings(self, **parameters: Any) -> None:
        """Write the stage's file."""
        values = {"environmentName": "dev", "location": "westeurope", "alertEmail": "me@company.test"} | parameters
        body = {"parameters": {name: {"value": value} for name, value in values.items()}}
        (self.infra / "main.parameters.dev.json").write_text(json.dumps(body))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("warehouse")) as postgres:
        yield postgres


@pytest.fixture
def world(
    tmp_path: Path, ca: CertificateAuthority, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    infra = tmp_path / "infra"
    shutil.copytree(ROOT / "infra", infra, ignore=shutil.ignore_patterns("__pycache__", "deploy", "hooks", "setup"))
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as root:
        root.execute("create role chief login createrole createdb password 'chief'")
        root.execute("drop database warehouse")
        root.execute("create database warehouse owner chief")
    monkeypatch.setattr(
        warehouse, "address", lambda host, database: f"host={host} port={server.port} dbname={database}"
    )
    monkeypatch.setattr(making, "KEY_BITS", 2048)  # half a second instead of some
    monkeypatch.setattr(making, "SecretClient", partial(SecretClient, verify_challenge_resource=False))
    with IdentityEndpoint() as identity, KeyVault(ca, identity, folder=tmp_path) as vault:
        vault.allow("operator", secrets=["*"], write=True)
        for name, value in (ca.environment | identity.environment("operator")).items():
            monkeypatch.setenv(name, value)
        outputs = OUTPUTS | {"SEALIFT_WAREHOUSE_HOST": "127.0.0.1", "SEALIFT_KEY_VAULT_URL": vault.url}
        state = install(tmp_path / "bin", outputs=outputs)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        made = World(state=state, infra=infra, vault=vault, server=server)
        made.settings()
        yield made
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as root:
        root.execute("drop database warehouse")
        root.execute("create database warehouse")
        root.execute("drop role if exists sealift_dbt, sealift_reader")
        root.execute("drop role chief")


def agree(*_: object) -> bool:
    return True


def test_from_an_empty_subscription_everything_is_made_and_nothing_is_started(world: World) -> None:
    made = set_up(world.site(), agree)

    state = world.read()
    assert made == len([step for step in STEPS if step.make]) - 1, "all but the vault that was never deleted"
    assert set(PROVIDERS) <= set(state["registered"])
    assert state["environment"]["SEALIFT_ALERT_EMAIL"] == "me@company.test"
    assert state["environment"]["SEALIFT_PRINCIPAL_NAME"] == "chief"
    assert set(world.vault.store.secret_names()) == {"warehouse-password", *SFTP_KEYS}
    password = world.vault.store.secret("warehouse-password", None).value
    assert warehouse.opens(f"host=127.0.0.1 port={world.server.port} dbname=warehouse", "sealift_reader", password)
    assert not [call for call in world.calls() if "start" in call or "trigger" in call]
    assert all(state.kind == "done" for _, state in look(world.site()))


def test_a_second_run_changes_nothing(world: World) -> None:
    set_up(world.site(), agree)
    before, calls = world.read(), len(world.calls())

    assert set_up(world.site(), agree) == 0

    assert world.read() == before
    changing = ("provision", "deploy", "register", "env set", "env new", "recover", "create", "config set")
    assert not [call for call in world.calls()[calls:] if any(f" {word} " in f"{call} " for word in changing)]


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [step.name for step in STEPS if step.make and step.name != "names"])
def test_a_run_that_was_killed_at_a_step_goes_on_there(world: World, killed_at: str) -> None:
    class Killed(BaseException):
        pass

    site = world.site()

    def die(step: steps.Step, _state: object) -> bool:
        if step.name == killed_at and step.make:
            step.make(site)
            raise Killed
        return True

    with pytest.raises(Killed):
        set_up(site, die)

    set_up(world.site(), agree)

    assert all(state.kind == "done" for _, state in look(world.site()))
    assert sum("azd provision" in call for call in world.calls()) == 1, "what was made is not made again"


def test_killed_between_the_server_and_the_vault_the_password_is_made_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SecretClient, "set_secret", cut)
        with pytest.raises(KeyboardInterrupt):
            set_up(world.site(), agree)
    set_up(world.site(), agree)

    password = world.vault.store.secret("warehouse-password", None).value
    assert warehouse.opens(f"host=127.0.0.1 port={world.server.port} dbname=warehouse", "sealift_reader", password)


def test_no_secret_is_on_a_command_line_or_on_the_screen(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    site = world.site()
    site.say = print
    set_up(site, agree)

    seen = "".join(world.calls()) + "".join(capfd.readouterr())
    for name in world.vault.store.secret_names():
        assert world.vault.store.secret(name, None).value not in seen, name
    assert "ssh-rsa " in seen, "the public half is shown"


def test_each_right_that_is_missing_is_named(world: World) -> None:
    world.settings(deleteLock=True)
    site = world.site()

    assert {"Microsoft.Authorization/roleDefinitions/write", "Microsoft.Authorization/locks/write"} <= set(
        checks.needed_actions(site)
    )
    for action in checks.needed_actions(site):
        world.change(permissions=[{"actions": ["*"], "notActions": [action]}])
        state = checks.rights(site)
        assert (state.kind, state.text) == ("wrong", f"chief may not {action}")
        assert state.action.startswith("ask an owner of the subscription for the role ")


def test_without_the_rights_nothing_is_made(world: World) -> None:
    world.change(permissions=[{"actions": ["*/read"], "notActions": []}])

    with pytest.raises(Stopped, match=r"chief may not Microsoft\.Resources/deployments/write and 12 more"):
        set_up(world.site(), agree)

    assert not [call for call in world.calls() if "azd env new" in call or "register" in call]


def test_what_one_role_excepts_another_may_allow(world: World) -> None:
    contributor = {"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Write"]}
    administrator = {"actions": ["Microsoft.Authorization/*"], "notActions": []}
    world.change(permissions=[contributor, administrator])

    assert checks.rights(world.site()).kind == "done"


@pytest.mark.parametrize(
    ("changes", "message", "action"),
    [
        ({"account": None}, "nobody is signed in", "az login"),
        ({"flex": ["North Europe"]}, "westeurope has no Flex Consumption", "choose another location"),
        ({"groups": []}, "no container instances", "choose another location"),
        ({"skus": [{"restricted": "Enabled"}]}, "no PostgreSQL of size Standard_B1ms", "choose another location"),
        (
            {"fails": {"list-skus": "LocationIsOfferRestricted: restricted from provisioning in location"}},
            "LocationIsOfferRestricted",
            "choose another location",
        ),
        (
            {"usages": [{"name": {"value": "StandardCores"}, "currentValue": 10, "limit": 10}]},
            "10 of 10 cores for containers are in use",
            "ask for more quota",
        ),
        ({"fails": {"azd provision": "ScopeLocked: cannot delete"}}, "ScopeLocked", "delete the lock"),
        (
            {"fails": {"azd provision": "StorageAccountAlreadyTaken"}},
            "StorageAccountAlreadyTaken",
            "another environment name",
        ),
        ({"fails": {"azd deploy": "AADSTS700082: token"}}, "AADSTS700082", "az login"),
        ({"token": "of-nobody"}, "password authentication failed", "az login"),
    ],
)
def test_what_is_wrong_is_shown_in_its_own_words_with_one_action(
    world: World, changes: dict[str, Any], message: str, action: str
) -> None:
    world.change(**changes)

    with pytest.raises(Fault, match=message) as caught:
        set_up(world.site(), agree)

    assert action in caught.value.hint


def test_a_file_with_an_address_that_is_nobody_s_stops_it_before_anything_is_asked(world: World) -> None:
    world.settings(alertEmail="operator@example.com")

    with pytest.raises(Stopped, match=r"operator@example\.com', which is nobody's"):
        set_up(world.site(), agree)

    assert all(" version" in call for call in world.calls())


def test_a_vault_of_an_earlier_stage_is_recovered(world: World) -> None:
    tags = {"azd-env-name": "dev"}
    world.change(deleted=[{"name": "kv-old", "properties": {"location": "westeurope", "tags": tags}}])

    set_up(world.site(), agree)

    recovered = [call for call in world.calls() if "recover" in call]
    assert recovered == ["az keyvault recover --name kv-old --location westeurope --output none"]


def test_a_budget_of_an_earlier_environment_keeps_its_first_day(world: World) -> None:
    world.change(budget={"properties": {"timePeriod": {"startDate": "2026-03-01T00:00:00Z"}}})

    making.make_environment(world.site())

    assert world.read()["environment"]["SEALIFT_BUDGET_START"] == "2026-03-01T00:00:00Z"


def test_a_changed_setting_provisions_again(world: World) -> None:
    set_up(world.site(), agree)
    world.settings(budgetAmount=70)

    found = {step.name: state for step, state in look(world.site())}
    assert found["environment"].text == "differs from the stage's file: SEALIFT_BUDGET_AMOUNT"
    assert "changed since they were made" in found["resources"].text
    assert set_up(world.site(), agree) == 2


def test_a_provision_that_failed_is_not_taken_for_done(world: World) -> None:
    world.change(fails={"azd provision": "something broke"})
    with pytest.raises(Fault, match="azd provision"):
        set_up(world.site(), agree)
    world.change(fails={})

    assert set_up(world.site(), agree) == 4


def test_the_firewall_lets_the_operator_in_only_while_roles_are_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, is_open = warehouse.connect, []

    def connect(dsn: str, user: str, token: str) -> psycopg.Connection:
        if not is_open:
            raise warehouse._refused('FATAL: no pg_hba.conf entry for host "198.51.100.9"', "add your address")
        return real(dsn, user, token)

    def run(command: list[str], **more: Any) -> str:
        if "firewall-rule" in command:
            is_open.append(1) if "create" in command else is_open.clear()
            rules.append(" ".join(command[3:]))
            return ""
        return original(command, **more)

    original, rules = making.tools.run, []
    monkeypatch.setattr(warehouse, "connect", connect)
    monkeypatch.setattr(making.tools, "run", run)
    site = world.site()
    site.address = "198.51.100.9"

    with pytest.raises(Stopped, match="cannot be asked from here"):
        set_up(site, agree)

    assert len(rules) == 2
    assert "--start-ip-address 198.51.100.9 --end-ip-address 198.51.100.9" in rules[0]
    assert "firewall-rule delete" in rules[1]
    assert not is_open


def test_every_provider_of_the_template_is_registered(templates: dict[str, Any]) -> None:
    used = {resource["type"].partition("/")[0] for template in templates.values() for resource in template.resources}

    assert used == set(PROVIDERS)


def run(world: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(azure, "Site", lambda **values: Site(**values, infra=world.infra))
    return azure.main([*arguments, "--stage", "dev"])


def test_status_reads_only_and_ends_with_the_one_next_command(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = world.read()

    code = run(world, monkeypatch, "status")

    assert code == 1
    assert world.read() == before
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "next: ./sealift azure setup --stage dev"
    assert "  - resources: not made yet" in out
    assert not world.vault.requests()


def test_setup_with_yes_shows_each_step_and_says_what_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(world, monkeypatch, "setup", "--yes") == 0
    out = capsys.readouterr().out
    assert "  > resources: not made yet\n    will make or update everything" in out
    assert "  - northwind-certificate: the certificate of northwind" in out
    assert out.splitlines()[-1].startswith("next: ./sealift keys check FILE")

    assert run(world, monkeypatch, "status") == 0
    assert run(world, monkeypatch, "setup", "--yes") == 0
    assert "nothing changed" in capsys.readouterr().out


def test_without_a_terminal_nobody_agrees(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fault, match="there is nobody to ask") as caught:
        run(world, monkeypatch, "setup")

    assert "--yes" in caught.value.hint


def test_a_no_stops_before_the_step(world: World) -> None:
    with pytest.raises(Stopped, match="stopped before: resources"):
        set_up(world.site(), lambda step, _state: step.name != "resources")

    assert not [call for call in world.calls() if "azd provision" in call]


@pytest.mark.parametrize(
    ("token", "address"),
    [
        ("a.eyJpcGFkZHIiOiAiMTk4LjUxLjEwMC43In0.c", "198.51.100.7"),
        ("a.eyJpcGFkZHIiOiAiMjAwMTo6MSJ9.c", ""),
        ("opaque", ""),
    ],
)
def test_the_own_address_is_the_one_that_entra_saw(world: World, token: str, address: str) -> None:
    world.change(token=token)

    assert world.site().own_address() == address
    assert Site(stage="dev", address="203.0.113.7").own_address() == "203.0.113.7"


def test_the_tutorial_shows_what_is_printed(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    page = (repository / "docs" / "first-partner.md").read_text()
    shown = page.split("## 2. Set the stage up")[1].split("```")[1].splitlines()
    lines = [line for line in shown if line.startswith(("  ", "next:"))]

    run(world, monkeypatch, "status")
    run(world, monkeypatch, "setup", "--yes")

    printed = capsys.readouterr().out.splitlines()
    assert len(lines) > 8
    assert [line for line in lines if line not in printed] == []


def test_what_the_administrators_of_sources_run_is_shown_once_there_is_a_factory(repository: Path) -> None:
    examples = repository / "partners" / "examples"
    empty, made = (SimpleNamespace(values=values) for values in ({}, OUTPUTS))

    assert azure.source_statements(empty, examples) == []
    assert azure.source_statements(made, examples)[1:] == [
        "if not exists (select * from sys.database_principals where name = N'adf-x') create user [adf-x] from external provider;",
        "grant select on [sales].[PartnerOrders] to [adf-x];",
    ]
