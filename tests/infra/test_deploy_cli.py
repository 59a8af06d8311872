from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from infra_fakes import FakeFactory

from infra.deploy import main

Write = Callable[..., Path]
StageFile = Callable[..., Path]


def arguments(verb: str, adf: Path, stages: Path, *more: str) -> list[str]:
    return [verb, "--stage", "test", "--adf", str(adf), "--stages", str(stages), *more]


def test_plan_says_2_when_something_would_change_and_writes_nothing(
    write: Write, stage_file: StageFile, arm: FakeFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(arguments("plan", write(), stage_file()))

    assert code == 2
    assert not arm.writes()
    out = capsys.readouterr().out
    assert "  + trigger.daily  (create)" in out
    assert "test (adf-test): 6 to create, 0 to update, 0 to delete, 0 the same" in out


def test_apply_then_plan_and_drift_say_0(write: Write, stage_file: StageFile, arm: FakeFactory) -> None:
    adf, stages = write(), stage_file(overrides={"linkedService.vault": {"typeProperties.baseUrl": "https://v/"}})

    assert main(arguments("apply", adf, stages)) == 0
    assert main(arguments("plan", adf, stages)) == 0
    assert main(arguments("drift", adf, stages)) == 0
    assert arm.items["linkedService", "vault"]["properties"]["typeProperties"]["baseUrl"] == "https://v/"


def test_drift_sees_what_was_done_in_the_portal(
    write: Write, stage_file: StageFile, arm: FakeFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    adf, stages = write(), stage_file()
    main(arguments("apply", adf, stages))
    arm.edit("pipeline", "inner", description="by hand")
    arm.add("pipeline", "stray", {})
    arm.log.clear()
    capsys.readouterr()

    assert main(arguments("drift", adf, stages)) == 2

    out = capsys.readouterr().out
    assert 'description: - "by hand"' in out
    assert "- pipeline.stray" in out
    assert not arm.writes()


def test_only_and_no_prune_reach_the_plan(write: Write, stage_file: StageFile, arm: FakeFactory) -> None:
    arm.add("dataset", "stray", {})

    main(arguments("apply", write(), stage_file(), "--only", "linkedService.*", "--no-prune"))

    assert {kind for kind, _ in arm.items} == {"linkedService", "dataset"}


def test_an_empty_folder_does_not_sweep_the_factory(
    write: Write, stage_file: StageFile, arm: FakeFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments("apply", write(), stage_file()))
    (tmp_path / "empty").mkdir()

    assert main(arguments("apply", tmp_path / "empty", stage_file(maxDelete=5))) == 1

    assert len(arm.items) == 6
    assert "error: the plan deletes 6 items; this stage allows 5\nhint: " in capsys.readouterr().err


def test_the_plan_as_json_is_for_programs(
    write: Write, stage_file: StageFile, arm: FakeFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments("plan", write(), stage_file(), "--json"))

    plan = json.loads(capsys.readouterr().out)
    assert plan["stage"] == "test"
    assert len(plan["changes"]) == 6


def test_an_error_has_a_hint_and_says_1(
    write: Write, stage_file: StageFile, arm: FakeFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    arm.fail("GET", "linkedservices", 403)

    assert main(arguments("plan", write(), stage_file())) == 1

    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: GET ")
    assert hint == "hint: who deploys needs 'Data Factory Contributor' on the factory"


def test_wrong_usage_says_2() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["plan"])

    assert caught.value.code == 2
