"""The demo's own steps, and what a night can go wrong with: every failure is red, tells why, leaves nothing half done at the
partner, and running again after the mend completes it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from local.census import Canary, census
from local.demo import Result, deliver
from local.factory import Factory, PipelineRun, run_pipeline
from local.partner_side import expected_file, self_signed
from local.run import RunFailed, raise_if_failed
from local.services.sftp import SftpFaults
from local.stack import ROOT, Stack

pytestmark = pytest.mark.xdist_group("stack")

CANARY = "M-CANARY-7f3a9c51"
NIGHT = date(2026, 11, 21)


@pytest.fixture(scope="module")
def night(stack: Stack) -> Result:
    """One whole night, as the demo runs it."""
    return deliver(stack, 4000, days=9, canary=CANARY)


def window(day: date) -> dict[str, str]:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return {"windowStart": start.isoformat(), "windowEnd": (start + timedelta(days=1)).isoformat()}


def run(stack: Stack, pipeline: str, **parameters: Any) -> PipelineRun:
    return run_pipeline(Factory.load(ROOT / "adf"), pipeline, parameters, stack.connection().overrides())


def run_batch(stack: Stack, day: date, **changes: Any) -> PipelineRun:
    return run(stack, "deliver_batch", **{"partner": "northwind", "feed": "accruals", **window(day), **changes})


def status(stack: Stack, day: date) -> dict[str, Any]:
    answer = requests.get(
        f"{stack.function.url}/api/batches/northwind.accruals.{day}.1",
        headers={"x-functions-key": stack.function_key},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def at_partner(stack: Stack, day: date, partner: str = "northwind") -> list[str]:
    """Return what a partner sees of a business date, under final or any other names."""
    compact = f"{day:%Y%m%d}"
    return sorted(
        path.name
        for path in stack.partners["northwind"].inbox.rglob("*")
        if compact in path.name or str(day) in path.name
    )


def writes(stack: Stack) -> list[dict[str, Any]]:
    """Return everything that changed the partner's server so far."""
    return [
        entry
        for entry in stack.partners["northwind"].server.operations()
        if entry["operation"] not in ("login", "stat", "list")
    ]


def failed(run: PipelineRun) -> str:
    """Return why a run is red, in the words a person would read."""
    assert run.status == "Failed"
    with pytest.raises(RunFailed) as caught:
        raise_if_failed(run)
    return f"{caught.value} {run.message}"


def completes_after_the_mend(stack: Stack, day: date, tmp_path: Path) -> None:
    raise_if_failed(run_batch(stack, day))
    assert status(stack, day)["state"] == "delivered"
    assert len(at_partner(stack, day)) == 4
    partner = stack.partners["northwind"]
    (opened,) = partner.open_batch(f"northwind.accruals.{day}.1", stack.verification_certificate(), tmp_path / "opened")
    assert (opened.rows, opened.sha256) == expected_file(stack.postgres.dsn(), "northwind", day)


# The main job


def test_partner_holds_exactly_the_rows_of_the_mart(stack: Stack, night: Result):
    assert night.run.succeeded
    assert {one.partner for one in night.delivered} == {"northwind", "cedarway"}
    assert all(one.opened.rows > 100 for one in night.delivered)
    assert at_partner(stack, NIGHT) == sorted(
        [
            "NW_ACCRUALS_20261121_000001.txt.sealed",
            "northwind.accruals.2026-11-21.1.keys.json",
            "northwind.accruals.2026-11-21.1.manifest.json",
            "northwind.accruals.2026-11-21.1.manifest.json.sig",
        ]
    )


def test_manifest_is_the_last_that_arrives(stack: Stack, night: Result):
    arrived = [
        entry["to"] for entry in stack.partners["northwind"].server.operations() if entry["operation"] == "posix_rename"
    ]

    assert arrived[3] == "/inbox/northwind.accruals.2026-11-21.1.manifest.json"
    assert sorted(arrived[:4]) == [f"/inbox/{name}" for name in at_partner(stack, NIGHT)]


def test_canary_row_is_nowhere_but_with_the_partner(stack: Stack, night: Result, tmp_path: Path):
    (northwind,) = [one for one in night.delivered if one.partner == "northwind"]
    opened = stack.partners["northwind"].folder / "opened" / northwind.opened.name
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
    places["Azurite's log"] = stack.azurite.log.read_bytes() if stack.azurite.log.exists() else b""

    assert len(places) > 15
    assert [place for place, content in places.items() if CANARY.encode() in content] == []
    assert not [name for name in places if name.startswith("raw/")]


def test_census_looks_everywhere_and_finds_nothing(stack: Stack, night: Result):
    limits = {"older_than": timedelta(hours=1), "now": datetime.now(UTC)}

    items = list(census(stack.connection().accounts, [stack.folder], Canary(CANARY), **limits))

    assert [item for item in items if item.finding] == []
    places = {item.place for item in items}
    assert places >= {"container encrypted", "container batches", "container dbt", "queue seal", "queue deliver-poison"}
    assert {place.rpartition("/")[2] for place in places} >= {"function", "sftp", "vault"}


