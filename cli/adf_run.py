"""`./sealift adf run FOLDER PIPELINE`: run one pipeline of any factory; only what it reaches has to be runnable."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from azure.identity import DefaultAzureCredential

from adf_runner import PipelineRun, load_factory, run_pipeline
from adf_runner.errors import InvalidOverride
from adf_runner.overriding import overrides_of, read_overrides
from adf_runner.run.records import Overrides
from adf_runner.run.trigger_runs import event_runs, find_trigger
from cli import console
from cli.run import parameter, raise_if_failed
from cli.run_display import Monitor


def run_main(argv: list[str]) -> int:
    """Run a pipeline, or what an event would start; exit 0 when all succeeded."""
    parser = argparse.ArgumentParser("sealift adf run", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the factory's folder: pipeline/, dataset/, ...")
    parser.add_argument("pipeline", nargs="?", metavar="PIPELINE", help="a pipeline; or give --trigger")
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="a pipeline parameter (JSON, else text)"
    )
    parser.add_argument(
        "--overrides", type=Path, metavar="FILE.json", help="addresses, clock and outcomes: docs/adf-runner.md"
    )
    parser.add_argument("--trigger", metavar="NAME", help="start what an event trigger starts")
    parser.add_argument(
        "--event", metavar="PATH", help="of the blob that the event is about: container/folder/file, or JSON"
    )
    parser.add_argument("--identity", action="store_true", help="use your own Azure sign-in for storage, vault and web")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole run: inputs, outputs, statuses")
    arguments = parser.parse_args(argv)
    if bool(arguments.pipeline) == bool(arguments.trigger) or bool(arguments.trigger) != bool(arguments.event):
        parser.error("give a PIPELINE, or --trigger with --event")
    given = read_overrides(arguments.overrides) if arguments.overrides else overrides_of({})
    overrides = replace(given, credential=DefaultAzureCredential()) if arguments.identity else given
    runs = _by_event(arguments, overrides) if arguments.trigger else [_by_hand(parser, arguments, overrides)]
    if arguments.json:
        shown = [run.to_json() for run in runs]
        arguments.json.write_text(json.dumps(shown if arguments.trigger else shown[0], indent=2))
    for run in runs:
        raise_if_failed(run)
        console.say(f"\n{run.pipeline} succeeded in {run.seconds:.1f} s: {json.dumps(run.return_value)}")
    return 0


def _by_hand(parser: argparse.ArgumentParser, arguments: argparse.Namespace, overrides: Overrides) -> PipelineRun:
    factory = load_factory(arguments.folder, [arguments.pipeline], overrides)
    called = factory.pipelines.get(arguments.pipeline)
    declared = called.parameters if called else {}
    texts = {name for name, written in declared.items() if str(written.get("type")).lower() == "string"}
    parameters = dict(parameter(parser, text, texts) for text in arguments.param)
    console.heading(f"{factory.root}/pipeline/{arguments.pipeline}.json")
    with Monitor(console.console) as monitor:
        return run_pipeline(factory, arguments.pipeline, parameters, overrides, on_event=monitor)


def _by_event(arguments: argparse.Namespace, overrides: Overrides) -> list[PipelineRun]:
    from adf_runner import read_factory

    trigger = find_trigger(read_factory(arguments.folder), arguments.trigger)
    called = [call["pipelineReference"]["referenceName"] for call in trigger.calls]
    factory = load_factory(arguments.folder, called, overrides)
    console.heading(f"{factory.root}/trigger/{trigger.name}.json")
    with Monitor(console.console) as monitor:
        return event_runs(factory, trigger, _body(arguments.event), overrides, on_event=monitor)


def _body(event: str) -> dict[str, Any]:
    """Return the event's body: that of a blob's path, or the JSON that is given."""
    if not event.lstrip().startswith("{"):
        folder, _, file = event.rpartition("/")
        return {"folderPath": folder, "fileName": file}
    try:
        body = json.loads(event)
    except ValueError as error:
        raise InvalidOverride(
            f"--event is not JSON: {error}", "or give a blob's path: container/folder/file"
        ) from error
    if not isinstance(body, dict):
        raise InvalidOverride("--event must be a JSON object", "or give a blob's path: container/folder/file")
    return body
