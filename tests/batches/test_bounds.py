"""Every field of the API has bounds: what is out of them is the caller's 422 with a hint, never a crash or a broken batch."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from app_world import App
from batch_world import DAY, NOW, World

import batches
from batches.record import shown

WINDOW = {"windowStart": "2026-11-21T00:00:00Z", "windowEnd": "2026-11-22T00:00:00Z"}
PLAN = {"partner": "northwind", "feed": "accruals", **WINDOW}
BATCH = "northwind.accruals.1999-01-01.1"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "batches", {**PLAN, "windowStart": "0001-01-01T00:00:00Z"}),
        ("POST", "batches", {**PLAN, "windowEnd": "9999-12-31T23:59:59Z"}),
        ("POST", "batches", {**PLAN, "windowStart": "1053-11-21T00:00:00Z"}),
        ("POST", "batches", {**PLAN, "windowStart": "1999-11-21T00:00:00Z"}),
        ("POST", "batches", {**PLAN, "partner": "north\x00wind"}),
        ("POST", "batches", {**PLAN, "revision": 10_000}),
        ("POST", "batches", {**PLAN, "force": "\x1b[2J why"}),
        ("POST", "batches", {**PLAN, "runId": "a\nb"}),
        ("POST", f"batches/{BATCH}/seal", {"rows": {"a.txt": -1}}),
        ("POST", f"batches/{BATCH}/seal", {"rows": {"a.txt": 2**53}}),
        ("POST", f"batches/{BATCH}/seal", {"rows": {"x" * 251: 1}}),
        ("POST", f"batches/{BATCH}/failed", {"cause": "x", "step": "s" * 51}),
        ("POST", f"batches/{BATCH}/failed", {"cause": "x" * 100_001}),
        ("POST", f"batches/{BATCH}/confirm", {"arrived": []}),
        ("POST", f"batches/{BATCH}/looked", {"file": "a", "bytes": -1}),
        ("POST", "await", {"batches": [BATCH], "since": "2026-11-21"}),
        ("POST", "await", {"batches": ["../x"], "since": "2026-11-21T00:00:00Z"}),
        ("POST", f"batches/{BATCH}/resend", {"who": "ana", "reason": "\x00\x00\x00"}),
        ("POST", f"batches/{BATCH}/replay", {"who": "a\x1b", "from": "seal"}),
        ("GET", "batches?limit=\u0663", None),
        ("GET", "batches?limit=1e3", None),
        ("GET", "batches?partner=%00", None),
        ("GET", "batches?partner=a/../b", None),
        ("GET", "batches?feed=%0a", None),
        ("GET", "feeds?windowStart=0001-01-01T00:00:00Z&windowEnd=2026-11-22T00:00:00Z", None),
        ("GET", "feeds?windowStart=2026-11-22T00:00:00Z&windowEnd=9999-12-31T23:59:59Z", None),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_a_hint(app: App, method: str, path: str, body: Any) -> None:
    answer = app.call(method, path, json=body)

    assert answer.status_code == 422, answer.text
    assert answer.json()["hint"]


def test_a_window_that_has_not_ended_is_not_planned_without_a_reason(world: World) -> None:
    tomorrow = NOW + timedelta(hours=1)

    with pytest.raises(batches.InvalidRequest, match="still to come") as caught:
        world.plan(tomorrow - DAY, window_end=tomorrow)

    assert "force" in caught.value.hint


def test_a_window_that_has_not_ended_is_planned_with_its_reason_on_record(world: World) -> None:
    start, end = NOW - DAY, NOW + timedelta(hours=1)

    record = batches.plan(world.context, "northwind", "accruals", batches.Window(start, end, force="a rehearsal"))

    entries = {entry["step"]: entry for entry in batches.history(world.context, record.batch)}
    assert entries["planned"]["details"]["force"] == "a rehearsal"


def test_a_window_of_years_is_refused_and_leaves_the_right_one_free(world: World) -> None:
    with pytest.raises(batches.InvalidRequest, match="longer than 366 days"):
        world.plan(window_end=NOW + timedelta(days=400))

    assert world.plan().sequence == 1


def test_a_cause_cannot_steer_the_terminal_of_who_reads_it(world: World) -> None:
    record = world.plan()

    batches.record_failure(
        world.context, record.batch, step="run", cause="\x1b]0;x\x07red\nand blue", hint="\x1b[2J look"
    )

    failure = world.status(record)["failure"]
    assert failure["cause"] == " ]0;x red and blue"
    assert failure["hint"] == " [2J look"
    assert shown("\u2028é漢") == " é漢"


def test_an_unreadable_batch_answers_by_the_document_and_hides_no_other(app: App) -> None:
    start = NOW - timedelta(days=300)
    broken, good = (app.plan((start + timedelta(days=day)).date())["batch"] for day in range(2))
    app.stores.batches.upload_blob(f"{batches.BatchId(broken).folder}/batch.json", b"null", overwrite=True)

    assert app.ok("GET", f"batches/{broken}")["state"] == "unreadable"
    listed = {each["batch"]: each["state"] for each in app.ok("GET", "batches?limit=500")["batches"]}
    assert (listed[broken], listed[good]) == ("unreadable", "planned")
    assert app.call("POST", f"batches/{broken}/seal", json={}).status_code == 409
    app.ok("GET", "standings")