def test_certificates_are_read_in_the_sealing_worker_and_at_no_other_time(stack: Stack, night: Result):
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


def test_data_factory_may_not_read_certificates(stack: Stack, night: Result):
    denied = [entry for entry in stack.vault.requests() if entry["principal"] == "data-factory"]

    assert denied
    assert not [entry for entry in denied if "certificate" in entry["path"] or "/keys/" in entry["path"]]


def test_same_window_again_sends_nothing_and_says_so(stack: Stack, night: Result):
    before = writes(stack)

    again = run(stack, "nightly", **window(NIGHT))

    raise_if_failed(again)
    assert "nothing was sent" in again.find("Deliver").output["pipelineReturnValue"]["outcome"]
    assert writes(stack) == before


def test_next_window_takes_the_next_number(stack: Stack, night: Result, tmp_path: Path):
    day = date(2026, 11, 20)

    completes_after_the_mend(stack, day, tmp_path)

    assert "NW_ACCRUALS_20261120_000002.txt.sealed" in at_partner(stack, day)


def test_a_run_leaves_the_pipelines_untouched(repository: Path, night: Result):
    text = {path: path.read_bytes() for path in (repository / "adf").rglob("*.json")}

    Factory.load(repository / "adf")

    assert {path: path.read_bytes() for path in (repository / "adf").rglob("*.json")} == text


# What goes wrong


def test_missing_table(stack: Stack, night: Result, tmp_path: Path):
    day = date(2026, 11, 19)
    with psycopg.connect(stack.postgres.dsn(), autocommit=True) as connection:
        connection.execute("ALTER TABLE marts.partner_daily_accruals RENAME TO hidden")

        why = failed(run_batch(stack, day))

        assert "Extract" in why
        assert "partner_daily_accruals" in why
        assert status(stack, day)["state"] == "failed"
        assert "partner_daily_accruals" in status(stack, day)["failure"]["cause"]
        assert at_partner(stack, day) == []
        connection.execute("ALTER TABLE marts.hidden RENAME TO partner_daily_accruals")
    completes_after_the_mend(stack, day, tmp_path)


def test_unknown_partner(stack: Stack, night: Result):
    why = failed(run_batch(stack, NIGHT, partner="southwind"))

    assert "southwind" in why
    assert "northwind" in why, "the mend names the partners that there are"


def test_expired_certificate(stack: Stack, night: Result, tmp_path: Path):
    day = date(2026, 11, 18)
    now = datetime.now(UTC)
    stack.set_partner_certificate(
        "northwind",
        self_signed(stack.partners["northwind"].key, "N", starts=now - timedelta(days=9), ends=now - timedelta(days=1)),
    )
    try:
        why = failed(run_batch(stack, day))
    finally:
        stack.set_partner_certificate("northwind", self_signed(stack.partners["northwind"].key, "Northwind Rewards"))

    assert "ended" in why
    assert status(stack, day)["failure"]["step"] == "seal"
    assert "certificate" in status(stack, day)["failure"]["hint"]
    assert at_partner(stack, day) == []
    completes_after_the_mend(stack, day, tmp_path)


@pytest.fixture
def other_host_key(stack: Stack) -> Iterator[None]:
    """The partner's file pins a key that the server does not have."""
    addresses = stack.function.environment["PARTNER_SFTP"]
    wrong = json.loads(addresses)
    del wrong["northwind"]["host_keys"]
    stack.function.stop()
    stack.function.environment["PARTNER_SFTP"] = json.dumps(wrong)
    stack.function.start()
    yield
    stack.function.stop()
    stack.function.environment["PARTNER_SFTP"] = addresses
    stack.function.start()


def test_wrong_host_key(stack: Stack, night: Result, tmp_path: Path, request: pytest.FixtureRequest):
    day = date(2026, 11, 17)
    restore = request.getfixturevalue("other_host_key")
    logins = [entry for entry in stack.partners["northwind"].server.operations() if entry["operation"] == "login"]

    why = failed(run_batch(stack, day))

    assert restore is None
    assert "host key" in why
    assert status(stack, day)["state"] == "failed"
    assert [
        entry for entry in stack.partners["northwind"].server.operations() if entry["operation"] == "login"
    ] == logins
    assert at_partner(stack, day) == []


def test_wrong_host_key_is_mended_by_the_right_pin(stack: Stack, night: Result, tmp_path: Path):
    completes_after_the_mend(stack, date(2026, 11, 17), tmp_path)


def test_full_server(stack: Stack, night: Result, tmp_path: Path):
    day = date(2026, 11, 16)
    stack.partners["northwind"].server.set_faults(SftpFaults(full_after_bytes=2000))
    try:
        why = failed(run_batch(stack, day))
    finally:
        stack.partners["northwind"].server.set_faults(None)

    assert "Send" in why
    assert status(stack, day)["state"] == "failed"
    assert [name for name in at_partner(stack, day) if ".keys.json" not in name and not name.endswith(".sig")] == []
    completes_after_the_mend(stack, day, tmp_path)


