"""Which feeds are due in a window, which wait for dbt, and when dbt is to run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient, ContainerClient
from batch_world import World

import batches
from batches import Context, InvalidRequest, expecting
from dbt_runner.verdicts import merged
from local.azurite import Azurite
from partners import load_partners, loading

NIGHT = datetime(2026, 11, 22, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
MART, TOTALS, OTHER = (
    "model.sealift.partner_daily_accruals",
    "model.sealift.partner_batch_totals",
    "model.sealift.other",
)
STAGED = "model.sealift.stg_transactions"
UNIQUE = "test.sealift.unique_stg_transactions_id.0123456789"


def _model(node: str, *parents: str) -> dict[str, Any]:
    return {"schema": "marts", "alias": node.rpartition(".")[2], "depends_on": {"nodes": list(parents)}}


MANIFEST = {
    "nodes": {
        STAGED: _model(STAGED, "source.sealift.loyalty.transactions"),
        MART: _model(MART, STAGED),
        TOTALS: _model(TOTALS, MART),
        OTHER: _model(OTHER),
        UNIQUE: {"depends_on": {"nodes": [STAGED]}},
    },
    "exposures": {"e": {"name": "northwind_accruals", "depends_on": {"nodes": [MART, TOTALS]}}},
}


class Dbt:
    """dbt's container: `ran` is one of its runs."""

    def __init__(self, container: ContainerClient) -> None:
        self.container = container
        self.verdicts: dict[str, Any] | None = None

    def ran(self, at: datetime, **statuses: str) -> None:
        nodes = {each.split(".")[2]: each for each in MANIFEST["nodes"]}
        results = [
            {"unique_id": node, "status": statuses.get(name, "pass" if node == UNIQUE else "success")}
            for name, node in nodes.items()
        ]
        started = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.verdicts = merged(self.verdicts, MANIFEST, results, run_id="r", started=started)
        self.container.upload_blob("state/verdicts.json", json.dumps(self.verdicts), overwrite=True)


