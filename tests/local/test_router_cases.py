"""295 answers recorded from Microsoft's own router (WebJobs.Extensions.Http 3.2.0 on Kestrel), held against ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local.functions_host.routes import Route, answer_route, parse_route

CASES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "cases" / "router.json").read_text())


def routes(name: str) -> list[Route]:
    return [parse_route(function, template, methods, "function") for function, template, methods in CASES[name]]


ROUTES = {name: routes(name) for name in ("product_routes", "extra_routes")}


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: f"{case['method']} {case['target'][:60]!a}")
def test_answer_is_that_of_the_real_router(case: dict[str, Any]) -> None:
    answer = answer_route(ROUTES[case["routes"]], "api", case["method"], case["target"], host="h.example")

    assert str(answer.status) == case["status"]
    assert answer.function == case.get("function", "")
    if "params" in case:
        assert dict(answer.parameters) == {name: value for name, value in case["params"].items() if value}
        assert dict(answer.query) == {name: value for name, value in case["query"].items() if value}
        assert answer.url == case["url"]
