"""Route `adf` and a partner that takes files away at once, or has a file of our name: what was sent is sent once."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from nights import at_partner, failed, kill_run, replay, run_batch, status

from cli.demo import Result
from cli.run import raise_if_failed
from local.sftp import SftpFaults
from local.stack import Stack


@pytest.fixture
def sweeping(stack: Stack, night: Result) -> Iterator[Stack]:
    server = stack.partners["northwind"].server
    server.set_faults(SftpFaults(sweep=True))
    yield stack
    server.set_faults(None)


@pytest.fixture
def unconfirmed(stack: Stack, night: Result, tmp_path: Path) -> Iterator[Stack]:
    """The partner file says that the partner takes files away at once."""
    before = stack.function.environment["PARTNERS_FOLDER"]
    shutil.copytree(before, tmp_path / "partners")
    partner = tmp_path / "partners" / "northwind.yaml"
    partner.write_text(partner.read_text().replace("sftp:\n", "delivery:\n  confirm: false\nsftp:\n", 1))
    read_partners_from(stack, str(tmp_path / "partners"))
    yield stack
    read_partners_from(stack, before)


def read_partners_from(stack: Stack, folder: str) -> None:
    stack.function.stop()
    stack.function.environment["PARTNERS_FOLDER"] = folder
    stack.function.start()


def sent(stack: Stack, day: date) -> Counter[str]:
    """Return how often each file of a day was given its final name."""
    entries = stack.partners["northwind"].server.operations()
    names = [entry["to"] for entry in entries if entry["operation"].endswith("rename") and entry["status"] == "ok"]
    return Counter(name for name in names if f"{day:%Y%m%d}" in name or str(day) in name)


def test_partner_that_sweeps_gets_a_green_run_and_each_file_once(sweeping: Stack, unconfirmed: Stack) -> None:
    day = date(2026, 11, 19)

    raise_if_failed(run_batch(sweeping, day))

    assert status(sweeping, day)["state"] == "delivered"
    assert list(sent(sweeping, day).values()) == [1, 1, 1, 1]
    assert at_partner(sweeping, day) == []


def test_sweep_that_no_rule_allows_is_red_with_the_rule_and_no_file_is_sent_twice(sweeping: Stack) -> None:
    day = date(2026, 11, 18)

    for _ in range(3):
        why = failed(run_batch(sweeping, day))
        assert "was sent whole, and is no longer at the partner" in why
        assert "confirm: false" in why

    assert list(sent(sweeping, day).values()) == [1, 1, 1], "the manifest waits for the files before it"
    assert "confirm: false" in status(sweeping, day)["failure"]["cause"]


def test_rule_that_comes_later_completes_the_batch_without_sending_again(sweeping: Stack, unconfirmed: Stack) -> None:
    day = date(2026, 11, 18)

    raise_if_failed(run_batch(sweeping, day))

    assert list(sent(sweeping, day).values()) == [1, 1, 1, 1]


def test_foreign_file_of_our_name_and_size_never_counts_as_delivered(stack: Stack, night: Result) -> None:
    day = date(2026, 11, 17)
    kill_run(stack, day, "Begin", "start")  # sealed, and no attempt at keys.json was made
    replay(stack, day)
    blob = f"northwind/accruals/{day}.1/keys.json"
    size = stack.container("encrypted").get_blob_client(blob).get_blob_properties().size
    foreign = stack.partners["northwind"].inbox / f"northwind.accruals.{day}.1.keys.json"
    foreign.write_bytes(b"x" * size)

    why = failed(run_batch(stack, day))

    assert f"{foreign.name} was at the partner before we sent it" in why
    assert status(stack, day)["state"] == "failed"
    assert foreign.read_bytes() == b"x" * size, "it is never overwritten"
    foreign.unlink()
    raise_if_failed(run_batch(stack, day))
    assert set(sent(stack, day).values()) == {1}
