"""The golden case files: our own beside this folder, and the shared one where it is beside the checkout.

`tests/cases/expressions.json` was written rule by rule, and its answers were compared once with Microsoft's own engine.
`tests/cases/expressions_net.json` holds answers that .NET and Newtonsoft.Json gave when they were run with the same inputs.
It is plain JSON, one case a line, so that any other implementation can be held to it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from adf_runner.expressions import ExpressionError, evaluate
from cli.adf_cases import case_scope, run_cases

ROOT = Path(__file__).resolve().parents[3]
NET = ROOT / "tests" / "cases" / "expressions_net.json"
OWN = ROOT / "tests" / "cases" / "expressions.json"
SHARED = ROOT.parent / "shared" / "cases" / "expressions.json"


def failures(path: Path) -> tuple[int, list[str]]:
    complaints: list[str] = []
    passed, _ = run_cases(json.loads(path.read_text(encoding="utf-8")), complaints.append)
    return passed, complaints


def test_own_cases_all_pass() -> None:
    passed, complaints = failures(OWN)

    assert complaints == []
    assert passed > 1500


def test_answers_of_dotnet_all_pass() -> None:
    passed, complaints = failures(NET)

    assert complaints == []
    assert passed == 427


def test_own_cases_have_unique_ids() -> None:
    ids = [case["id"] for case in json.loads(OWN.read_text(encoding="utf-8"))]

    assert len(ids) == len(set(ids))


def test_every_own_case_that_reads_the_clock_has_its_time() -> None:
    """A text like 'Sunday 10:20' is today on Sundays and an error on all other days."""
    cases = json.loads(OWN.read_text(encoding="utf-8"))

    assert [case["id"] for case in cases if reads_the_clock(case) and "now" not in case] == []


def reads_the_clock(case: dict) -> bool:
    asked: list[datetime] = []
    scope = case_scope(case)

    def now() -> datetime:
        asked.append(scope.now())
        return asked[0]

    with suppress(ExpressionError):
        evaluate(case["expression"], replace(scope, now=now))
    return bool(asked)


def test_shared_golden_cases_all_pass() -> None:
    if not SHARED.exists():
        pytest.skip(f"the shared golden cases are not beside this checkout ({SHARED})")

    passed, complaints = failures(SHARED)

    assert complaints == []
    assert passed > 1000
