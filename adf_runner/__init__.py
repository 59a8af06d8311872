"""Data Factory on one machine: reads, lints and runs the JSON of any factory folder, strictly.

Everything outside `factory/subset.py` is refused by name before anything runs. Imports nothing of ours, so that it could
be published alone.
"""

from adf_runner.errors import (
    ActivityError,
    CancelledError,
    FactoryError,
    Finding,
    InvalidFactoryError,
    InvalidOverrideError,
    InvalidParametersError,
    UnknownPipelineError,
)
from adf_runner.factory.model import Factory
from adf_runner.loading import factory_from_documents, load_factory, read_factory
from adf_runner.pipeline import run_pipeline
from adf_runner.run.records import ActivityRun, Event, Overrides, PipelineRun

__all__ = [
    "ActivityError",
    "ActivityRun",
    "CancelledError",
    "Event",
    "Factory",
    "FactoryError",
    "Finding",
    "InvalidFactoryError",
    "InvalidOverrideError",
    "InvalidParametersError",
    "Overrides",
    "PipelineRun",
    "UnknownPipelineError",
    "factory_from_documents",
    "load_factory",
    "read_factory",
    "run_pipeline",
]
