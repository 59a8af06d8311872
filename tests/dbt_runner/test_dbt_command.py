"""`./sealift dbt`: the runs that were made here, and how the image is built. `run` itself is tested with the pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli import dbt
from cli.dbt import DbtRefused, image_command


@pytest.fixture(autouse=True)
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(dbt, "HISTORY", tmp_path)
    monkeypatch.delenv("ARTIFACTS_URL", raising=False)
    return tmp_path


def keep(history: Path, run_id: str, started: str, **more: Any) -> Path:
    folder = history / run_id
    folder.mkdir()
    summary = {
        "run_id": run_id,
        "status": "success",
        "message": "dbt: all good",
        "started": started,
        "timings": {"total": 4.2},
    }
    (folder / "summary.json").write_text(json.dumps(summary | more))
    return folder


def test_runs_are_listed_newest_first(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(history, "aaaa-1", "2026-11-20T01:00:00Z")
    keep(history, "bbbb-2", "2026-11-21T01:00:00Z", status="failures")

    assert dbt.main(["runs"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["bbbb-2", "aaaa-1"]


def test_runs_are_listed_for_programs(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(history, "aaaa-1", "2026-11-20T01:00:00Z", status="failures")

    assert dbt.main(["runs", "--json"]) == 0

    assert [(each["run_id"], each["status"]) for each in json.loads(capsys.readouterr().out)] == [
        ("aaaa-1", "failures")
    ]


def test_no_runs_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert dbt.main(["runs"]) == 0
    assert "./sealift dbt run makes one" in capsys.readouterr().out


def test_a_run_is_shown_by_the_beginning_of_its_id(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = [{"name": "unique_x", "status": "fail", "path": "a.sql", "message": "3 rows [bold]"}]
    keep(history, "aaaa-1", "2026-11-20T01:00:00Z", failed=failed, rows={"marts_x": 1234}, counts={"fail": 1})

    assert dbt.main(["show", "aa"]) == 0

    shown = capsys.readouterr().out
    assert "unique_x" in shown
    assert "3 rows [bold]" in shown
    assert "1,234" in shown


def test_the_newest_run_is_shown_when_none_is_named(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(history, "aaaa-1", "2026-11-20T01:00:00Z")
    keep(history, "bbbb-2", "2026-11-21T01:00:00Z")

    assert dbt.main(["show"]) == 0
    assert "bbbb-2" in capsys.readouterr().out


def test_a_place_that_is_no_container_is_refused() -> None:
    with pytest.raises(dbt.DbtRefused, match="not a container's address"):
        dbt.main(["runs", "--artifacts", "nonsense"])


def test_a_beginning_that_fits_none_or_several_runs_is_refused(history: Path) -> None:
    keep(history, "aaaa-1", "2026-11-20T01:00:00Z")
    keep(history, "aaaa-2", "2026-11-20T01:00:00Z")

    with pytest.raises(DbtRefused, match="2 runs found"):
        dbt.main(["show", "aaaa"])
    with pytest.raises(DbtRefused, match="no run found"):
        dbt.main(["show", "b"])


def test_docs_are_those_of_the_newest_run_that_has_them(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = keep(history, "aaaa-1", "2026-11-20T01:00:00Z") / "docs" / "index.html"
    page.parent.mkdir()
    page.write_text("<html>")
    keep(history, "bbbb-2", "2026-11-21T01:00:00Z")

    assert dbt.main(["docs", "--print"]) == 0
    assert capsys.readouterr().out.strip() == str(page)


def test_docs_without_any_say_how_to_make_them(history: Path) -> None:
    keep(history, "aaaa-1", "2026-11-20T01:00:00Z")

    with pytest.raises(DbtRefused) as refused:
        dbt.main(["docs", "--print"])
    assert "--docs" in refused.value.hint


def test_image_is_built_in_the_registry_that_is_named() -> None:
    command = image_command(None, "sealift", "dbt:1", "python:3.12-slim")

    assert command[:7] == ["az", "acr", "build", "--registry", "sealift", "--image", "dbt:1"]
    assert "BASE_IMAGE=python:3.12-slim" in command
    assert command[-1] == "dbt_runner"


def test_missing_engine_is_named_with_the_way_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(DbtRefused, match="neither podman nor docker is installed") as refused:
        image_command(None, None, "dbt:1", "python:3.12-slim")
    assert "--registry" in refused.value.hint
    with pytest.raises(DbtRefused, match="docker is not installed"):
        image_command("docker", None, "dbt:1", "python:3.12-slim")
