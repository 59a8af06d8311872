"""`./sealift run PIPELINE`: executes a pipeline of adf/ on local services, those of `./sealift demo --keep` if they are up."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.text import Text

from adf_runner import ActivityRun, Event, PipelineRun, load_factory, run_pipeline
from adf_runner.run.rules import bind
from cli import console
from cli.console import CommandFailed
from cli.gantt import gantt
from cli.run_display import Monitor, message_of
from local.kept import kept_services
from local.stack import ROOT, Connection, Stack


class RunFailed(CommandFailed):
    """A pipeline run ended red."""


def main(argv: list[str]) -> int:
    """Run one pipeline; exit 0 when it succeeded."""
    factory = load_factory(ROOT / "adf")
    parser = argparse.ArgumentParser("sealift run", description=__doc__)
    parser.add_argument(
        "pipeline", choices=sorted(factory.pipelines), metavar="PIPELINE", help=", ".join(sorted(factory.pipelines))
    )
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="a pipeline parameter (JSON, else text)"
    )
    parser.add_argument(
        "--rows", type=int, default=100_000, metavar="N", help="sample transactions when services are started anew"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole run: inputs, outputs, statuses")
    parser.add_argument("--gantt", type=Path, metavar="FILE.svg", help="draw when each activity ran")
    arguments = parser.parse_args(argv)
    for path in filter(None, (arguments.json, arguments.gantt)):
        path.touch()  # before the run: a result that cannot be written should not be lost
    parameters = dict(parameter(parser, text) for text in arguments.param)
    # Before the services start: a mistyped name should not cost their start.
    bind(factory.pipelines[arguments.pipeline].parameters, parameters, f"pipeline {arguments.pipeline!r}")
    with services(arguments.rows) as connection:
        console.heading(f"adf/pipeline/{arguments.pipeline}.json")
        with Monitor(console.console) as monitor:
            run = run_pipeline(factory, arguments.pipeline, parameters, connection.overrides(), on_event=monitor)
    if arguments.json:
        arguments.json.write_text(json.dumps(run.to_json(), indent=2))
    if arguments.gantt:
        arguments.gantt.write_text(gantt(run))
    raise_if_failed(run)
    console.say(f"\n{arguments.pipeline} succeeded in {run.seconds:.1f} s: {json.dumps(run.return_value)}")
    return 0


@contextmanager
def services(rows: int) -> Iterator[Connection]:
    """Give the kept services, or start them anew with sample data."""
    if connection := kept_services():
        os.environ.update(connection.environment)
        yield connection
        return
    from local.sample_data import load

    console.heading("Starting the cloud and the partner on this machine (./sealift demo --keep leaves them up)")
    with Stack(on_ready=console.done) as stack:
        load(stack.postgres.dsn(), rows, end_date=date(2026, 11, 21))
        yield stack.connection()


# Bookkeeping and the many looks of a polling loop say nothing to a reader; when one of them fails, it is shown.
_QUIET = {"Wait", "SetVariable", "AppendVariable", "IfCondition", "Filter", "Switch"}
_HOLDERS = {"ForEach", "Until"}
_POLLING = {"WebActivity", "AzureFunctionActivity"}
_WIDTH = 19  # of the feed's name


class Narrator:
    """Prints a line for every activity that ended, with its feed; what holds others has one line, before theirs.

    A context manager: on a terminal its last line shows what is running now. An activity that runs many times in one
    pipeline run, such as a look at a state, is printed once.
    """

    def __init__(self, *, without: Collection[str] = ()) -> None:
        """Leave out what goes well inside the pipelines named in `without`."""
        self._without = without
        self._root: PipelineRun | None = None
        self._told: set[tuple[str, str, int | None]] = set()
        self._opened: set[str] = set()
        self._running: dict[str, str] = {}
        self._status = console.console.status("")

    def __enter__(self) -> Self:
        if console.console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def __call__(self, event: Event) -> None:
        """Hear of one event of a run."""
        self._root = self._root or event.run
        activity = event.activity
        if activity is not None:
            self._show_running(event, activity)
        if event.kind != "end" or activity is None or activity.status not in ("Succeeded", "Failed"):
            return
        key = (event.run.run_id, activity.name, None if activity.type in _POLLING else activity.iteration)
        quiet = activity.type in _QUIET or event.run.pipeline in self._without or key in self._told
        if activity.status == "Succeeded" and (quiet or activity.run_id in self._opened):
            return
        self._told.add(key)
        self._open(activity)
        failed = activity.status == "Failed"
        note = message_of(activity) if failed else _note(activity)
        console.done(_line(self._feed_of(activity), activity), activity.seconds, note, mark="x" if failed else "+")

    def _show_running(self, event: Event, activity: ActivityRun) -> None:
        """Let the terminal's last line name what runs now: the newest few, each with its feed."""
        if event.kind == "end":
            self._running.pop(activity.run_id, None)
        elif activity.type not in _QUIET | _HOLDERS and event.run.pipeline not in self._without:
            self._running[activity.run_id] = " ".join(_line(self._feed_of(activity), activity).split())
        self._status.update(Text(", ".join(list(self._running.values())[-3:])))

    def _open(self, activity: ActivityRun) -> None:
        """Print what holds an activity, unless it was printed."""
        for holder in self._path(activity)[:-1]:
            if holder.type not in _QUIET and holder.run_id not in self._opened:
                self._opened.add(holder.run_id)
                console.begun(_line(self._feed_of(holder), holder))

    def _feed_of(self, activity: ActivityRun) -> str:
        """Return partner and feed that an activity is for; empty for one that is for all."""
        assert self._root is not None
        runs = [self._root, *(each.child_run for each in self._path(activity) if each.child_run)]
        return next(filter(None, map(_feed, reversed(runs))), "")

    def _path(self, activity: ActivityRun) -> list[ActivityRun]:
        assert self._root is not None
        return _path(self._root.activities, activity)


