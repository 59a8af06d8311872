"""The route `function`: the function delivers, Data Factory waits."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest
import requests
from nights import NIGHT, at_partner, failed, run_batch

from adf_runner import PipelineRun
from cli.demo import Result
from cli.run import raise_if_failed
from local.partner import expected_file
from local.sftp import SftpFaults
from local.stack import ROOT, Stack


def run_purchases(stack: Stack, day: date) -> PipelineRun:
    return run_batch(stack, day, partner="cedarway", feed="purchases")


def purchases_complete(stack: Stack, day: date, tmp_path: Path) -> None:
    raise_if_failed(run_purchases(stack, day))
    batch = f"cedarway.purchases.{day}.1"
    partner = stack.partners["cedarway"]
    (opened,) = partner.open_batch(batch, stack.verification_certificate(), tmp_path / "opened")
    assert opened.sha256 == expected_file(stack.postgres.dsn(), "cedarway", "purchases", day)[1]
    final = [name for name in at_partner(stack, day, "cedarway") if not name.endswith(".uploading")]
    assert len(final) == 5, final


def test_function_delivers_while_data_factory_waits(stack: Stack, night: Result) -> None:
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
) -> None:
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


def test_connection_cut_in_the_middle_is_no_failure_at_all(stack: Stack, night: Result, tmp_path: Path) -> None:
    server = stack.partners["cedarway"].server
    server.set_faults(SftpFaults(drop_after_bytes=1500, drops=2))
    try:
        purchases_complete(stack, date(2026, 11, 18), tmp_path)
    finally:
        server.set_faults(None)


def test_functions_delivery_asked_for_twice_at_the_same_time_sends_each_file_once(
    stack: Stack, night: Result, tmp_path: Path
) -> None:
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


def test_partner_opens_detached_files_with_stock_openssl(stack: Stack, night: Result, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on this machine")
    partner = stack.partners["cedarway"]
    script = ROOT / "partner_kit" / "open-detached.sh"
    manifest = partner.inbox / "cedarway.purchases.2026-11-21.1.manifest.json"

    done = subprocess.run(
        [
            "sh",
            str(script),
            str(manifest),
            str(partner.folder / "cedarway.key"),
            str(partner.folder / "sealift.pem"),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    content = (tmp_path / "cedarway_2026-11-21_00001.csv").read_bytes()
    _, expected = expected_file(stack.postgres.dsn(), "cedarway", "purchases", NIGHT)
    assert hashlib.sha256(content).hexdigest() == expected
