"""From a folder of JSON files to a factory that may run: read it, lint it, refuse what would go wrong.

Sits above the model and the lint, so that neither has to know the other. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from adf_runner.errors import InvalidFactory
from adf_runner.factory.model import Factory
from adf_runner.factory.reading import read_documents, read_folder, shown_path
from adf_runner.lint.lint import findings
from adf_runner.run.records import Overrides


def load_factory(folder: Path, pipelines: Collection[str] | None = None, overrides: Overrides | None = None) -> Factory:
    """Read and lint a folder, whole or only what runs of `pipelines` reach.

    With the overrides of those runs, what only activities with a scripted outcome need is not asked for, and their global
    parameters count where no file declares any. Raises InvalidFactory with every finding that would make a run wrong, and
    UnknownPipeline.
    """
    return refuse_findings(read_factory(folder), pipelines, overrides)


def factory_from_documents(
    documents: Mapping[str, Any],
    root: str = "adf",
    pipelines: Collection[str] | None = None,
    overrides: Overrides | None = None,
) -> Factory:
    """Make a factory from {"pipeline/name.json": document, ...}; raises like `load_factory`."""
    return refuse_findings(read_documents(dict(documents), root, []), pipelines, overrides)


def read_factory(folder: Path) -> Factory:
    """Read a folder and keep the findings instead of raising them."""
    shown = shown_path(folder)
    documents, findings = read_folder(folder, shown)
    return read_documents(documents, shown, findings)


def refuse_findings(
    factory: Factory, pipelines: Collection[str] | None = None, overrides: Overrides | None = None
) -> Factory:
    """Return the factory when nothing blocks it, or nothing that runs of `pipelines` reach, else raise InvalidFactory."""
    if overrides is not None and not factory.declares_globals:
        factory = replace(factory, global_parameters=overrides.global_parameters)
    blocking = [finding for finding in findings(factory) if finding.blocking]
    if pipelines is not None:
        files, passed = factory.reached(pipelines, overrides.outcomes if overrides else ())
        blocking = [
            finding for finding in blocking
            if finding.file in files and not any(
                finding.file == file and f"{finding.path} ".startswith(f"{path} ") for file, path in passed
            )
        ]  # fmt: skip
    if blocking:
        raise InvalidFactory(blocking)
    return factory
