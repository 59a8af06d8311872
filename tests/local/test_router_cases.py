"""295 answers recorded from Microsoft's own router (WebJobs.Extensions.Http 3.2.0 on Kestrel), held against ours."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.functions_host.host import FunctionHost
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


HEAD = "import azure.functions as func\napp = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n"
FUNCTION = """
@app.route({route!r}, methods={methods!r})
def {name}(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse({name!r})
"""


def is_documented(case: dict[str, Any]) -> bool:
    """Return whether docs/local-vs-azure.md has the case: unknown methods, and what the host answers before the router."""
    return case["method"] in ("get", "FOO") or case["target"] == "/" or case["target"].startswith("/admin")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, FunctionHost]]:
    with ExitStack() as stack:
        started = {}
        for name in ROUTES:
            app = tmp_path_factory.mktemp(name)
            functions = [
                FUNCTION.format(name=name, route=route, methods=methods) for name, route, methods in CASES[name]
            ]
            (app / "function_app.py").write_text(HEAD + "".join(functions))
            (app / "host.json").write_text('{"version": "2.0"}')
            started[name] = stack.enter_context(FunctionHost(app, {}, folder=tmp_path_factory.mktemp("host")))
        yield started


def exchange(host: FunctionHost, case: dict[str, Any]) -> tuple[str, str]:
    """Send the request's bytes; return status and body."""
    address = urlsplit(host.url)
    head = b" HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(f"{case['method']} {case['target']}".encode("latin-1") + head)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return answer.split(b" ")[1].decode(), answer.partition(b"\r\n\r\n")[2].decode("latin-1")


@pytest.mark.parametrize("routes", ROUTES)
def test_answers_hold_on_the_wire(hosts: dict[str, FunctionHost], routes: str) -> None:
    cases = [case for case in CASES["cases"] if case["routes"] == routes and not is_documented(case)]

    other = [
        (case["method"], case["target"], status)
        for case in cases
        for status, body in [exchange(hosts[routes], case)]
        if status != case["status"] or (status == "200" and case["method"] != "HEAD" and body != case["function"])
    ]

    assert len(cases) > 80
    assert other == []
