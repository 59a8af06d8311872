"""From a folder of JSON files to a factory that may run: read it, lint it, refuse what would go wrong.

Sits above the model and the lint, so that neither has to know the other. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adf_runner.errors import InvalidFactory
from adf_runner.factory.model import Factory
from adf_runner.factory.reading import read_documents, read_folder, shown_path
from adf_runner.lint.lint import lint


def load_factory(folder: Path) -> Factory:
    """Read and lint a folder; raises InvalidFactory with every finding that would make a run wrong."""
    return refuse_findings(read_factory(folder))


def factory_from_documents(documents: Mapping[str, Any], root: str = "adf") -> Factory:
    """Make a factory from {"pipeline/name.json": document, ...}; raises like `load_factory`."""
    return refuse_findings(read_documents(dict(documents), root, []))


def read_factory(folder: Path) -> Factory:
    """Read a folder and keep the findings instead of raising them."""
    shown = shown_path(folder)
    documents, findings = read_folder(folder, shown)
    return read_documents(documents, shown, findings)


def refuse_findings(factory: Factory) -> Factory:
    """Return the factory when neither reading nor lint has a blocking finding, else raise InvalidFactory."""
    blocking = [finding for finding in (*factory.findings, *lint(factory)) if finding.blocking]
    if blocking:
        raise InvalidFactory(blocking)
    return factory
