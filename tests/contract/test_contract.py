"""The function app's contract, seen from outside: what any host of it must answer (local, `func start`, Azure)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
import requests
from contract_target import Target
from staged_rows import staged_rows

from partners.deadlines import State

pytestmark = pytest.mark.xdist_group("stack")

FEED = {"partner": "northwind", "feed": "accruals"}
ONE_DAY = {"windowStart": "2026-11-22T00:00:00Z", "windowEnd": "2026-11-23T00:00:00Z"}
UNKNOWN = "northwind.accruals.1970-02-03.1"
# Every route that needs the key, with a call that is well formed.
ROUTES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "/api/feeds?windowStart=2026-11-22T01:00:00Z&windowEnd=2026-11-22T02:00:00Z", None),
    ("GET", "/api/feeds/northwind/accruals", None),
    ("POST", "/api/feeds/northwind/accruals/index", {}),
    ("GET", "/api/batches", None),
    ("POST", "/api/batches", FEED),
    ("GET", f"/api/batches/{UNKNOWN}", None),
    ("POST", f"/api/batches/{UNKNOWN}/seal", {}),
    ("POST", f"/api/batches/{UNKNOWN}/deliver", {}),
    ("POST", f"/api/batches/{UNKNOWN}/sending", {"found": [], "runId": "a-test"}),
    ("POST", f"/api/batches/{UNKNOWN}/looked", {"file": "a.txt", "bytes": 1, "runId": "a-test"}),
    ("POST", f"/api/batches/{UNKNOWN}/sent", {"list": "1.0123456789abcdef.txt", "files": 1, "runId": "a-test"}),
    ("POST", f"/api/batches/{UNKNOWN}/confirm", {}),
    ("POST", f"/api/batches/{UNKNOWN}/failed", {"cause": "a test"}),
    ("GET", f"/api/batches/{UNKNOWN}/ledger", None),
    ("GET", f"/api/batches/{UNKNOWN}/verify", None),
    ("POST", f"/api/batches/{UNKNOWN}/resend", {"who": "contract test", "reason": "a test"}),
    ("POST", f"/api/batches/{UNKNOWN}/replay", {"who": "contract test", "from": "deliver"}),
    ("POST", "/api/await", {"batches": [], "since": "2026-11-22T00:00:00Z"}),
    ("POST", "/api/purge", {"who": "contract test"}),
    ("GET", "/api/standings", None),
    ("GET", "/api/ready", None),
]
UNKNOWN_BATCH = [route for route in ROUTES if UNKNOWN in route[1]]
NAMES = [f"{method} {path.partition('?')[0]}" for method, path, _ in ROUTES]
BAD_IDS = [
    "..",
    "..%2f..%2fbatches",
    "%2e%2e%2fetc",
    "northwind",
    "northwind.accruals.2026-11-21",
    "northwind.accruals.2026-13-21.1",
    "northwind.accruals.2026-11-21.0",
    "northwind.accruals.2026-11-21.1%00",
    "northwind.accruals.2026-11-21.1%0a",
    "NORTHWIND.accruals.2026-11-21.1",
    "north/wind.accruals.2026-11-21.1",
    "northwind.accruals.2026-11-21.1.json",
    "%F0%9F%92%A5",
    "a" * 2000,
]


def error_of(answer: requests.Response) -> dict[str, Any]:
    """Return an error's body after checking that it is one as promised."""
    assert answer.headers["Content-Type"].startswith("application/json")
    body: dict[str, Any] = answer.json()
    assert set(body) == {"error", "hint", "batch"}
    assert body["error"]
    assert body["hint"]
    assert "Traceback" not in answer.text
    return body


def test_health_is_open_and_looks_at_nothing(target: Target) -> None:
    answer = target.call("GET", "/api/health", key=None)

    assert answer.status_code == 200
    assert answer.json()["status"] == "alive"


def test_app_is_ready(target: Target) -> None:
    answer = target.call("GET", "/api/ready")

    assert answer.status_code == 200, answer.text
    assert answer.json()["ready"] is True


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=NAMES)
@pytest.mark.parametrize("key", [None, "wrong"])
def test_route_without_its_key_is_closed(target: Target, method: str, path: str, body: Any, key: str | None) -> None:
    answer = target.call(method, path, key=key, json=body)

    assert answer.status_code == 401


def test_key_in_the_query_opens_a_route_too(target: Target) -> None:
    asked = {**ONE_DAY, "code": target.key}

    assert target.call("GET", "/api/feeds", key=None, params=asked).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"/api/batches/{UNKNOWN}"),
        ("GET", f"/api/batches/{UNKNOWN}/seal"),
        ("PUT", "/api/batches"),
        ("POST", "/api/feeds"),
        ("GET", "/api/nowhere"),
        ("GET", f"/api/batches/{UNKNOWN}/nowhere"),
    ],
)
def test_method_or_path_that_is_not_there_is_not_found(target: Target, method: str, path: str) -> None:
    assert target.call(method, path).status_code == 404


