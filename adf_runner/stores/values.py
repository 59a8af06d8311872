"""JSON values as the text that Data Factory writes for them."""

from __future__ import annotations

from typing import Any

from adf_runner.errors import ActivityFailed


def as_text(value: Any, *, boolean_as_number: bool = False) -> str | None:
    """Return a JSON value as Data Factory's text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(int(value)) if boolean_as_number else str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value).replace("e", "E")
    raise ActivityFailed(
        "a nested object or array has no column to go to", "flatten it before", code="UserErrorColumnMapping"
    )
