"""`./sealift run PIPELINE`: executes a pipeline of adf/ on local services, those of `./sealift demo --keep` if they are up."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from adf_runner import Event, PipelineRun, load_factory, run_pipeline
from adf_runner.run.rules import bind
from cli import console
from cli.console import CommandFailed
from cli.gantt import gantt
from cli.run_display import Monitor
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
    parameters = dict(_parameter(parser, text) for text in arguments.param)
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
_QUIET = {"Wait", "SetVariable", "AppendVariable", "IfCondition", "Filter"}
_POLLING = {"WebActivity", "AzureFunctionActivity"}


class Narrator:
    """Prints one line for every activity that ended, each name once per pipeline run; containers follow what they contain."""

    def __init__(self, *, without: Collection[str] = ()) -> None:
        """Leave out what goes well inside the pipelines named in `without`."""
        self._without = without
        self._told: set[tuple[str, str, int | None]] = set()

    def __call__(self, event: Event) -> None:
        """Hear of one event of a run."""
        activity = event.activity
        if event.kind != "end" or activity is None or activity.status not in ("Succeeded", "Failed"):
            return
        key = (event.run.run_id, activity.name, None if activity.type in _POLLING else activity.iteration)
        quiet = activity.type in _QUIET or event.run.pipeline in self._without or key in self._told
        if activity.status == "Succeeded" and quiet:
            return
        self._told.add(key)
        failed = activity.status == "Failed"
        note = (activity.error or {}).get("message", "") if failed else _note(activity.type, activity.output)
        text = f"{'  ' * event.depth}{activity.name}"
        console.done(text, activity.seconds, note, mark="x" if failed else "+")


def raise_if_failed(run: PipelineRun) -> None:
    """Raise RunFailed with the deepest cause; a run that Ctrl-C ended goes on as Ctrl-C."""
    if run.succeeded:
        return
    if run.status == "Cancelled":
        raise KeyboardInterrupt
    failed = [activity for activity in run.walk() if activity.status == "Failed" and activity.error]
    deepest = next((activity for activity in failed if not activity.children), failed[-1] if failed else None)
    where = f"step '{deepest.name}'" if deepest else run.pipeline
    raise RunFailed(
        f"{run.pipeline} failed at {where}: {deepest.error['message'] if deepest and deepest.error else run.message}",
        "mend the cause, then run it again for the same window: what was done is not done twice",
    )


def _note(kind: str, output: Any) -> str:
    if kind == "Copy":
        return f"{output['rowsCopied']:,} rows" if "rowsCopied" in output else console.size(output.get("dataWritten"))
    if kind == "AzureFunctionActivity" and "state" in output:
        return f"{output['batch']}: {output['state']}"
    return ""


def _parameter(parser: argparse.ArgumentParser, text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found:
        parser.error(f"--param {text}: write it as name=value")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
