"""Typed parameters of procedures and scripts: a value of the pipeline as the type that is declared for it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from adf_runner.errors import ActivityFailed
from adf_runner.expressions.date_parsing import parse_date
from adf_runner.expressions.dates import DAY

PARAMETER_NAME = re.compile(r"@?([\w#$@]{1,127})")
BITS = {"byte": (0, 255), "int16": (-(2**15), 2**15 - 1), "int32": (-(2**31), 2**31 - 1), "int": (-(2**31), 2**31 - 1),
        "int64": (-(2**63), 2**63 - 1)}  # fmt: skip
# What a parameter type is to SQL Server; used where an output parameter must be declared.
DECLARED = {
    "boolean": "bit", "byte": "tinyint", "datetime": "datetime2(7)", "datetimeoffset": "datetimeoffset(7)",
    "double": "float", "guid": "uniqueidentifier", "int16": "smallint", "int32": "int", "int": "int", "int64": "bigint",
    "single": "real", "string": "nvarchar(max)",
}  # fmt: skip


def parameter_name(name: str) -> str:
    """Return a parameter's name with its @. Raises ActivityFailed for what T-SQL does not take as one."""
    found = PARAMETER_NAME.fullmatch(name)
    if found is None:
        raise ActivityFailed(
            f"{name!r} is not a name of a parameter",
            "letters, digits, _ # $ and @ only",
            code="BadRequest",
            retriable=False,
        )
    return f"@{found[1]}"


def parameters_of(parameters: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    """Return names and values of {name: {value, type}}; a plain value goes by its own type."""
    names, values = [], []
    for name, given in parameters.items():
        names.append(parameter_name(name))
        if isinstance(given, Mapping):
            values.append(typed(given.get("value"), str(given.get("type") or "String"), name))
        else:
            values.append(given)
    return names, values


def typed(value: Any, kind: str, name: str) -> Any:
    """Return a value as the driver sends it for a type. Raises ActivityFailed for one that does not fit, without it."""
    if value is None:
        return None
    try:
        return _typed(value, kind.lower())
    except (ValueError, TypeError, InvalidOperation, OverflowError) as error:
        raise ActivityFailed(
            f"the value of parameter {name!r} is not of type {kind}",
            "fix the value or the type",
            code="BadRequest",
            retriable=False,
        ) from error


def _typed(value: Any, kind: str) -> Any:
    if kind == "string":
        return _text(value)
    if kind in BITS:
        low, high = BITS[kind]
        number = int(str(value).strip())
        if not low <= number <= high:
            raise OverflowError
        return number
    if kind == "decimal":
        return Decimal(str(value).strip())
    if kind in {"double", "single"}:
        return float(value)
    if kind in {"boolean", "bool"}:
        return _boolean(value)
    if kind == "guid":
        return uuid.UUID(str(value))
    if kind in {"datetime", "datetimeoffset", "date"}:
        return _moment(str(value), zoned=kind == "datetimeoffset")
    raise ValueError


def _text(value: Any) -> str:
    if isinstance(value, (list, dict)):
        raise TypeError
    return str(value)


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    if text not in {"true", "false", "1", "0"}:
        raise ValueError
    return text in {"true", "1"}


def _moment(text: str, *, zoned: bool) -> datetime:
    found = parse_date(text, lambda: datetime.now(UTC))
    if found is None:
        raise ValueError
    days, rest = divmod(found.ticks, DAY)
    if rest % 10:
        raise ValueError  # the driver sends microseconds
    moment = datetime.combine(date.fromordinal(days + 1), datetime.min.time()) + timedelta(microseconds=rest // 10)
    return moment.replace(tzinfo=UTC) if zoned else moment
