"""`./sealift run PIPELINE`: executes a pipeline of adf/ on local services, those of `./sealift demo --keep` if they are up."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from local import console
from local.factory import Event, Factory, PipelineRun, run_pipeline
from local.stack import ROOT, Connection, Stack

# Written by `demo --keep`, removed when it ends.
KEPT = ROOT / ".sealift-kept.json"


class RunFailed(Exception):
    """A pipeline run ended red; `hint` is the mend."""

    status = 500

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def main(argv: list[str]) -> int:
    """Run one pipeline; exit 0 when it succeeded."""
    factory = Factory.load(ROOT / "adf")
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
    arguments = parser.parse_args(argv)
    parameters = dict(_parameter(parser, text) for text in arguments.param)
    with services(arguments.rows) as connection:
        console.heading(f"adf/pipeline/{arguments.pipeline}.json")
        run = run_pipeline(factory, arguments.pipeline, parameters, connection.overrides(), on_event=narrate)
    if arguments.json:
        arguments.json.write_text(json.dumps(run.to_json(), indent=2))
    raise_if_failed(run)
    console.console.print(f"\n{arguments.pipeline} succeeded in {run.seconds:.1f} s: {json.dumps(run.return_value)}")
    return 0


@contextmanager
def services(rows: int) -> Iterator[Connection]:
    """Give the kept services, or start them anew with sample data."""
    if KEPT.exists():
        connection = Connection.read(KEPT)
        os.environ.update(connection.environment)
        yield connection
        return
    from local.sample_data import load

    console.heading("Starting the cloud and the partner on this machine (./sealift demo --keep leaves them up)")
    with Stack(on_ready=console.done) as stack:
        load(stack.postgres.dsn(), rows, end_date=date(2026, 11, 21))
        yield stack.connection()


def narrate(event: Event) -> None:
    """Print one line for every activity that ended; containers follow what they contain."""
    activity = event.activity
    if event.kind != "end" or activity is None or activity.status == "Skipped":
        return
    mark = "+" if activity.status == "Succeeded" else "x"
    indent = "  " * event.depth
    note = (
        (activity.error or {}).get("message", "")
        if activity.status == "Failed"
        else _note(activity.type, activity.output)
    )
    console.console.print(
        f"  {mark} {indent + activity.name:<42} {activity.seconds:6.1f} s   {note}".rstrip(),
        soft_wrap=True,
        markup=False,
    )


def raise_if_failed(run: PipelineRun) -> None:
    """Raise RunFailed with the deepest cause."""
    if run.succeeded:
        return
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
