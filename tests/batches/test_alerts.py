"""An alert is posted until somebody took it, and never called sent when nobody did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from delivery_servers import free_port

from batches.alerts import AlertNotPosted, page_of, post_alert
from delivery import Unusable
from local.wire.certificates import CertificateAuthority
from local.wire.web import Request, Response, WebServer, json_response
from partners.calendars import Calendar
from partners.deadlines import Expectation, judge_feed

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
EXPECTED = Expectation(
    partner="northwind", feed="accruals", time_zone="Europe/London", deadline=time(6), calendar=Calendar()
)
MISSING = judge_feed(EXPECTED, date(2026, 11, 23), NOW)


class Webhook:
    """A team's webhook: answers as asked, and keeps what it took."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.taken: list[dict[str, Any]] = []
        self.url = ""
        self.asked = 0

    def answer(self, request: Request) -> Response:
        self.asked += 1
        status = self.answers.pop(0) if self.answers else 200
        if status == 302:
            return Response(status=status, headers=[("Location", "/login")])
        if status == 200:
            self.taken.append(request.json())
        return json_response(status, {})


@pytest.fixture
def webhook(authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    for name, value in authority.environment.items():
        monkeypatch.setenv(name, value)
    hook = Webhook()
    with WebServer("webhook", hook.answer, ca=authority) as server:
        hook.url = f"{server.url}/secret-path"
        yield hook


def test_an_alert_says_it_all_in_one_post(webhook: Webhook) -> None:
    post_alert(webhook.url, MISSING, NOW)

    (alert,) = webhook.taken
    assert alert["key"] == "northwind.accruals.2026-11-23.missing"
    assert alert["cause"] == "no batch was planned"
    assert alert["text"].startswith("[sealift] missing: northwind accruals of 2026-11-23\n\nThe batch")


def test_a_webhook_that_is_not_well_is_tried_again(webhook: Webhook) -> None:
    webhook.answers = [503, 429]
    waits: list[float] = []

    post_alert(webhook.url, MISSING, NOW, sleep=waits.append)

    assert len(webhook.taken) == 1
    assert waits == [2.0, 4.0]


def test_an_alert_nobody_took_is_an_error_without_the_address(webhook: Webhook) -> None:
    webhook.answers = [500] * 4

    with pytest.raises(AlertNotPosted, match="it answers 500") as caught:
        post_alert(webhook.url, MISSING, NOW, sleep=lambda _: None)

    assert "secret-path" not in str(caught.value) + caught.value.hint


def test_a_webhook_that_is_down_is_an_error() -> None:
    with pytest.raises(AlertNotPosted):
        post_alert(f"https://127.0.0.1:{free_port()}/", MISSING, NOW, attempts=2, sleep=lambda _: None)


def test_a_refused_address_is_not_tried_again(webhook: Webhook) -> None:
    webhook.answers = [404]

    with pytest.raises(Unusable, match="answers 404"):
        post_alert(webhook.url, MISSING, NOW, sleep=lambda _: None)

    assert webhook.answers == []
    assert webhook.taken == []


def test_a_redirect_is_no_success_and_is_not_followed(webhook: Webhook) -> None:
    webhook.answers = [302]

    with pytest.raises(Unusable, match="answers 302"):
        post_alert(webhook.url, MISSING, NOW, sleep=lambda _: None)

    assert webhook.asked == 1


@pytest.mark.parametrize("flaw", [" ", "\n", "\u00e9", "\x7f"])
def test_an_address_that_was_stored_wrongly_is_refused_without_being_told(webhook: Webhook, flaw: str) -> None:
    with pytest.raises(Unusable, match="holds a space") as caught:
        post_alert(f"{webhook.url}{flaw}x", MISSING, NOW, sleep=lambda _: None)

    assert "secret-path" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://[::1/secret",
        "https://example.com:x/secret",
        "http://example.com/",
        "http://127.0.0.1/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "",
    ],
)
def test_alerts_go_over_https_only(url: str) -> None:
    with pytest.raises(Unusable, match="https"):
        post_alert(url, MISSING, NOW)


def test_alert_links_to_the_page_of_its_batch(monkeypatch: pytest.MonkeyPatch, webhook: Webhook) -> None:
    monkeypatch.setenv("MONITOR", "on")
    monkeypatch.setenv("WEBSITE_HOSTNAME", "func.example")
    assert page_of(MISSING).startswith("https://func.example/api/monitor")
    monkeypatch.setenv("PUBLIC_URL", "https://sealift.example/")
    page = page_of(replace(MISSING, batch="northwind.accruals.2026-11-21.1"))
    assert page == "https://sealift.example/api/monitor/batch/northwind.accruals.2026-11-21.1"

    post_alert(webhook.url, MISSING, NOW, page=page)

    (alert,) = webhook.taken
    assert alert["page"] == page
    assert page in alert["text"]
    monkeypatch.delenv("MONITOR")
    assert page_of(MISSING) == ""
