"""Data Factory on one machine: reads the files of adf/ as they are and runs them, strictly.

Does not emulate what it cannot know: everything outside `subset.py` is refused by name before anything runs.
"""

from local.factory.engine import run_pipeline
from local.factory.errors import (
    ActivityError,
    CancelledError,
    FactoryError,
    Finding,
    InvalidFactoryError,
    InvalidOverrideError,
    InvalidParametersError,
    UnknownPipelineError,
)
from local.factory.model import Factory
from local.factory.runs import ActivityRun, Event, Overrides, PipelineRun

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
    "run_pipeline",
]
