"""docs/openapi.json is what the app is: its endpoints, its requests, and (by `App.call`) every answer that these tests see."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from app_world import DOCUMENT, App, days
from jsonschema import Draft202012Validator
from staged_rows import staged_rows

DAYS = days(date(2024, 1, 8))
INDEX = """
import json, function_app
endpoints = []
for function in function_app.app.get_functions():
    for binding in function.get_dict_repr()["bindings"]:
        if binding["type"] == "httpTrigger":
            endpoints += [[str(getattr(m, "value", m)), binding["route"], str(binding["authLevel"])] for m in binding["methods"]]
print(json.dumps(endpoints))
"""


def test_document_names_every_door_and_no_other(repository: Path) -> None:
    done = subprocess.run([sys.executable, "-c", INDEX], cwd=repository, capture_output=True, text=True, check=True)

    endpoints = {
        (method.lower(), f"/{route}"): "ANONYMOUS" in level.upper()
        for method, route, level in json.loads(done.stdout)
        if route != "monitor/{*path}"  # pages for people: docs/monitor.md
    }
    described = {
        (method, path): operation.get("security") == []
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
    }
    assert described == endpoints


def test_every_schema_is_one() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "health", None, 200),
        ("GET", "ready", None, 200),
        ("GET", "standings", None, 200),
        ("GET", "feeds?windowStart=2026-11-22T01:00:00Z&windowEnd=2026-11-22T02:00:00Z", None, 200),
        ("GET", "feeds", None, 422),
        ("GET", "batches?limit=3", None, 200),
        ("GET", "batches?limit=many", None, 422),
        ("POST", "batches", {"partner": "northwind"}, 422),
        ("GET", "batches/northwind.accruals.1999-01-01.1", None, 404),
        ("GET", "batches/northwind.accruals.1999-01-01.1/ledger", None, 404),
        ("GET", "batches/northwind.accruals.1999-01-01.1/verify", None, 404),
        ("GET", "batches/nonsense/verify", None, 422),
        ("POST", "batches/northwind.accruals.1999-01-01.1/seal", {}, 404),
        ("POST", "batches/northwind.accruals.1999-01-01.1/deliver", {}, 404),
        ("POST", "batches/northwind.accruals.1999-01-01.1/sending", {"found": []}, 404),
        ("POST", "batches/northwind.accruals.1999-01-01.1/sent", {"list": "x", "files": 1}, 404),
        ("POST", "batches/northwind.accruals.1999-01-01.1/looked", {"file": "x"}, 404),
        ("POST", "await", {"batches": ["northwind.accruals.1999-01-01.1"], "since": "2026-11-21T00:00:00Z"}, 200),
        ("POST", "batches/northwind.accruals.1999-01-01.1/confirm", {}, 404),
        ("POST", "batches/northwind.accruals.1999-01-01.1/failed", {"cause": "x"}, 404),
        ("POST", "batches/northwind.accruals.1999-01-01.1/resend", {"who": "ana", "reason": "lost"}, 404),
        ("POST", "batches/northwind.accruals.1999-01-01.1/replay", {"who": "ana", "from": "seal"}, 404),
        ("POST", "batches/northwind.accruals.1999-01-01.1/replay", {"who": "ana", "from": "extract"}, 422),
        ("POST", "purge", {"who": "ana"}, 200),
        ("POST", "purge", {}, 422),
        ("POST", "feeds/northwind/accruals/index", {}, 200),
        ("POST", "feeds/northwind/nothing/index", {}, 404),
        ("POST", "feeds/nobody/accruals/index", {}, 404),
    ],
)
def test_answers_follow_the_document(app: App, method: str, path: str, body: Any, status: int) -> None:
    assert app.call(method, path, json=body).status_code == status


def test_a_batchs_whole_way_follows_the_document(app: App) -> None:
    plan = app.plan(next(DAYS))
    batch = plan["batch"]
    assert app.call("POST", f"batches/{batch}/seal", json={}).status_code == 409
    assert app.call("GET", f"batches/{batch}/verify").json()["ok"] is False
    app.stores.raw.upload_blob(f"{plan['raw']['folder']}/{plan['raw']['file']}", staged_rows())
    assert app.call("POST", f"batches/{batch}/seal", json={}).status_code == 202
    app.wait(batch, "sealed")
    assert app.call("POST", f"batches/{batch}/confirm", json={}).status_code == 409
    app.ok("POST", f"batches/{batch}/failed", json={"cause": "the partner's disk is full"})
    assert app.ok("GET", f"batches/{batch}")["failure"]["cause"] == "the partner's disk is full"
    app.plan(date.fromisoformat(batch.split(".")[2]))
    report = app.send(batch, "run-1")
    assert app.call("POST", f"batches/{batch}/looked", json={"file": "x", "runId": "run-2"}).status_code == 409
    assert app.call("POST", f"batches/{batch}/sent", json={**report, "list": "x"}).status_code == 422
    assert app.call("POST", f"batches/{batch}/confirm", json={}).status_code == 409
    app.ok("POST", f"batches/{batch}/confirm", json=report)
    assert app.call("POST", f"batches/{batch}/replay", json={"who": "ana", "from": "seal"}).status_code == 409
    app.ok("POST", f"batches/{batch}/resend", json={"who": "ana", "reason": "lost"})
    assert app.call("POST", f"batches/{batch}/resend", json={"who": "ana", "reason": "again"}).status_code == 409


def test_run_of_data_factory_is_taken_from_the_header(app: App) -> None:
    window = {"windowStart": "2024-06-03T00:00:00+01:00", "windowEnd": "2024-06-04T00:00:00+01:00"}
    body = {"partner": "northwind", "feed": "accruals", **window}

    batch = app.ok("POST", "batches", json=body, headers={"x-adf-run-id": "run-7"})["batch"]

    assert app.ok("GET", f"batches/{batch}/ledger")["entries"][0]["run_id"] == "run-7"
