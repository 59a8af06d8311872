"""`./sealift doctor`: what it finds on this machine and, with stand-ins for az and azd, about a stage."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import doctor

Programs = Callable[..., None]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Put small programs before all others on PATH: what they print for their first argument, and their exit code."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, **answers: str) -> None:
        cases = "\n".join(f"{verb}) cat <<'END'\n{text}\nEND\n;;" for verb, text in answers.items())
        program = folder / name
        program.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}\n*) echo "token hunter2" >&2; exit 1 ;;\nesac\n')
        program.chmod(0o755)

    return make


def checks(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, tuple[str, str]], str]:
    code = doctor.main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    return code, {check["name"]: (check["state"], check["found"]) for check in found["checks"]}, found["next"]


def test_a_machine_that_is_ready_is_told_to_run_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    code = doctor.main([])

    assert code == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: ./sealift demo"


def test_a_faulty_partner_file_is_what_to_look_at_next(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.yaml").write_text("partner: broken\n")
    monkeypatch.setenv("PARTNERS_FOLDER", str(tmp_path))

    code, found, following = checks(capsys)

    assert (code, following) == (1, "./sealift partner lint")
    assert found["partner files"][0] == "wrong"


def test_a_stage_that_is_deployed_and_signed_in_is_all_well(
    capsys: pytest.CaptureFixture[str], programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs("az", version='{"azure-cli": "2.76.0"}', account='{"name": "Sub", "tenantId": "t-1"}')
    programs("azd", version="azd version 1.31.0 (commit x)", auth="Logged in as me", env="SEALIFT_FUNCTION_APP_ID=x")
    monkeypatch.setattr(doctor, "variables", lambda _stage: {"SEALIFT_ALERT_EMAIL": "me@company.test"})

    code, found, following = checks(capsys, "--stage", "dev")

    assert code == 0, found
    assert found["az is signed in"] == ("ok", "Sub, tenant t-1")
    assert found["azd environment dev"] == ("ok", "deployed")
    assert following == "./sealift azure setup --stage dev"


def test_what_is_missing_for_a_stage_comes_one_by_one(capsys: pytest.CaptureFixture[str], programs: Programs) -> None:
    programs("az", version='{"azure-cli": "2.50.0"}')
    programs("azd", version="azd version 1.31.0")

    code, found, following = checks(capsys, "--stage", "dev")

    assert code == 1
    assert following == "write your own values into infra/main.parameters.dev.json"
    assert found["infra/main.parameters.dev.json"][0] == "wrong"
    assert found["az"] == ("wrong", "2.50.0; 2.76 is needed")
    assert found["azd"][0] == "ok"
    assert found["azd is signed in"] == ("wrong", "no")
    assert "hunter2" not in json.dumps(found), "what a program says when it fails may hold anything"
