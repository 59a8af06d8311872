"""`./sealift adf eval` evaluates one expression; `./sealift adf cases` runs a file of golden cases.

A case file is a JSON array. An expression case holds `expression`, `scope` and one of `result`, `error` (with an optional
`message_contains`) and `check`, and `now` where it reads the clock; a status case holds `activities` and `expected`. One file
may hold both kinds.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from adf_runner.expressions import ExpressionError, Scope, evaluate
from cli.console import CommandFailed

KINDS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, float),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
# The clock of a case that gives none: no answer may change from one day to the next.
CASE_NOW: Final = datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC)
StatusRunner = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class InvalidCaseFile(CommandFailed):
    """The case file, or a case in it, is not what this program can run."""

    status = 422


def same_typed(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal with their types: 1 is not 1.0, true is not 1; key order does not count."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same_typed(value, right[name]) for name, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same_typed, left, right))
    return bool(left == right)


def plain(value: Any) -> Any:
    """Return a value with every mapping as a dict, so that types can be compared."""
    if isinstance(value, Mapping):
        return {name: plain(member) for name, member in value.items()}
    return [plain(member) for member in value] if isinstance(value, list) else value


def run_expression_case(case: Mapping[str, Any]) -> tuple[bool, str, str]:
    """Run one case and return whether it passed, what was expected and what came."""
    try:
        value = plain(evaluate(case["expression"], case_scope(case)))
        got, message = shown(value), None
    except ExpressionError as error:
        value, message = None, str(error)
        got = f"error: {message}"
    if case.get("error"):
        part = str(case.get("message_contains", ""))
        expected = f"an error that names '{part}'" if part else "an error"
        return message is not None and part.lower() in message.lower(), expected, got
    if "check" in case:
        kind, _, pattern = case["check"].removeprefix("type:").partition("/")
        passed = message is None and KINDS[kind](value) and re.search(pattern, str(value)) is not None
        return passed, f"{kind} that matches {pattern}", got
    return message is None and same_typed(value, case["result"]), shown(case["result"]), got


def case_scope(case: Mapping[str, Any]) -> Scope:
    """Return what a case's expression can see; its clock shows `now` of the case, or else CASE_NOW."""
    scope, now = Scope.from_json(case.get("scope") or {}), clock_of(case)
    return replace(scope, now=lambda: now)


def clock_of(case: Mapping[str, Any]) -> datetime:
    if "now" not in case:
        return CASE_NOW
    try:
        return datetime.strptime(case["now"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except (TypeError, ValueError) as error:
        raise InvalidCaseFile(f"{case.get('id', 'a case')}: now is not a time such as 2026-11-23T10:20:30Z") from error


def run_status_case(case: Mapping[str, Any], run: StatusRunner) -> tuple[bool, str, str]:
    got = plain(run(case))
    expected = case["expected"]
    return got == expected, shown(expected), shown(got)


def status_runner() -> StatusRunner:
    """Return the function that runs status cases; it belongs to the executor."""
    try:
        from cli.adf_status_cases import run_status_case as run
    except ImportError as error:
        raise InvalidCaseFile(
            f"status cases cannot be run: {error}", "cli/adf_status_cases.py supplies run_status_case(case)"
        ) from error
    runner: StatusRunner = run
    return runner


def load_cases(path: Path) -> list[dict[str, Any]]:
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidCaseFile(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidCaseFile(f"{path} is not JSON: {error}") from error
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise InvalidCaseFile(f"{path} is not a JSON array of cases")
    return cases


def run_cases(cases: list[dict[str, Any]], report: Callable[[str], None]) -> tuple[int, int]:
    """Run all cases, report each failing one, and return how many passed and failed."""
    passed = failed = 0
    for index, case in enumerate(cases):
        name = str(case.get("id", f"case {index + 1}"))
        if "expression" in case:
            good, expected, got = run_expression_case(case)
        elif "activities" in case:
            good, expected, got = run_status_case(case, status_runner())
        else:
            raise InvalidCaseFile(f"{name} is neither an expression case nor a status case")
        passed, failed = passed + good, failed + (not good)
        if not good:
            about = case.get("expression", case.get("title", ""))
            report(f"{name}: {about}\n  expected {expected}\n  got      {got}")
    return passed, failed


def shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def refuse(error: Exception, hint: str) -> int:
    print(f"error: {error}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return 1


def cases_main(argv: list[str]) -> int:
    """Run `sealift adf cases FILE`; exit code 1 when a case fails."""
    parser = argparse.ArgumentParser(prog="sealift adf cases", description="Run a golden case file.")
    parser.add_argument("file", type=Path, help="a JSON array of expression cases or status cases")
    options = parser.parse_args(argv)
    try:
        passed, failed = run_cases(load_cases(options.file), print)
    except InvalidCaseFile as error:
        return refuse(error, error.hint)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def eval_main(argv: list[str]) -> int:
    """Run `sealift adf eval EXPRESSION`; prints the value as JSON."""
    parser = argparse.ArgumentParser(
        prog="sealift adf eval", description="Evaluate an expression as Data Factory would."
    )
    parser.add_argument("expression", help="the text as it is in a pipeline, such as \"@concat('a', 1)\"")
    parser.add_argument(
        "--scope", type=Path, help="a JSON file with parameters, variables, activities, item, system, ..."
    )
    options = parser.parse_args(argv)
    try:
        document = json.loads(options.scope.read_text(encoding="utf-8")) if options.scope else {}
        scope = Scope.from_json(document)
    except (OSError, ValueError, AttributeError) as error:
        return refuse(error, 'the scope file is a JSON object: {"parameters": {"day": "2026-11-22"}}')
    print(json.dumps(plain(evaluate(options.expression, scope)), ensure_ascii=False, indent=2))
    return 0
