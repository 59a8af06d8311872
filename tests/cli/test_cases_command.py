"""`./sealift adf eval` and `./sealift adf cases` from outside."""

from __future__ import annotations

import json
from typing import Any

from cli.__main__ import main
from cli.adf_cases import cases_main, eval_main, same_typed


def test_eval_prints_the_value_as_json(capsys) -> None:
    assert eval_main(["@createArray(1, 2.0, 'é', null)"]) == 0

    assert json.loads(capsys.readouterr().out) == [1, 2.0, "é", None]


def test_eval_reads_a_scope_file(tmp_path, capsys) -> None:
    scope = tmp_path / "scope.json"
    scope.write_text('{"parameters": {"day": "2026-11-22"}}')

    assert eval_main(["@addDays(pipeline().parameters.day, 1, 'yyyyMMdd')", "--scope", str(scope)]) == 0

    assert capsys.readouterr().out == '"20261123"\n'


def test_eval_shows_error_place_and_hint(capsys) -> None:
    assert main(["adf", "eval", "@toUpper(cocnat('a'))"]) == 1

    error, text, caret, hint = capsys.readouterr().err.splitlines()
    assert error == "error: unknown function 'cocnat'; did you mean 'concat'?"
    assert text == "@toUpper(cocnat('a'))"
    assert caret == " " * 9 + "^"
    assert hint.startswith("hint: ")


def test_eval_refuses_a_scope_that_is_none(tmp_path, capsys) -> None:
    for text in ("[1]", "{", '{"parameter": {}}'):
        (tmp_path / "scope.json").write_text(text)

        assert eval_main(["@1", "--scope", str(tmp_path / "scope.json")]) == 1
        assert capsys.readouterr().err.startswith("error: ")


def run(tmp_path, cases) -> int:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases))
    return cases_main([str(path)])


def test_cases_end_with_exactly_one_counting_line(tmp_path, capsys) -> None:
    good = {"id": "a", "expression": "@add(1, 2)", "scope": {}, "result": 3}
    bad = {"id": "b", "expression": "@add(1, 2)", "scope": {}, "result": 3.0}

    assert run(tmp_path, [good, bad]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "b: @add(1, 2)"
    assert lines[-1] == "1 passed, 1 failed"
    assert sum("passed" in line for line in lines) == 1


def test_cases_exit_with_0_when_all_pass(tmp_path, capsys) -> None:
    cases = [
        {"expression": "@div(1, 0)", "scope": {}, "error": True, "message_contains": "DIV"},
        {"expression": "@guid('N')", "scope": None, "check": "type:string/^[0-9a-f]{32}$"},
        {"expression": "@null", "result": None},
    ]

    assert run(tmp_path, cases) == 0
    assert capsys.readouterr().out == "3 passed, 0 failed\n"


def test_a_case_has_its_own_clock(tmp_path, capsys) -> None:
    cases = [
        {"id": "monday", "expression": "@addDays('Sunday 10:20', 0)", "now": "2026-11-23T00:00:00Z", "error": True},
        {"id": "leap", "expression": "@utcNow('yyyy-MM-dd')", "now": "2028-02-29T23:59:30Z", "result": "2028-02-29"},
        {"id": "fixed", "expression": "@utcNow('yyyy-MM-dd')", "result": "2026-11-23"},
    ]

    assert run(tmp_path, cases) == 0
    assert run(tmp_path, [cases[0] | {"now": "today"}]) == 1
    assert "monday: now is not a time" in capsys.readouterr().err


def wait(name: str, outcome: Any, **outer: Any) -> dict[str, Any]:
    return {"name": name, "type": "Wait", "outcome": outcome, "dependsOn": [], **outer}


def status_case(activity: str, status: str) -> dict[str, Any]:
    return {
        "id": "s",
        "activities": [activity],
        "expected": {"activities": {activity["name"]: status}, "pipeline": status},
    }


def test_policy_of_an_activity_with_a_scripted_outcome_is_ignored(tmp_path, capsys) -> None:
    policy = {"retry": 3, "retryIntervalInSeconds": 30, "timeout": "0.12:00:00"}
    web = wait("Call", "Failed", policy=policy) | {"type": "WebActivity"}

    assert (
        run(tmp_path, [status_case(web, "Failed"), status_case(wait("W", "Succeeded", policy=policy), "Succeeded")])
        == 0
    )
    assert capsys.readouterr().out == "2 passed, 0 failed\n"


def test_outcomes_in_a_pipeline_that_a_loop_calls_follow_the_loop(tmp_path, capsys) -> None:
    def loop(outcomes: Any) -> dict[str, Any]:
        call = {"name": "Call", "type": "ExecutePipeline", "dependsOn": [], "waitOnCompletion": True,
                "child": {"activities": [wait("W", outcomes)]}}  # fmt: skip
        return {"name": "Loop", "type": "ForEach", "dependsOn": [], "items": [1, 2], "activities": [call]}

    cases = [
        status_case(loop(["Succeeded", "Failed"]), "Failed"),
        status_case(loop(["Succeeded", "Succeeded", "Failed"]), "Succeeded"),
    ]

    assert run(tmp_path, cases) == 0
    assert capsys.readouterr().out == "2 passed, 0 failed\n"


def test_unexpected_errors_and_values_fail_a_case(tmp_path, capsys) -> None:
    cases = [
        {"id": "1", "expression": "@1", "error": True},
        {"id": "2", "expression": "@div(1, 0)", "result": 1},
        {"id": "3", "expression": "@div(1, 0)", "error": True, "message_contains": "mul"},
        {"id": "4", "expression": "@1", "check": "type:string/^1$"},
    ]

    assert run(tmp_path, cases) == 1
    assert capsys.readouterr().out.endswith("0 passed, 4 failed\n")


def test_files_that_are_no_case_files_are_refused(tmp_path, capsys) -> None:
    for text in ("{", "{}", "[1]", '[{"id": "x"}]'):
        (tmp_path / "cases.json").write_text(text)

        assert cases_main([str(tmp_path / "cases.json")]) == 1
        assert capsys.readouterr().err.startswith("error: ")


def test_types_are_compared_strictly() -> None:
    assert not same_typed(1, 1.0)
    assert not same_typed(True, 1)
    assert not same_typed([1], [True])
    assert same_typed({"a": 1, "b": [None]}, {"b": [None], "a": 1})
