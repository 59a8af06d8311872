"""The main job: what the partner holds, what nobody else holds, and what a second run does."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import requests
from nights import CANARY, NIGHT, at_partner, completes_after_the_fix, hour, run, writes

from adf_runner import load_factory
from cli.census import NOT_OURS, Canary, census
from cli.demo import Result
from cli.run import raise_if_failed
from local.stack import Stack


def test_partner_holds_exactly_the_rows_of_the_mart(stack: Stack, night: Result) -> None:
    assert night.run.succeeded
    assert {one.partner for one in night.delivered} == {"northwind", "cedarway", "tidewater"}
    assert all(one.rows > 30 for one in night.delivered)
    assert at_partner(stack, NIGHT) == sorted(
        [
            "NW_ACCRUALS_20261121_000001.txt.sealed",
            "northwind.accruals.2026-11-21.1.keys.json",
            "northwind.accruals.2026-11-21.1.manifest.json",
            "northwind.accruals.2026-11-21.1.manifest.json.sig",
        ]
    )


def test_manifest_is_the_last_that_arrives(stack: Stack, night: Result) -> None:
    arrived = [
        entry["to"] for entry in stack.partners["northwind"].server.operations() if entry["operation"] == "posix_rename"
    ]

    assert arrived[3] == "/inbox/northwind.accruals.2026-11-21.1.manifest.json"
    assert sorted(arrived[:4]) == [f"/inbox/{name}" for name in at_partner(stack, NIGHT)]


def monitor_pages(stack: Stack) -> dict[str, bytes]:
    """Return every kind of the operators' page and its JSON twin, as the browser gets them."""
    batch = f"northwind.accruals.{NIGHT}.1"
    pages = {}
    today = datetime.now(UTC).date()  # the night ran by the machine's clock, perhaps from before midnight
    nights = [f"nights?date={day}" for day in (today, today - timedelta(days=1))]
    for path in ("", "batches", f"batch/{batch}", "partner/northwind", *nights):
        for form in ("html", "json"):
            answer = requests.get(
                f"{stack.function.url}/api/monitor/{path}",
                params={"code": stack.function_key, "format": form, "at": f"{NIGHT + timedelta(days=1)}T09:00:00Z"},
                timeout=60,
            )
            assert answer.status_code == 200, (path, answer.text)
            assert "northwind" in answer.text or path in nights, path
            pages[f"the monitor's {path or 'overview'} ({form})"] = answer.content
    assert any(b"northwind" in pages[f"the monitor's {path} (html)"] for path in nights)
    return pages


def test_canary_row_is_nowhere_but_with_the_partner(stack: Stack, night: Result, tmp_path: Path) -> None:
    (northwind,) = [one for one in night.delivered if one.partner == "northwind"]
    opened = stack.partners["northwind"].folder / "opened" / northwind.files[0].name
    assert CANARY in opened.read_text(), "the canary was planted in a row that is delivered"

    places: dict[str, bytes] = {"the run's record": json.dumps(night.run.to_json()).encode()}
    for name in ("raw", "encrypted", "batches", "dbt"):
        container = stack.container(name)
        for blob in container.list_blobs(include=["snapshots", "metadata"]):
            places[f"{name}/{blob.name}"] = container.download_blob(blob.name).readall() + repr(blob.metadata).encode()
    for path in stack.folder.rglob("*"):
        private = any(part in ("postgres", "azurite", "opened") for part in path.relative_to(stack.folder).parts)
        if path.is_file() and not private:
            places[str(path)] = path.read_bytes()
    places |= monitor_pages(stack)
    places["Azurite's log"] = stack.azurite.log.read_bytes() if stack.azurite.log.exists() else b""

    assert len(places) > 15
    assert [place for place, content in places.items() if CANARY.encode() in content] == []
    assert not [name for name in places if name.startswith("raw/")]


def test_census_looks_everywhere_and_finds_nothing(stack: Stack, night: Result) -> None:
    limits = {"older_than": timedelta(hours=1), "now": datetime.now(UTC)}

    items = list(census(stack.connection().accounts, [stack.folder], Canary(CANARY), **limits, skipped=NOT_OURS))

    assert [item for item in items if item.finding] == []
    places = {item.place for item in items}
    assert places >= {"container encrypted", "container batches", "container dbt", "queue seal", "queue deliver-poison"}
    assert {place.rpartition("/")[2] for place in places} >= {"function", "partners", "vault"}


def test_certificates_are_read_in_the_sealing_worker_and_at_no_other_time(stack: Stack, night: Result) -> None:
    monitor_pages(stack)  # they show when certificates expire, and read none
    reads = [
        entry for entry in stack.vault.requests() if "northwind-certificate" in entry["path"] and entry["status"] == 200
    ]
    events = [json.loads(line) for line in stack.function.log.read_text().splitlines()]
    sealing = [
        (event["time"], event["message"])
        for event in events
        if event.get("function") == "seal_worker" and "time" in event
    ]

    assert reads
    assert {entry["principal"] for entry in reads} == {"function-app"}
    begins = [moment for moment, message in sealing if message == "Executing"]
    ends = [moment for moment, message in sealing if message == "Executed"]
    for entry in reads:
        assert any(begin <= entry["time"] <= end for begin, end in zip(begins, ends, strict=True)), entry


def test_data_factory_may_not_read_certificates(stack: Stack, night: Result) -> None:
    denied = [entry for entry in stack.vault.requests() if entry["principal"] == "data-factory"]

    assert denied
    assert not [entry for entry in denied if "certificate" in entry["path"] or "/keys/" in entry["path"]]


def test_same_window_again_sends_nothing_and_says_so(stack: Stack, night: Result) -> None:
    before = writes(stack)

    again = run(stack, "nightly", **hour(NIGHT))

    raise_if_failed(again)
    outcome = again.find("Await").output["pipelineReturnValue"]["outcome"]
    assert "nothing was sent" in outcome or outcome.endswith("0 failed")
    assert writes(stack) == before


def test_next_window_takes_the_next_number(stack: Stack, night: Result, tmp_path: Path) -> None:
    day = date(2026, 11, 20)

    completes_after_the_fix(stack, day, tmp_path)

    assert "NW_ACCRUALS_20261120_000002.txt.sealed" in at_partner(stack, day)


def test_a_run_leaves_the_pipelines_untouched(repository: Path, night: Result) -> None:
    text = {path: path.read_bytes() for path in (repository / "adf").rglob("*.json")}

    load_factory(repository / "adf")

    assert {path: path.read_bytes() for path in (repository / "adf").rglob("*.json")} == text
