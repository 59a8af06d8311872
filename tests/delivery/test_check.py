"""The step-by-step report says what works, in order, and leaves nothing at the partner."""

from __future__ import annotations

from pathlib import Path

import pytest
from delivery_servers import AsyncSsh, OpenSsh, free_port, make_key, policy_for

from delivery import BytesSource, ConnectionSettings, Policy, TemporaryName
from delivery.check import Finding, check_server

Server = OpenSsh | AsyncSsh


def report(settings: ConnectionSettings, policy: Policy, send: BytesSource | None = None) -> dict[str, Finding]:
    return {finding.step: finding for finding in check_server(settings, policy, send=send)}


def marks(findings: dict[str, Finding]) -> dict[str, str]:
    return {step: finding.mark for step, finding in findings.items() if finding.mark != "ok"}


def test_a_server_that_works_passes_every_step_and_keeps_nothing(server: Server, policy: Policy) -> None:
    findings = report(server.settings(), policy)

    assert list(findings) == [
        "pin", "our key", "name", "port", "host key", "login", "sftp",
        "folder", "space", "write", "read", "rename", "overwrite", "delete",
    ]  # fmt: skip
    assert marks(findings) == {}
    assert list(server.files.iterdir()) == []


def test_a_test_file_is_delivered_under_its_final_name(server: Server, policy: Policy) -> None:
    findings = report(server.settings(), policy, BytesSource("TEST.sealed", b"sealed"))

    assert findings["delivery"].mark == "ok"
    assert [path.name for path in server.files.iterdir()] == ["TEST.sealed"]


def test_an_unknown_host_ends_the_report(policy_pin: str) -> None:
    findings = report(
        ConnectionSettings(host="partner.invalid", user="u", host_keys=(policy_pin,), password="p"), Policy()
    )

    assert list(findings) == ["pin", "name"]
    assert "does not resolve" in findings["name"].text


@pytest.fixture
def policy_pin() -> str:
    return make_key()[1]


def test_a_closed_port_ends_the_report(policy_pin: str) -> None:
    settings = ConnectionSettings(host="127.0.0.1", port=free_port(), user="u", host_keys=(policy_pin,), password="p")

    findings = report(settings, Policy())

    assert list(findings)[-1] == "port"
    assert findings["port"].mark == "failed"


def test_a_changed_host_key_is_shown_but_no_login_is_tried(asyncssh_server: AsyncSsh, policy_pin: str) -> None:
    findings = report(asyncssh_server.settings(host_keys=(policy_pin,)), Policy())

    assert list(findings)[-1] == "host key"
    assert asyncssh_server.host_key.split()[1] in findings["host key"].hint
    assert asyncssh_server.logins == []


def test_a_refused_login_ends_the_report(asyncssh_server: AsyncSsh) -> None:
    findings = report(asyncssh_server.settings(private_key=make_key()[0]), Policy())

    assert list(findings)[-1] == "login"
    assert "refuses the key" in findings["login"].text


def test_a_missing_folder_fails_and_nothing_is_written(server: Server, policy: Policy) -> None:
    findings = report(server.settings(), policy_for(server, folder=policy.folder + "/no"), BytesSource("TEST", b""))

    assert findings["folder"].mark == "failed"
    assert findings["write"].mark == "failed"
    assert findings["delivery"].mark == "skipped"


def test_a_read_only_folder_fails_at_writing(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.read_only = True

    findings = report(asyncssh_server.settings(), policy_for(asyncssh_server))

    assert marks(findings) == {"write": "failed"}
    assert "permission denied" in findings["write"].text


def test_a_server_without_renames_needs_another_rule(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.refuse_rename = True

    findings = report(asyncssh_server.settings(), policy_for(asyncssh_server))
    in_place = report(asyncssh_server.settings(), policy_for(asyncssh_server, temporary=TemporaryName(kind="none")))

    assert marks(findings) == {"rename": "failed", "overwrite": "skipped"}
    assert "`temporary` to none" in findings["rename"].hint
    assert in_place["rename"].mark == "note"
    assert list(asyncssh_server.files.iterdir()) == []


def test_a_server_without_reading_is_noted(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.no_reading = True

    assert marks(report(asyncssh_server.settings(), policy_for(asyncssh_server))) == {"read": "note"}


def test_the_command_prints_each_step_and_exits_1_on_failure(
    asyncssh_server: AsyncSsh, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli.partner import main

    key = tmp_path / "key"
    key.write_text(asyncssh_server.private_key)
    address = f'{{"northwind": {{"user": "partner", "host_keys": ["{asyncssh_server.host_key}"]}}}}'
    monkeypatch.setenv("PARTNER_SFTP", address)
    monkeypatch.setenv("KEY_VAULT_URL", "https://vault.invalid")
    arguments = ["check", "northwind", "--key", str(key), "--host", "127.0.0.1", "--port", str(asyncssh_server.port)]

    code = main(arguments)  # the folder /inbox is not there

    assert code == 1
    assert "x folder     cannot list /inbox: no such file" in capsys.readouterr().out

    (asyncssh_server.files / "inbox").mkdir()
    assert main(arguments) == 0
    assert "deliveries to this server will work" in capsys.readouterr().out


def test_schema_and_lint_print_what_they_know(capsys: pytest.CaptureFixture[str]) -> None:
    from cli.partner import main

    assert main(["schema"]) == 0
    assert '"sftp"' in capsys.readouterr().out
    assert main(["lint"]) == 0
    assert "northwind" in capsys.readouterr().out
