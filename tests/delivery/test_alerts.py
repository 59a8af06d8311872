"""An alert is posted until somebody took it, and never called sent when nobody did."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from delivery_servers import free_port

from delivery import AlertNotPosted, Calendar, Expectation, Unusable, judge_feed, post_alert

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
EXPECTED = Expectation(
    partner="northwind", feed="accruals", time_zone="Europe/London", deadline=time(6), calendar=Calendar()
)
MISSING = judge_feed(EXPECTED, date(2026, 11, 23), NOW)


class Webhook:
    def __init__(self) -> None:
        self.answers: list[int] = []
        self.taken: list[dict[str, Any]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = webhook.answers.pop(0) if webhook.answers else 200
                if status == 200:
                    webhook.taken.append(json.loads(body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/secret-path"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    started = Webhook()
    yield started
    started.stop()


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
        post_alert(f"http://127.0.0.1:{free_port()}/", MISSING, NOW, attempts=2, sleep=lambda _: None)


def test_a_refused_address_is_not_tried_again(webhook: Webhook) -> None:
    webhook.answers = [404]

    with pytest.raises(Unusable, match="answers 404"):
        post_alert(webhook.url, MISSING, NOW, sleep=lambda _: None)

    assert webhook.answers == []
    assert webhook.taken == []


@pytest.mark.parametrize("url", ["http://example.com/", "ftp://example.com/", "file:///etc/passwd", ""])
def test_alerts_go_over_https_only(url: str) -> None:
    with pytest.raises(Unusable, match="https"):
        post_alert(url, MISSING, NOW)
