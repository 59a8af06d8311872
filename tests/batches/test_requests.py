"""How often storage is asked: a control plane that looks at every feed must not ask more as days and files grow."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from azure.core.pipeline.transport import RequestsTransport
from batch_world import START, World

import batches
from batches import Context
from batches.failing import record_failure
from batches.purging import FEW, purge
from partners import Partner, load_partners

DAYS = 5


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request that the SDK sends while the test runs."""
    sent: list[str] = []
    send = RequestsTransport.send

    def count(self: RequestsTransport, request: object, **options: object) -> object:
        sent.append(f"{request.method} {request.url}")  # type: ignore[attr-defined]
        return send(self, request, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(RequestsTransport, "send", count)
    return sent


def delivered_days(world: World) -> datetime:
    """Deliver a batch for each of some days; return the noon after the last."""
    for day in range(DAYS):
        record = world.plan(START + timedelta(days=day))
        world.stage(record)
        world.request(record)
        world.work()
        files = batches.remote_files(world.context, record)
        night = START + timedelta(days=day + 1, hours=3)
        batches.confirm(world.at(night), record, expected=files, arrived={file.to: file.bytes for file in files})
    return START + timedelta(days=DAYS, hours=4)


def northwind() -> list[Partner]:
    return [partner for partner in load_partners() if partner.name == "northwind"]


def test_standings_of_a_feed_take_one_request_whatever_was_delivered(world: World, asked: list[str]) -> None:
    now = delivered_days(world)
    context: Context = world.at(now)
    asked.clear()

    found = batches.read_standings(context, northwind())

    assert sum(standing.state == "delivered" for standing in found) == DAYS
    assert [each for each in asked if "dbt" not in each] == [each for each in asked if "recent" in each]
    assert len(asked) <= 2


def test_batch_that_failed_is_looked_at_more_closely(world: World, asked: list[str]) -> None:
    record = world.plan()
    record_failure(world.context, record.batch, step="seal", cause="the vault did not answer", hint="wait")

    found = batches.read_standings(world.at(START + timedelta(days=1, hours=3)), northwind())

    assert [standing.reason for standing in found if standing.state == "failed"] == ["the vault did not answer"]
    assert asked


def test_list_of_the_newest_batches_lists_no_feed(world: World, asked: list[str]) -> None:
    delivered_days(world)
    asked.clear()

    found = batches.list_batches(world.context, batches.Wanted(), limit=3)

    assert [each["batch"].split(".")[2] for each in found] == ["2026-11-25", "2026-11-24", "2026-11-23"]
    listings = [each for each in asked if "comp=list" in each]
    assert len(listings) == 1
    assert "_recent" in listings[0]


def test_list_that_wants_more_than_is_written_down_looks_at_all(world: World) -> None:
    delivered_days(world)

    assert len(batches.list_batches(world.context, batches.Wanted(), limit=20)) == DAYS


def test_plaintext_of_many_files_is_purged_by_few_requests(world: World, asked: list[str]) -> None:
    record = world.plan()
    for number in range(300):
        world.stores.raw.upload_blob(f"{record.batch.folder}/{number}.txt", b"x")
    asked.clear()

    purge(world.context, record)

    assert list(world.stores.raw.list_blob_names()) == []
    assert len(asked) < 20
    assert FEW < 300