def test_unreachable_server(stack: Stack, night: Result, tmp_path: Path):
    day = date(2026, 11, 15)
    stack.partners["northwind"].server.stop()
    try:
        why = failed(run_batch(stack, day))
    finally:
        stack.partners["northwind"].server.start()

    assert "127.0.0.1" in why
    assert status(stack, day)["state"] == "failed"
    completes_after_the_mend(stack, day, tmp_path)


def test_failing_dbt_test_turns_the_night_red_before_anything_is_planned(stack: Stack, night: Result):
    day = date(2026, 11, 14)
    with psycopg.connect(stack.postgres.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE loyalty.kept AS SELECT * FROM loyalty.transactions")
        connection.execute("ALTER TABLE loyalty.transactions DROP CONSTRAINT IF EXISTS transactions_pkey CASCADE")
        connection.execute("INSERT INTO loyalty.transactions SELECT * FROM loyalty.kept LIMIT 3")
        try:
            why = failed(run(stack, "nightly", **window(day)))
        finally:
            connection.execute("TRUNCATE loyalty.transactions")
            connection.execute("INSERT INTO loyalty.transactions SELECT * FROM loyalty.kept")
            connection.execute("DROP TABLE loyalty.kept")

    assert "dbt: 1 of" in why
    assert CANARY not in why
    assert at_partner(stack, day) == []


# The route `function`


def run_purchases(stack: Stack, day: date) -> PipelineRun:
    return run_batch(stack, day, partner="cedarway", feed="purchases")


def purchases_complete(stack: Stack, day: date, tmp_path: Path) -> None:
    raise_if_failed(run_purchases(stack, day))
    batch = f"cedarway.purchases.{day}.1"
    partner = stack.partners["cedarway"]
    (opened,) = partner.open_batch(batch, stack.verification_certificate(), tmp_path / "opened")
    assert (opened.rows, opened.sha256) == expected_file(stack.postgres.dsn(), "cedarway", day)
    final = [name for name in at_partner(stack, day, "cedarway") if not name.endswith(".uploading")]
    assert len(final) == 5, final


def test_function_delivers_while_data_factory_waits(stack: Stack, night: Result):
    names = at_partner(stack, NIGHT, "cedarway")

    assert names == sorted(
        [
            "cedarway_2026-11-21_00001.csv.enc",
            "cedarway_2026-11-21_00001.csv.key",
            "cedarway.purchases.2026-11-21.1.keys.json",
            "cedarway.purchases.2026-11-21.1.manifest.json",
            "cedarway.purchases.2026-11-21.1.manifest.json.sig",
        ]
    )


def test_full_server_makes_the_functions_delivery_red_and_the_mend_completes_it(
    stack: Stack, night: Result, tmp_path: Path
):
    day = date(2026, 11, 19)
    server = stack.partners["cedarway"].server
    server.set_faults(SftpFaults(full_after_bytes=2000))
    try:
        why = failed(run_purchases(stack, day))
    finally:
        server.set_faults(None)

    assert "space" in why or "full" in why
    assert not [name for name in at_partner(stack, day, "cedarway") if name.endswith((".enc", ".manifest.json"))]
    purchases_complete(stack, day, tmp_path)


def test_connection_cut_in_the_middle_is_no_failure_at_all(stack: Stack, night: Result, tmp_path: Path):
    server = stack.partners["cedarway"].server
    server.set_faults(SftpFaults(drop_after_bytes=1500, drops=2))
    try:
        purchases_complete(stack, date(2026, 11, 18), tmp_path)
    finally:
        server.set_faults(None)


def test_functions_delivery_asked_for_twice_at_the_same_time_sends_each_file_once(
    stack: Stack, night: Result, tmp_path: Path
):
    day = date(2026, 11, 17)
    url = f"{stack.function.url}/api/batches/cedarway.purchases.{day}.1"
    server = stack.partners["cedarway"].server
    before = len(server.operations())
    server.set_faults(SftpFaults(refuse_rename=True))
    try:
        failed(run_purchases(stack, day))
    finally:
        server.set_faults(None)

    for _ in range(3):
        answer = requests.post(f"{url}/deliver", headers={"x-functions-key": stack.function_key}, timeout=10)
        assert answer.status_code == 202
    purchases_complete(stack, day, tmp_path)

    given = [entry["to"] for entry in server.operations()[before:] if "to" in entry and entry["status"] == "ok"]
    assert len(given) == len(set(given)) == 5


def test_partner_opens_detached_files_with_stock_openssl(stack: Stack, night: Result, tmp_path: Path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on this machine")
    partner = stack.partners["cedarway"]
    script = ROOT / "partner_kit" / "open-detached.sh"
    manifest = partner.inbox / "cedarway.purchases.2026-11-21.1.manifest.json"

    done = subprocess.run(
        ["sh", str(script), str(manifest), str(partner.folder / "cedarway.key"), str(partner.folder / "sealift.pem"), str(tmp_path)],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    content = (tmp_path / "cedarway_2026-11-21_00001.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == expected_file(stack.postgres.dsn(), "cedarway", NIGHT)[1]
