"""`./sealift trigger NAME --from ... --to ...`: list or run what a trigger would have started in a period.

Windows before --from count as done, and with --others-done those of other triggers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adf_runner import load_factory
from adf_runner.factory.model import Factory, Trigger
from adf_runner.run.records import Event, Overrides
from adf_runner.run.trigger_runs import WindowRun, call_parameters, find_trigger, run_trigger
from adf_runner.run.triggers import Firing, InvalidTrigger, expand, others, self_dependency, stamp
from cli.run import Narrator, services
from local.stack import ROOT


def main(argv: list[str]) -> int:
    """List or run the windows of a trigger."""

    @contextmanager
    def overrides() -> Iterator[Overrides]:
        with services(100_000) as connection:
            yield connection.overrides()

    with Narrator(without=("run_dbt",)) as narrator:
        return trigger_main(argv, ROOT / "adf", overrides, narrator)


def trigger_main(
    argv: list[str],
    folder: Path,
    services: Callable[[], AbstractContextManager[Overrides]],
    on_event: Callable[[Event], None] | None = None,
) -> int:
    """List or run a trigger's firings. `services` gives the overrides; it is entered only when something is to run."""
    parser = argparse.ArgumentParser(
        "sealift trigger", description="List or run what a trigger would have started in a period."
    )
    parser.add_argument("name", help="a trigger of adf/trigger/")
    parser.add_argument(
        "--from",
        dest="start",
        required=True,
        type=_moment,
        metavar="TIME",
        help="first instant (UTC unless it says otherwise)",
    )
    parser.add_argument(
        "--to", dest="end", required=True, type=_moment, metavar="TIME", help="end of the period, not included"
    )
    parser.add_argument(
        "--others-done", action="store_true", help="take the windows of other triggers that it waits for as succeeded"
    )
    parser.add_argument("--dry-run", action="store_true", help="list only")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write all runs, inputs and outputs included; with --dry-run what would run (- for standard output)",
    )
    arguments = parser.parse_args(argv)
    factory = load_factory(folder)
    trigger = find_trigger(factory, arguments.name)
    firings = expand(trigger, arguments.start, arguments.end)
    if not firings:
        raise InvalidTrigger(f"{trigger.name} does not fire in this period", f"it starts at {_start_of(trigger)}")
    if arguments.dry_run:
        return _show_firings(factory, trigger, firings, arguments.json)
    if others(trigger) and not arguments.others_done:
        raise InvalidTrigger(
            f"{trigger.name} waits for windows of {', '.join(others(trigger))}, which this run does not know",
            "when they have succeeded, say so: --others-done",
        )
    with services() as overrides:
        windows = run_trigger(factory, trigger, firings, overrides, on_event, on_window=_say)
    if arguments.json:
        arguments.json.write_text(json.dumps([to_json(window) for window in windows], indent=2), "utf-8")
    done = sum(window.status == "Succeeded" for window in windows)
    print(f"{done} of {len(windows)} succeeded")
    return 0 if done == len(windows) else 1


def _show_firings(factory: Factory, trigger: Trigger, firings: Sequence[Firing], target: Path | None) -> int:
    """Print a dry run, or write it as JSON."""
    if target is None:
        print("\n".join(listing(factory, trigger, firings)))
        return 0
    found = [
        {
            "scheduledTime": stamp(firing.scheduled),
            "windowStartTime": stamp(firing.window[0]) if firing.window else None,
            "windowEndTime": stamp(firing.window[1]) if firing.window else None,
            "pipelines": [{"name": name, "parameters": values} for name, values in _calls(factory, trigger, firing)],
        }
        for firing in firings
    ]
    text = json.dumps(found, indent=2, ensure_ascii=False)
    print(text) if str(target) == "-" else target.write_text(text, "utf-8")
    return 0


def _calls(factory: Factory, trigger: Trigger, firing: Firing) -> list[tuple[str, dict[str, Any]]]:
    """Return the pipelines that a firing starts, each with its parameters."""
    scope = firing.scope(trigger, firing.scheduled)
    return [call_parameters(factory, trigger, dict(call), scope) for call in trigger.calls]


def listing(factory: Factory, trigger: Trigger, firings: Sequence[Firing]) -> list[str]:
    """Return a dry run's lines: each firing with the pipelines and parameters that it would start."""
    lines = []
    for firing in firings:
        when = (
            f"{stamp(firing.window[0])} .. {stamp(firing.window[1])}  runs at {stamp(firing.scheduled)}"
            if firing.window
            else stamp(firing.scheduled)
        )
        calls = _calls(factory, trigger, firing)
        lines += [f"{when}  {name} {json.dumps(parameters, ensure_ascii=False)}" for name, parameters in calls] or [
            when
        ]
    notes = []
    if trigger.type == "TumblingWindowTrigger":
        notes.append(f"oldest first, {trigger.properties['maxConcurrency']} at a time")
        notes += ["each after the window before it"] if self_dependency(trigger.properties) else []
        notes += [
            f"each after the windows of {name}, which a run takes for done with --others-done"
            for name in others(trigger)
        ]
        policy = trigger.properties.get("retryPolicy", {})
        notes += [f"{policy['count']} retries"] if policy.get("count") else []
    return [
        *lines,
        f"{len(firings)} firing{'' if len(firings) == 1 else 's'}" + (f": {'; '.join(notes)}" if notes else ""),
    ]


def to_json(window: WindowRun) -> dict[str, Any]:
    span = window.firing.window
    return {
        "scheduledTime": stamp(window.firing.scheduled),
        "windowStartTime": stamp(span[0]) if span else None,
        "windowEndTime": stamp(span[1]) if span else None,
        "status": window.status,
        "runs": [run.to_json() for run in window.runs],
    }


def _say(window: WindowRun) -> None:
    if window.status == "Running":
        print(f"{window.firing.name}: runs")
        return
    last = window.runs[-1] if window.runs else None
    tries = f" after {len(window.runs)} runs" if len(window.runs) > 1 else ""
    print(f"{window.firing.name}: {window.status}{tries}" + (f": {last.message}" if last and last.message else ""))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date or date-time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _start_of(trigger: Trigger) -> str:
    holder = trigger.properties.get("recurrence", trigger.properties)
    return str(holder.get("startTime"))
