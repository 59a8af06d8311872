"""One day's batch as the tests ask for it: run it, look at it, read why it is red."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from adf_runner import Event, PipelineRun, load_factory, run_pipeline
from cli.run import RunFailed, raise_if_failed
from local.partner import expected_file
from local.stack import ROOT, Stack

CANARY = "M-CANARY-7f3a9c51"
NIGHT = date(2026, 11, 21)


def window(day: date) -> dict[str, str]:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return {"windowStart": start.isoformat(), "windowEnd": (start + timedelta(days=1)).isoformat()}


def hour(day: date) -> dict[str, str]:
    """Return the window of the hour in which the night of a business date begins."""
    end = datetime(day.year, day.month, day.day, 2, tzinfo=UTC) + timedelta(days=1)
    return {"windowStart": (end - timedelta(hours=1)).isoformat(), "windowEnd": end.isoformat()}


def run(stack: Stack, pipeline: str, **parameters: Any) -> PipelineRun:
    return run_pipeline(load_factory(ROOT / "adf"), pipeline, parameters, stack.connection().overrides())


def run_batch(stack: Stack, day: date, **changes: Any) -> PipelineRun:
    return run(stack, "deliver_batch", **{"partner": "northwind", "feed": "accruals", **window(day), **changes})


class Killed(BaseException):
    """The process of a run ends here."""


def kill_run(stack: Stack, day: date, at: str, when: str, **changes: str) -> None:
    """Run a batch up to the `start` or `end` of its first activity of that name: no step that cleans up follows."""

    def kill(event: Event) -> None:
        if event.kind == when and event.activity is not None and event.activity.name == at:
            raise Killed

    parameters = {"partner": "northwind", "feed": "accruals", **window(day), **changes}
    with pytest.raises(Killed):
        run_pipeline(load_factory(ROOT / "adf"), "deliver_batch", parameters, stack.connection().overrides(), kill)


def status(stack: Stack, day: date) -> dict[str, Any]:
    answer = requests.get(
        f"{stack.function.url}/api/batches/northwind.accruals.{day}.1",
        headers={"x-functions-key": stack.function_key},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def replay(stack: Stack, day: date, partner: str = "northwind", feed: str = "accruals") -> None:
    """Free the delivery of a run that is known to be dead, as an operator does."""
    answer = requests.post(
        f"{stack.function.url}/api/batches/{partner}.{feed}.{day}.1/replay",
        headers={"x-functions-key": stack.function_key},
        json={"who": "a test", "from": "deliver"},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text


def at_partner(stack: Stack, day: date, partner: str = "northwind") -> list[str]:
    """Return what a partner sees of a business date, under final or any other names."""
    compact = f"{day:%Y%m%d}"
    names = [path.name for path in stack.partners[partner].inbox.rglob("*")]
    return sorted(name for name in names if compact in name or str(day) in name)


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
    return f"{caught.value} {caught.value.hint} {run.message}"


def completes_after_the_fix(stack: Stack, day: date, tmp_path: Path) -> None:
    raise_if_failed(run_batch(stack, day))
    assert status(stack, day)["state"] == "delivered"
    assert len(at_partner(stack, day)) == 4
    partner = stack.partners["northwind"]
    (opened,) = partner.open_batch(f"northwind.accruals.{day}.1", stack.verification_certificate(), tmp_path / "opened")
    assert opened.sha256 == expected_file(stack.postgres.dsn(), "northwind", "accruals", day)[1]
