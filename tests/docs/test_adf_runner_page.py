"""docs/adf-runner.md: its test runs, its overrides are read, its commands exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from adf_runner.overriding import overrides_of
from cli.adf import main as adf

STEPS = [
    {
        "name": "Load",
        "type": "ExecuteDataFlow",
        "typeProperties": {"dataflow": {"referenceName": "f", "type": "DataFlowReference"}},
    },
    {
        "name": "Alarm",
        "type": "WebActivity",
        "typeProperties": {"method": "GET", "url": "https://alarm.example"},
        "dependsOn": [{"activity": "Load", "dependencyConditions": ["Failed"]}],
    },
    {
        "name": "Stop",
        "type": "Fail",
        "typeProperties": {"message": "@activity('Load').error.message", "errorCode": "1"},
        "dependsOn": [{"activity": "Alarm", "dependencyConditions": ["Succeeded"]}],
    },
]


def blocks(repository: Path, language: str) -> list[str]:
    page = (repository / "docs" / "adf-runner.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_pages_test_passes(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = blocks(repository, "python")
    folder = tmp_path / "my-factory" / "pipeline"
    folder.mkdir(parents=True)
    document = {"name": "nightly", "properties": {"parameters": {"day": {"type": "string"}}, "activities": STEPS}}
    (folder / "nightly.json").write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}

    exec(compile(source, "adf-runner.md", "exec"), names)

    test = names["test_a_failed_load_raises_the_alarm"]
    assert callable(test)
    test()


def test_the_pages_overrides_are_read(repository: Path) -> None:
    (document,) = map(json.loads, blocks(repository, "json"))

    assert set(overrides_of(document).outcomes) == {"Load warehouse", "nightly/Notify", "Look"}


def test_the_options_of_the_page_exist(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (repository / "docs" / "adf-runner.md").read_text()
    known = ""
    for verb in ("check", "run"):
        with pytest.raises(SystemExit):
            adf([verb, "--help"])
        known += capsys.readouterr().out

    assert [option for option in re.findall(r"--[a-z]+", page) if option not in known] == []
