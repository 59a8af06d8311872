"""docs/api.md: the routes of the app in a table, from the same description as openapi.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs.generate import openapi

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"

INTRODUCTION = """# API

The routes of the function app, from [openapi.json](openapi.json) by `./sealift docs`; do not edit by hand. The base path is
`/api`. Every route except `/health` needs a function key, as the header `x-functions-key`. Every answer is a JSON object; a
refusal is `{"error": {"code": ..., "message": ..., "hint": ...}}`, and its `hint` is an action.

| route | what it does |
|---|---|
"""


def render() -> str:
    """Return the page."""
    description: dict[str, Any] = json.loads(openapi.render())
    calls = [
        (f"{method.upper()} {path}", operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    return INTRODUCTION + "".join(_row(name, call) for name, call in calls) + _answers(calls) + _parameters(calls)


def _row(name: str, operation: dict[str, Any]) -> str:
    return f"| `{name}` | {operation['summary']} |\n"


def _answers(calls: list[tuple[str, dict[str, Any]]]) -> str:
    meanings = {code: answer["description"] for _, call in calls for code, answer in call["responses"].items()}
    rows = "".join(f"| {code} | {meanings[code]} |\n" for code in sorted(meanings))
    return f"\n## Answers\n\n| status | meaning |\n|---|---|\n{rows}"


def _parameters(calls: list[tuple[str, dict[str, Any]]]) -> str:
    rows = [
        f"| `{name}` | `{each['name']}`{'' if each['required'] else ', optional'} | {each['description']} |\n"
        for name, call in calls
        for each in call.get("parameters", [])
        if each["in"] == "query"
    ]
    return f"\n## Parameters of a query\n\n| route | parameter | meaning |\n|---|---|---|\n{''.join(rows)}"
