"""For tests of a factory's pipelines: load one, give what is not to run an outcome, run it, look at what happened.

    from adf_runner.testing import run

    def test_a_failed_load_raises_the_alarm() -> None:
        night = run("adf", "nightly", {"day": "2026-11-21"}, outcomes={"Load": {"error": {"message": "no server"}}})

        assert night.status == "Failed"
        assert night.find("Alarm").status == "Succeeded"

Waiting takes no time, and `at` is the instant that utcNow() gives. What an outcome stands for needs no connector, so
that pipelines with data flows, notebooks or stored procedures can be tried for their logic.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adf_runner.loading import load_factory
from adf_runner.overriding import overrides_of
from adf_runner.pipeline import run_pipeline
from adf_runner.run.records import Credential, PipelineRun


def run(
    folder: Path | str,
    pipeline: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    credential: Credential | None = None,
    trigger: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> PipelineRun:
    """Run a pipeline of a factory folder and return its record: `status`, `message`, `find(activity)`, `walk()`.

    `overrides` are the keys of overriding.py in Python's words: outcomes, linked_services, global_parameters, at, waiting.
    Only what the pipeline reaches is looked at. Raises InvalidFactory, UnknownPipeline, InvalidParameters, InvalidOverride.
    """
    names = {"linked_services": "linkedServices", "global_parameters": "globalParameters"}
    replaced = overrides_of({names.get(key, key): value for key, value in overrides.items()}, credential=credential)
    factory = load_factory(Path(folder), [pipeline], replaced)
    return run_pipeline(factory, pipeline, parameters, replaced, trigger=trigger)
