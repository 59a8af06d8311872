"""Two runs of one window at once, and a run that is killed: nothing is sent twice, nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest
import requests
from nights import kill_run, replay, run_batch

from adf_runner import PipelineRun
from cli.demo import Result, deliver
from cli.run import raise_if_failed
from local.partner import expected_file
from local.stack import Stack

PARTNERS = {"adf": ("northwind", "accruals"), "function": ("cedarway", "purchases")}
FEW = 2
FIRST = date(2026, 10, 1)


@pytest.fixture(scope="module")
def night(stack: Stack) -> Result:
    """The warehouse holds 60 business dates up to NIGHT."""
    result = deliver(stack, 4000, days=60)
    assert result.failure is None
    return result


def run_feed(stack: Stack, route: str, day: date) -> PipelineRun:
    partner, feed = PARTNERS[route]
    return run_batch(stack, day, partner=partner, feed=feed)


def arrived(stack: Stack, route: str) -> Counter[str]:
    """Return how often each file was given its final name at the partner."""
    entries = stack.partners[PARTNERS[route][0]].server.operations()
    done = [entry for entry in entries if entry["operation"].endswith("rename") and entry["status"] == "ok"]
    return Counter(entry["to"].rpartition("/")[2] for entry in done)


def holds_once(stack: Stack, route: str, day: date, folder: Path) -> None:
    """The batch is delivered, opens to the rows of the mart, arrived once, and left no plaintext with us."""
    partner, feed = PARTNERS[route]
    batch = f"{partner}.{feed}.{day}.1"
    (opened,) = stack.partners[partner].open_batch(batch, stack.verification_certificate(), folder)
    assert opened.sha256 == expected_file(stack.postgres.dsn(), partner, feed, day)[1]
    names = [name for name in arrived(stack, route) if f"{day:%Y%m%d}" in name or str(day) in name]
    assert len(names) == {"adf": 4, "function": 5}[route]
    assert {arrived(stack, route)[name] for name in names} == {1}
    left = stack.container("raw").list_blob_names(name_starts_with=f"{partner}/{feed}/{day}.1/")
    assert list(left) == []


@pytest.mark.parametrize("route", ["adf", "function"])
@pytest.mark.parametrize(
    "pairs", [pytest.param(range(FEW), id="few"), pytest.param(range(FEW, 20), id="many", marks=pytest.mark.slow)]
)
def test_of_two_runs_of_a_window_one_works_and_the_other_waits_for_it(
    stack: Stack, night: Result, tmp_path: Path, route: str, pairs: range
) -> None:
    for number in pairs:
        day = FIRST + timedelta(days=number)
        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(lambda _, day=day: run_feed(stack, route, day), range(2)))

        for run in runs:
            raise_if_failed(run)
        holds_once(stack, route, day, tmp_path / str(number))


KILLS = {
    "adf": [
        *("Plan", "Extract", "Seal", "Look", "Before", "Begin", "Send files", "After files", "Files sent", "Send last"),
        *("Confirm", "Outcome"),
    ],
    "function": ["Plan", "Extract", "Seal", "Look", "Ended", "Outcome"],
}


# What every run of the suite tries; all others are slow.
QUICK = {("adf", "Extract", "end"), ("adf", "Send files", "end"), ("function", "Seal", "end")}


def kills() -> Iterator[object]:
    for route, steps in KILLS.items():
        for at in steps:
            for when in ("start", "end"):
                marks = () if (route, at, when) in QUICK else pytest.mark.slow
                yield pytest.param(route, at, when, marks=marks, id=f"{route}-{at}-{when}")


@pytest.mark.parametrize(("route", "at", "when"), list(kills()))
def test_next_run_completes_what_a_killed_run_left(
    stack: Stack, night: Result, tmp_path: Path, route: str, at: str, when: str
) -> None:
    day = FIRST + timedelta(days=20 + KILLS[route].index(at) + (12 if when == "end" else 0))
    partner, feed = PARTNERS[route]
    kill_run(stack, day, at, when, partner=partner, feed=feed)
    state = requests.get(
        f"{stack.function.url}/api/batches/{partner}.{feed}.{day}.1",
        headers={"x-functions-key": stack.function_key},
        timeout=10,
    ).json()
    if state.get("state") == "delivering" and route == "adf":  # the operator knows that the run is dead
        assert state["worked_by"]
        replay(stack, day)

    raise_if_failed(run_feed(stack, route, day))

    holds_once(stack, route, day, tmp_path)
