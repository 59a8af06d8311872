"""JSON paths of names and indexes, as mappings and pagination rules write them: $.a['b'][0]."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from adf_runner.errors import ActivityFailed

STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\[['\"]([^'\"]+)['\"]\]|\[(\d+)\]")
MISSING = object()


def look(document: Any, path: str) -> Any:
    """Return what a JSON path of names and indexes leads to, MISSING when nothing is there. Raises ActivityFailed."""
    rest = path.strip().removeprefix("$")
    value = document
    position = 0
    while position < len(rest):
        found = STEP.match(rest, position)
        if found is None:
            raise ActivityFailed(
                f"the path {path!r} is not read here",
                "names and indexes only: $.a['b'][0]",
                code="BadRequest",
                retriable=False,
            )
        name, quoted, index = found.groups()
        if index is not None:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else MISSING
        else:
            value = value.get(name or quoted, MISSING) if isinstance(value, Mapping) else MISSING
        if value is MISSING:
            return MISSING
        position = found.end()
    return value