def test_feeds_that_are_due_are_told(target: Target) -> None:
    answer = target.call("GET", "/api/feeds", params=ONE_DAY)

    assert answer.status_code == 200
    found = [*answer.json()["feeds"], *answer.json()["waiting"]]
    assert FEED in [{name: each[name] for name in FEED} for each in found]


@pytest.mark.parametrize("at", ["", "yesterday", "2026-11-21", "2026-11-21T00:00:00"])
def test_feeds_of_no_instant_are_refused(target: Target, at: str) -> None:
    answer = target.call("GET", "/api/feeds", params={**ONE_DAY, "windowStart": at})

    assert answer.status_code == 422
    error_of(answer)


def test_window_planned_twice_is_one_batch(target: Target, window: dict[str, str]) -> None:
    first = target.call("POST", "/api/batches", json=FEED | window)
    again = target.call("POST", "/api/batches", json=FEED | window)

    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    plan = first.json()
    assert plan["batch"] == f"northwind.accruals.{window['windowStart'][:10]}.1"
    assert plan["state"] == "planned"
    assert plan["query"].lower().startswith(("select", "with"))


def test_plan_names_secrets_and_contains_none(target: Target, window: dict[str, str]) -> None:
    answer = target.call("POST", "/api/batches", json=FEED | window)

    assert answer.json()["sftp"]["privateKeySecret"] == "northwind-sftp-key"
    assert "PRIVATE KEY" not in answer.text
    assert target.key not in answer.text


def test_taken_batch_is_not_given_to_another_window(target: Target, window: dict[str, str]) -> None:
    target.call("POST", "/api/batches", json=FEED | window)
    shorter = window | {"windowEnd": window["windowStart"].replace("T00", "T12")}

    answer = target.call("POST", "/api/batches", json=FEED | shorter)

    assert answer.status_code == 409
    error_of(answer)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"partner": "nobody"}, 404),
        ({"feed": "nothing"}, 404),
        ({"partner": "../northwind"}, 404),
        ({"partner": "x" * 1000}, 422),
        ({"windowStart": "2026-11-22T00:00:00Z", "windowEnd": "2026-11-21T00:00:00Z"}, 422),
        ({"windowStart": "2026-11-21T00:00:00"}, 422),
        ({"windowStart": "yesterday"}, 422),
        ({"revision": 0}, 422),
        ({"more": "than asked"}, 422),
        ({"partner": None}, 422),
    ],
    ids=str,
)
def test_plan_that_makes_no_sense_is_refused(
    target: Target, window: dict[str, str], change: dict[str, Any], status: int
) -> None:
    answer = target.call("POST", "/api/batches", json=FEED | window | change)

    assert answer.status_code == status, answer.text
    error_of(answer)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"{" * 100_000, b'{"partner": NaN}']
)
def test_body_that_is_no_json_object_is_refused(target: Target, body: bytes) -> None:
    answer = target.call("POST", "/api/batches", data=body)

    assert answer.status_code == 422, answer.text
    error_of(answer)


def test_body_over_the_limit_is_refused(target: Target) -> None:
    answer = target.call("POST", "/api/batches", data=json.dumps({"partner": "x" * 5_000_000}))

    assert answer.status_code in (413, 422)


def test_chunked_body_is_an_empty_one(target: Target, window: dict[str, str]) -> None:
    answer = target.call("POST", "/api/batches", data=iter([json.dumps(FEED | window).encode()]))

    assert answer.status_code == 422
    error_of(answer)


@pytest.mark.parametrize(("method", "path", "body"), UNKNOWN_BATCH, ids=[f"{m} {p}" for m, p, _ in UNKNOWN_BATCH])
def test_batch_that_was_never_planned_is_not_found(target: Target, method: str, path: str, body: Any) -> None:
    answer = target.call(method, path, json=body)

    assert answer.status_code == 404
    assert error_of(answer)["batch"] == UNKNOWN


@pytest.mark.parametrize("batch", BAD_IDS, ids=[name[:40] for name in BAD_IDS])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("POST", "/seal"), ("POST", "/confirm")])
def test_tricks_in_a_batch_id_lead_nowhere(target: Target, batch: str, method: str, rest: str) -> None:
    # Sent as it stands: the client must not tidy the path up.
    prepared = requests.Request(method, target.url, headers={"x-functions-key": target.key}, json={}).prepare()
    prepared.url = f"{target.url}/api/batches/{batch}{rest}"
    answer = target.session.send(prepared, timeout=60, allow_redirects=False)

    assert answer.status_code in (400, 404, 422), answer.text
    assert "Traceback" not in answer.text


