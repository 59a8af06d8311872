"""From a folder of JSON files to a factory that may run: read it, lint it, refuse what would go wrong.

Sits above the model and the lint, so that neither has to know the other. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from adf_runner.errors import InvalidFactory
from adf_runner.factory.model import Factory
from adf_runner.factory.reading import read_documents, read_folder, shown_path
from adf_runner.lint.lint import findings


def load_factory(folder: Path, pipelines: Collection[str] | None = None, scripted: Collection[str] = ()) -> Factory:
    """Read and lint a folder, whole or only what runs of `pipelines` reach.

    `scripted` names activities that will not run (`Activity` or `pipeline/Activity`): what they need is not asked for.
    Raises InvalidFactory with every finding that would make a run wrong, and UnknownPipeline.
    """
    return refuse_findings(read_factory(folder), pipelines, scripted)


def factory_from_documents(
    documents: Mapping[str, Any],
    root: str = "adf",
    pipelines: Collection[str] | None = None,
    scripted: Collection[str] = (),
) -> Factory:
    """Make a factory from {"pipeline/name.json": document, ...}; raises like `load_factory`."""
    return refuse_findings(read_documents(dict(documents), root, []), pipelines, scripted)


def read_factory(folder: Path) -> Factory:
    """Read a folder and keep the findings instead of raising them."""
    shown = shown_path(folder)
    documents, findings = read_folder(folder, shown)
    return read_documents(documents, shown, findings)


def refuse_findings(
    factory: Factory, pipelines: Collection[str] | None = None, scripted: Collection[str] = ()
) -> Factory:
    """Return the factory when nothing blocks it, or nothing that runs of `pipelines` reach, else raise InvalidFactory."""
    blocking = [finding for finding in findings(factory) if finding.blocking]
    if pipelines is not None and blocking:
        files, passed = factory.reached(pipelines, scripted)
        blocking = [
            finding for finding in blocking
            if finding.file in files and not any(
                finding.file == file and f"{finding.path} ".startswith(f"{path} ") for file, path in passed
            )
        ]  # fmt: skip
    if blocking:
        raise InvalidFactory(blocking)
    return factory
