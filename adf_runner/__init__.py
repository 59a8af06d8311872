"""Data Factory on one machine: reads, lints and runs the JSON of any factory folder, strictly.

Everything outside `factory/subset.py` is refused by name before anything runs. Imports nothing of ours, so that it could
be published alone.
"""

from __future__ import annotations

from adf_runner.errors import (
    ActivityFailed,
    FactoryError,
    Finding,
    InvalidFactory,
    InvalidOverride,
    InvalidParameters,
    UnknownPipeline,
)
from adf_runner.factory.model import Factory
from adf_runner.loading import factory_from_documents, load_factory, read_factory
from adf_runner.pipeline import run_pipeline
from adf_runner.run.records import ActivityRun, Event, Overrides, PipelineRun

__all__ = [
    "ActivityFailed",
    "ActivityRun",
    "Event",
    "Factory",
    "FactoryError",
    "Finding",
    "InvalidFactory",
    "InvalidOverride",
    "InvalidParameters",
    "Overrides",
    "PipelineRun",
    "UnknownPipeline",
    "factory_from_documents",
    "load_factory",
    "read_factory",
    "run_pipeline",
]