@pytest.fixture(autouse=True)
def _two_partners(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two partners take part, however many the tests have files of."""
    folder = tmp_path_factory.mktemp("two")
    for name in ("northwind", "cedarway"):
        shutil.copy(loading.FOLDER / f"{name}.yaml", folder)
    monkeypatch.setattr(expecting, "load_partners", partial(load_partners, folder=folder))


@pytest.fixture
def dbt(world: World, azurite: Azurite) -> Iterator[Dbt]:
    with BlobServiceClient.from_connection_string(azurite.connection_string("sealiftencrypted")) as account:
        yield Dbt(account.create_container(f"dbt-{world.stores.batches.container_name}"))


def context(world: World, dbt: Dbt | None = None, **changes: Any) -> Context:
    stores = dataclasses.replace(world.stores, dbt=dbt.container if dbt else None)
    return dataclasses.replace(world.at(NIGHT, **changes), stores=stores)


def feeds(answer: dict[str, Any], key: str = "feeds") -> list[str]:
    return [each["feed"] for each in answer[key]]


def test_feeds_are_due_in_the_window_that_their_run_ends(world: World) -> None:
    due = batches.feeds_due(context(world), NIGHT - HOUR, NIGHT)

    assert due["feeds"] == [
        {
            "partner": "cedarway",
            "feed": "purchases",
            "windowStart": "2026-11-20T22:00:00+00:00",
            "windowEnd": "2026-11-21T22:00:00+00:00",
            "batch": "cedarway.purchases.2026-11-21.1",
            "at": "2026-11-22T02:00:00+00:00",
        },
        {
            "partner": "northwind",
            "feed": "accruals",
            "windowStart": "2026-11-21T00:00:00+00:00",
            "windowEnd": "2026-11-22T00:00:00+00:00",
            "batch": "northwind.accruals.2026-11-21.1",
            "at": "2026-11-22T02:00:00+00:00",
        },
    ]
    assert (due["waiting"], due["held"], due["build"]) == ([], "", False)


def test_window_before_their_time_has_none(world: World) -> None:
    world.plan(NIGHT.replace(day=20, hour=0))
    before = batches.feeds_due(context(world), NIGHT - 2 * HOUR, NIGHT - HOUR)

    assert "northwind.accruals.2026-11-20.1" not in [each["batch"] for each in before["feeds"]]
    assert all(each["at"] <= "2026-11-21T02:00:00+00:00" for each in before["feeds"])


def test_closed_business_date_is_not_due(world: World) -> None:
    christmas = datetime(2026, 12, 26, 2, tzinfo=UTC)
    world.plan(datetime(2026, 12, 23, tzinfo=UTC), now=christmas)

    assert feeds(batches.feeds_due(context(world), christmas - HOUR, christmas)) == ["purchases"]


def test_wrong_file_of_one_partner_is_told_and_plans_the_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    due = batches.feeds_due(context(world, sftp={"cedarway": {"port": 0}}), NIGHT - HOUR, NIGHT)

    assert [(each["partner"], each["feed"]) for each in due["feeds"]] == [
        ("northwind", "accruals"),
        ("cedarway", "unreadable"),
    ]
    assert "partner.invalid" in caplog.text
    assert "cedarway.yaml:9: sftp.port" in caplog.text


def test_dbt_is_to_run_once_a_night_and_feeds_wait_until_it_has(world: World, dbt: Dbt) -> None:
    first = batches.feeds_due(context(world, dbt), NIGHT - HOUR, NIGHT)
    dbt.ran(NIGHT)
    second = batches.feeds_due(context(world, dbt), NIGHT - HOUR, NIGHT)
    next_night = batches.feeds_due(context(world, dbt), NIGHT + 23 * HOUR, NIGHT + 24 * HOUR)

    assert (first["build"], feeds(first), feeds(first, "waiting")) == (True, [], ["purchases", "accruals"])
    assert (second["build"], feeds(second), second["held"]) == (False, ["purchases", "accruals"], "")
    assert (next_night["build"], feeds(next_night)) == (True, [])
    assert "dbt has not built marts.partner_daily_accruals since 2026-11-23 00:00 UTC" in next_night["held"]


def test_feed_of_another_database_waits_for_no_dbt(world: World, dbt: Dbt, tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("northwind", "cedarway"):
        text = (loading.FOLDER / f"{name}.yaml").read_text()
        (tmp_path / f"{name}.yaml").write_text(
            text.replace("    table: ", "    source: shop\n    table: ", 1) if name == "cedarway" else text
        )
    (tmp_path / "sources.yaml").write_text("shop: {kind: azure-sql, server: shop.example, database: shop}\n")
    monkeypatch.setattr(expecting, "load_partners", partial(load_partners, folder=tmp_path))

    due = batches.feeds_due(context(world, dbt), NIGHT - HOUR, NIGHT)

    assert (feeds(due), feeds(due, "waiting")) == (["purchases"], ["accruals"])


def test_red_model_holds_back_only_the_feeds_below_it(world: World, dbt: Dbt) -> None:
    dbt.ran(NIGHT, other="error")
    green = batches.feeds_due(context(world, dbt), NIGHT - HOUR, NIGHT)
    dbt.ran(NIGHT, partner_batch_totals="error")
    totals = batches.feeds_due(context(world, dbt), NIGHT - HOUR, NIGHT)
    dbt.ran(NIGHT, unique_stg_transactions_id="fail", partner_daily_accruals="skipped", partner_batch_totals="skipped")
    test = batches.feeds_due(context(world, dbt), NIGHT - HOUR, NIGHT)

    assert (feeds(green), green["held"]) == (["purchases", "accruals"], "")
    assert totals["held"] == (
        "cedarway purchases waits: partner_batch_totals did not pass; "
        "northwind accruals waits: partner_batch_totals did not pass"
    )
    assert "northwind accruals waits: unique_stg_transactions_id did not pass" in test["held"]
    assert (test["build"], feeds(test)) == (False, [])


def test_held_feed_goes_out_in_the_first_window_after_its_models_are_green(world: World, dbt: Dbt) -> None:
    dbt.ran(NIGHT, partner_batch_totals="error")
    held = batches.feeds_due(context(world, dbt), NIGHT, NIGHT + HOUR)
    dbt.ran(NIGHT + 2 * HOUR)
    later = batches.feeds_due(context(world, dbt), NIGHT + 2 * HOUR, NIGHT + 3 * HOUR)
    world.plan(now=NIGHT + 3 * HOUR)
    after = batches.feeds_due(context(world, dbt), NIGHT + 3 * HOUR, NIGHT + 4 * HOUR)

    assert (feeds(held), feeds(held, "waiting")) == ([], ["purchases", "accruals"])
    assert feeds(later) == ["purchases", "accruals"]
    assert feeds(after) == ["purchases"]


@pytest.mark.parametrize("end", [NIGHT - HOUR, NIGHT - 2 * HOUR, NIGHT + timedelta(days=3)])
def test_window_that_is_none_is_refused(world: World, end: datetime) -> None:
    with pytest.raises(InvalidRequest, match="at most two days"):
        batches.feeds_due(context(world), NIGHT - HOUR, end)


def test_planned_batch_is_not_offered_again_with_or_without_its_mark(world: World) -> None:
    world.plan(now=NIGHT)
    marked = batches.feeds_due(context(world), NIGHT, NIGHT + HOUR)
    world.stores.batches.delete_blob("_planned/2026-11-21/northwind.accruals.2026-11-21.1")
    unmarked = batches.feeds_due(context(world), NIGHT, NIGHT + HOUR)

    assert feeds(marked) == feeds(unmarked) == ["purchases"]


def write_500_feeds(folder: Path) -> None:
    text = (loading.FOLDER / "northwind.yaml").read_text()
    head, _, feed = text.partition("feeds:\n  accruals:\n")
    for number in range(50):
        one = "".join(f"  f{n}:\n{feed.replace('NW_ACCRUALS', f'F{n}')}" for n in range(10))
        name = f"partner-{number}"
        (folder / f"{name}.yaml").write_text(head.replace("name: northwind", f"name: {name}") + "feeds:\n" + one)


def test_500_feeds_are_answered_with_a_few_requests(
    world: World, dbt: Dbt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_500_feeds(tmp_path)
    monkeypatch.setattr(expecting, "load_partners", partial(load_partners, folder=tmp_path))
    dbt.ran(NIGHT)
    asked = context(world, dbt)
    requests: list[str] = []
    send = RequestsTransport.send

    def counted(self: Any, request: Any, **options: Any) -> Any:
        requests.append(request.url)
        return send(self, request, **options)

    monkeypatch.setattr(RequestsTransport, "send", counted)

    due = batches.feeds_due(asked, NIGHT - HOUR, NIGHT)
    of_the_window = len(requests)
    for each in due["feeds"][:-1]:
        world.stores.batches.upload_blob(f"_planned/2026-11-21/{each['batch']}", b"")
    requests.clear()
    again = batches.feeds_due(asked, NIGHT, NIGHT + HOUR)  # which of them has nobody planned?

    assert len(due["feeds"]) == 500
    assert [each["batch"] for each in again["feeds"]] == [due["feeds"][-1]["batch"]]
    assert (of_the_window, len(requests)) < (20, 20), requests[:5]
