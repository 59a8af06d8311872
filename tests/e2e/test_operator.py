"""The operator's way through the whole system: the same bytes again by Data Factory, and a batch that goes on after a failure."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from nights import at_partner, completes_after_the_fix, failed, run_batch, status, writes

from cli.batch import main
from cli.demo import Result
from cli.run import raise_if_failed
from local.sftp import SftpFaults
from local.stack import Stack


@pytest.fixture
def app(stack: Stack, night: Result, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("SEALIFT_URL", stack.function.url)
    monkeypatch.setenv("SEALIFT_KEY", stack.function_key)
    return stack


def test_swept_batch_is_sent_again_byte_for_byte(app: Stack, tmp_path: Path) -> None:
    day = date(2026, 11, 13)
    completes_after_the_fix(app, day, tmp_path / "first")
    inbox = app.partners["northwind"].inbox
    swept = {name: (inbox / name).read_bytes() for name in at_partner(app, day)}
    for name in swept:
        (inbox / name).unlink()
    batch = f"northwind.accruals.{day}.1"

    assert main(["resend", batch, "--reason", "the partner's disk died"]) == 0
    run = run_batch(app, day)

    raise_if_failed(run)
    assert "Extract" not in [activity.name for activity in run.walk()], "nothing is extracted again"
    assert {name: (inbox / name).read_bytes() for name in at_partner(app, day)} == swept
    assert status(app, day)["receipt"]["delivery"] == 2
    assert main(["verify", batch]) == 0


def test_resent_files_that_are_still_there_are_not_touched(app: Stack, tmp_path: Path) -> None:
    day = date(2026, 11, 13)
    before = writes(app)

    assert main(["resend", f"northwind.accruals.{day}.1", "--reason", "they asked, although it is there"]) == 0
    raise_if_failed(run_batch(app, day))

    assert writes(app) == before
    assert status(app, day)["receipt"]["delivery"] == 3


def test_replayed_batch_goes_on_from_delivery(app: Stack, tmp_path: Path) -> None:
    day = date(2026, 11, 14)
    app.partners["northwind"].server.set_faults(SftpFaults(full_after_bytes=2000))
    try:
        failed(run_batch(app, day))
    finally:
        app.partners["northwind"].server.set_faults(None)

    assert main(["replay", f"northwind.accruals.{day}.1", "--from", "deliver"]) == 0

    assert status(app, day)["state"] == "sealed"
    completes_after_the_fix(app, day, tmp_path)