def _path(runs: Sequence[ActivityRun], wanted: ActivityRun) -> list[ActivityRun]:
    """Return the activities that hold one, from the outermost to itself."""
    for run in runs:
        if run is wanted:
            return [run]
        if below := _path(run.children, wanted):
            return [run, *below]
    return []


def _feed(run: PipelineRun) -> str:
    """Return partner and feed of a pipeline run, by its parameters; empty for a run that is for all."""
    parameters = run.shown_parameters
    if "partner" in parameters and "feed" in parameters:
        return f"{parameters['partner']}.{parameters['feed']}"
    batch = parameters.get("batch")
    batch = batch.get("batch") if isinstance(batch, dict) else batch
    return ".".join(batch.split(".")[:2]) if isinstance(batch, str) else ""


def _line(feed: str, activity: ActivityRun) -> str:
    return f"{feed:<{_WIDTH}} {activity.name}" if feed else activity.name


def raise_if_failed(run: PipelineRun) -> None:
    """Raise RunFailed with the deepest cause; a run that Ctrl-C ended goes on as Ctrl-C."""
    if run.succeeded:
        return
    if run.status == "Cancelled":
        raise KeyboardInterrupt
    failed = [activity for activity in run.walk() if activity.status == "Failed" and activity.error]
    deepest = next((activity for activity in failed if not activity.children), failed[-1] if failed else None)
    where = f"step '{deepest.name}'" if deepest else run.pipeline
    error = (deepest.error if deepest else None) or {"message": run.message}
    again = "correct the cause, then run it again for the same window: what was done is not done twice"
    raise RunFailed(f"{run.pipeline} failed at {where}: {error['message']}", error.get("hint") or again)


def _note(activity: ActivityRun) -> str:
    output = activity.output if isinstance(activity.output, dict) else {}
    if activity.type == "Copy" and "rowsCopied" in output:
        # The last row of an extract is its control record.
        return f"{output['rowsCopied'] - activity.name.startswith('Extract'):,} rows"
    if activity.type == "Copy":
        return console.size(output.get("dataWritten"))
    if activity.type == "AzureFunctionActivity" and "state" in output:
        return f"{output['batch']}: {output['state']}"
    return ""


def parameter(parser: argparse.ArgumentParser, text: str, texts: Collection[str] = ()) -> tuple[str, Any]:
    """Split NAME=VALUE; the value is JSON, else text, and always text for the names in `texts`."""
    name, found, value = text.partition("=")
    if not found:
        parser.error(f"--param {text}: write it as name=value")
    try:
        read = json.loads(value)
    except json.JSONDecodeError:
        return name, value
    return name, read if name not in texts or isinstance(read, str) else value
