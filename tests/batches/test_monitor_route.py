"""The operators' pages as a browser gets them: through the host, behind a key of their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
import requests
from app_world import App

PAGES = ("monitor", "monitor/batches", "monitor/batch/no.such.2026-11-21.1", "monitor/nothing")


@pytest.fixture(scope="module")
def watched(start_app: Callable[..., App]) -> App:
    return start_app(MONITOR="on")


def get(app: App, path: str, method: str = "GET", **more: str) -> requests.Response:
    return app.session.request(method, f"{app.host.url}/api/{path}", params={"code": app.host.key, **more}, timeout=60)


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_forbids_what_a_page_does_not_need(watched: App, path: str) -> None:
    answer = get(watched, path)

    assert answer.status_code == (404 if "no" in path.rsplit("/", maxsplit=1)[-1] else 200)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "private, no-cache"


def test_twin_of_a_page_is_json(watched: App) -> None:
    assert {each["feed"] for each in get(watched, "monitor", format="json").json()["rows"]} >= {"accruals", "purchases"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_but_get_is_answered(watched: App, method: str) -> None:
    assert get(watched, "monitor", method).status_code == 404


def test_pages_need_a_key(watched: App) -> None:
    assert watched.session.get(f"{watched.host.url}/api/monitor", timeout=60).status_code == 401
    assert watched.session.get(f"{watched.host.url}/api/monitor?code=wrong", timeout=60).status_code == 401


def test_behind_the_platforms_sign_in_the_pages_need_no_key_and_all_else_does(start_app: Callable[..., App]) -> None:
    app = start_app(MONITOR="on", MONITOR_SIGN_IN="platform", WEBSITE_AUTH_ENABLED="True")
    address, who = f"{app.host.url}/api/monitor", {"x-ms-client-principal-id": "33333333-3333-3333-3333-333333333333"}

    assert requests.get(address, headers=who, timeout=60).status_code == 200
    assert requests.get(address, timeout=60).status_code == 401
    assert requests.get(f"{app.host.url}/api/batches", headers=who, timeout=60).status_code == 401


@pytest.mark.parametrize("half", [{"MONITOR_SIGN_IN": "platform"}, {"WEBSITE_AUTH_ENABLED": "True"}])
def test_half_a_sign_in_leaves_the_key_needed(start_app: Callable[..., App], half: dict[str, str]) -> None:
    app = start_app(MONITOR="on", **half)
    headers = {"x-ms-client-principal-id": "33333333-3333-3333-3333-333333333333"}

    assert requests.get(f"{app.host.url}/api/monitor", headers=headers, timeout=60).status_code == 401


def test_key_is_in_no_log_and_no_text(watched: App) -> None:
    answer = get(watched, "monitor")

    assert f"code={watched.host.key}" in answer.text
    assert watched.host.key not in watched.log()


def test_pages_are_off_by_default(app: App) -> None:
    answer = get(app, "monitor")

    assert answer.status_code == 404
    assert "MONITOR=on" in answer.text


def test_planning_a_batch_shows_it_at_once(watched: App) -> None:
    plan = watched.plan(date(2026, 11, 23))

    answer = get(watched, "monitor/batches", at="2026-11-24T12:00:00Z", fresh="1")
    assert plan["batch"] in answer.text
