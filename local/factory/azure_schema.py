"""placeholder."""

from __future__ import annotations

from local.factory.errors import Finding
from local.factory.model import Factory


def schema_findings(factory: Factory) -> list[Finding]:  # noqa: ARG001
    return []