def test_sealing_what_was_not_staged_is_refused(target: Target, window: dict[str, str]) -> None:
    batch = target.call("POST", "/api/batches", json=FEED | window).json()["batch"]

    answer = target.call("POST", f"/api/batches/{batch}/seal", json={})

    assert answer.status_code == 409
    assert error_of(answer)["batch"] == batch


def test_routes_above_are_all_that_there_are() -> None:
    documented = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())["paths"]
    templates = {UNKNOWN: "{id}", "northwind/accruals": "{partner}/{feed}", "/api/": "/"}
    called = set()
    for method, path, _ in ROUTES:
        template = path.partition("?")[0]
        for text, name in templates.items():
            template = template.replace(text, name)
        called.add((method, template))

    assert called | {("GET", "/health")} == {
        (method.upper(), path) for path, methods in documented.items() for method in methods if method != "parameters"
    }


def test_feeds_with_a_deadline_tell_how_they_stand(target: Target) -> None:
    answer = target.call("GET", "/api/standings")

    assert answer.status_code == 200
    assert {each["state"] for each in answer.json()["standings"]} <= set(get_args(State))


def test_ledger_begins_with_the_planning(target: Target, window: dict[str, str]) -> None:
    batch = target.call("POST", "/api/batches", json=FEED | window).json()["batch"]

    answer = target.call("GET", f"/api/batches/{batch}/ledger")

    assert answer.status_code == 200
    assert answer.json()["entries"][0]["step"] == "planned"


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("resend", {"who": "contract test", "reason": "a test"}),
        ("replay", {"who": "contract test", "from": "deliver"}),
    ],
)
def test_step_that_is_too_early_is_refused(
    target: Target, window: dict[str, str], verb: str, body: dict[str, str]
) -> None:
    batch = target.call("POST", "/api/batches", json=FEED | window).json()["batch"]

    answer = target.call("POST", f"/api/batches/{batch}/{verb}", json=body)

    assert answer.status_code == 409, answer.text
    assert error_of(answer)["batch"] == batch


def test_function_does_not_deliver_what_data_factory_delivers(target: Target, window: dict[str, str]) -> None:
    batch = target.call("POST", "/api/batches", json=FEED | window).json()["batch"]

    answer = target.call("POST", f"/api/batches/{batch}/deliver", json={})

    assert answer.status_code == 422
    assert "deliver_batch" in error_of(answer)["hint"]


def test_batch_that_is_not_sealed_does_not_verify(target: Target, window: dict[str, str]) -> None:
    batch = target.call("POST", "/api/batches", json=FEED | window).json()["batch"]

    found = target.call("GET", f"/api/batches/{batch}/verify").json()

    assert not found["ok"]
    assert {check["what"]: check["ok"] for check in found["checks"]}["sealed"] is False


@pytest.mark.parametrize("body", [{}, {"who": "contract test"}, {"who": "contract test", "reason": " "}])
def test_delivering_again_needs_a_reason(target: Target, window: dict[str, str], body: dict[str, str]) -> None:
    batch = target.call("POST", "/api/batches", json=FEED | window).json()["batch"]

    answer = target.call("POST", f"/api/batches/{batch}/resend", json=body)

    assert answer.status_code == 422
    error_of(answer)


def test_confirming_what_is_not_sealed_is_refused(target: Target, window: dict[str, str]) -> None:
    batch = target.call("POST", "/api/batches", json=FEED | window).json()["batch"]

    answer = target.call("POST", f"/api/batches/{batch}/confirm", json={})

    assert answer.status_code == 409
    error_of(answer)


def test_staged_file_is_sealed_in_the_background(target: Target, window: dict[str, str]) -> None:
    if target.raw is None:
        pytest.skip("RAW_STORAGE is not set: nothing can be staged for the app at BASE_URL")
    plan = target.call("POST", "/api/batches", json=FEED | window).json()
    batch, blob = plan["batch"], f"{plan['raw']['folder']}/{plan['raw']['file']}"
    target.raw.upload_blob(blob, staged_rows(), overwrite=True)

    accepted = target.call("POST", f"/api/batches/{batch}/seal", json={})
    again = target.call("POST", f"/api/batches/{batch}/seal", json={})

    assert accepted.status_code == again.status_code == 202
    assert urlsplit(accepted.headers["Location"]).path == f"/api/batches/{batch}"
    assert sealed(target, batch)["state"] == "sealed"
    listed = target.call("GET", "/api/batches", params={"partner": "northwind", "limit": 100}).json()["batches"]
    assert batch in {each["batch"] for each in listed}


def sealed(target: Target, batch: str) -> dict[str, Any]:
    """Poll a batch as Data Factory does, until it is no longer being sealed."""
    deadline = time.monotonic() + 300
    while True:
        answer = target.call("GET", f"/api/batches/{batch}")
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        if state["state"] != "sealing":
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.2)
