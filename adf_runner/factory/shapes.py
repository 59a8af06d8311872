"""A small language for the shape of JSON: which properties, of which type, with which values.

`subset.py` states with it what the executor runs; `check` walks a value along a shape and names whatever does not fit.
It does not evaluate expressions: a value that will come from one is taken as it is, and looked at again once evaluated.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adf_runner.errors import Kind

NOT_RUN = "is not run here"
TIMESPAN = re.compile(r"^(?:(\d+)\.)?(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d{1,7})?$")


class Problem(NamedTuple):
    """What a shape does not allow: an `error` breaks a documented rule, `not run` is only wider than the shape."""

    path: str
    message: str
    kind: Kind = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One property: `kind` is its JSON type or a word below; the rest narrows it.

    kinds: string integer number boolean array object any timespan secret reference expression activities
    `as_text`: a number may be written as its digits, a time span as ''.
    """

    kind: str
    required: bool = False
    choices: tuple[Any, ...] = ()
    fields: Mapping[str, Shape] = field(default_factory=dict)
    by_type: Mapping[str, Mapping[str, Shape]] = field(default_factory=dict)
    items: Shape | None = None
    values: Shape | None = None
    reference: str = ""
    low: int | None = None
    high: int | None = None
    dynamic: bool = True
    note: str = ""
    as_text: bool = False


def text(**options: Any) -> Shape:
    """Make a text."""
    return Shape(kind="string", **options)


def integer(**options: Any) -> Shape:
    """Make a whole number."""
    return Shape(kind="integer", **options)


def number(**options: Any) -> Shape:
    """Make a number."""
    return Shape(kind="number", **options)


def boolean(**options: Any) -> Shape:
    """Make a boolean."""
    return Shape(kind="boolean", **options)


def timespan(**options: Any) -> Shape:
    """Make a time span, such as 0.00:10:00."""
    return Shape(kind="timespan", **options)


def anything(**options: Any) -> Shape:
    """Make a value of any type."""
    return Shape(kind="any", **options)


def choice(*choices: Any, **options: Any) -> Shape:
    """Make a text that is one of `choices`."""
    return Shape(kind="string", choices=choices, **options)


def array(items: Shape | None = None, **options: Any) -> Shape:
    """Make an array, of `items` where they are given."""
    return Shape(kind="array", items=items, **options)


def record(fields: Mapping[str, Shape], **options: Any) -> Shape:
    """Make an object with exactly these properties."""
    return Shape(kind="object", fields=fields, **options)


def mapping(values: Shape, **options: Any) -> Shape:
    """Make an object with any property names, each value of one shape."""
    return Shape(kind="object", values=values, **options)


def union(by_type: Mapping[str, Mapping[str, Shape]], **options: Any) -> Shape:
    """Make an object whose `type` chooses its properties."""
    return Shape(kind="object", by_type=by_type, **options)


def expression(**options: Any) -> Shape:
    """Make a value that must be an expression object: {"type": "Expression", "value": "@..."}."""
    return Shape(kind="expression", **options)


def activities(**options: Any) -> Shape:
    """Make a list of activities."""
    return Shape(kind="activities", **options)


def secret(**options: Any) -> Shape:
    """Make a secret: in a repository this is a Key Vault reference and nothing else."""
    return Shape(kind="secret", **options)


def reference(to: str, **options: Any) -> Shape:
    """Make a reference: {"referenceName", "type": to, "parameters"}."""
    return Shape(kind="reference", reference=to, **options)


def is_expression_object(value: Any) -> bool:
    """Return whether a value is `{"type": "Expression", "value": ...}`."""
    return isinstance(value, dict) and value.get("type") == "Expression" and set(value) == {"type", "value"}


def is_dynamic(value: Any) -> bool:
    """Say whether evaluation will replace this value."""
    if is_expression_object(value):
        return True
    return isinstance(value, str) and ((value.startswith("@") and not value.startswith("@@")) or "@{" in value)


def nearest(name: str, known: Iterator[str] | list[str], cutoff: float = 0.7) -> str:
    """Say '; did you mean ...?' when a known name is near, else ''."""
    lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=cutoff)
    return f"; did you mean {lower[found[0]]!r}?" if found else ""


def join(path: str, step: str | int) -> str:
    """Return a path one step deeper: `a.b` or `a[0]`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else step


def json_type(value: Any) -> str:
    """Name a Python value's JSON type as messages call it."""
    names: list[tuple[type, str]] = [(bool, "a boolean"), (int, "an integer"), (float, "a number"), (str, "a string"),
                                     (list, "an array"), (dict, "an object")]  # fmt: skip
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def check(value: Any, shape: Shape, path: str, *, evaluated: bool = False) -> Iterator[Problem]:
    """Yield everything in `value` that `shape` does not allow.

    `evaluated` says that expressions were already replaced: text that reads as a number or boolean then passes for
    one, because interpolation only ever makes text.
    """
    if shape.kind == "expression" and not is_expression_object(value):
        yield Problem(path, 'must be an expression object: {"value": "@...", "type": "Expression"}', "error")
        return
    if shape.kind == "expression" and isinstance(value["value"], str) and not is_dynamic(value["value"]):
        yield Problem(path, f"{value['value']!r} is text; an expression begins with @")
        return
    if not evaluated and is_dynamic(value):
        if is_expression_object(value) and not isinstance(value["value"], str):
            yield Problem(path, "an expression's value must be a string", "error")
        elif not shape.dynamic:
            yield Problem(path, "takes no expression here, only a constant")
        return
    match shape.kind:
        case "string":
            yield from _check_text(value, shape, path)
        case "integer" | "number":
            yield from _check_number(value, shape, path, evaluated=evaluated)
        case "boolean":
            yield from _check_boolean(value, shape, path, evaluated=evaluated)
        case "timespan":
            yield from _check_timespan(value, shape, path)
        case "array":
            yield from _check_array(value, shape, path, evaluated=evaluated)
        case "object":
            yield from _check_object(value, shape, path, evaluated=evaluated)
        case "reference":
            yield from _check_reference(value, shape, path, evaluated=evaluated)
        case "secret":
            yield from _check_secret(value, path, evaluated=evaluated)


def _check_text(value: Any, shape: Shape, path: str) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem(path, f"must be a string, not {json_type(value)}")
    elif shape.choices and value not in shape.choices:
        known = ", ".join(str(item) for item in shape.choices)
        yield Problem(path, f"{value!r} is not one of {known}{nearest(value, [str(item) for item in shape.choices])}")


def _check_number(value: Any, shape: Shape, path: str, *, evaluated: bool) -> Iterator[Problem]:
    whole = shape.kind == "integer"
    if (
        (evaluated or shape.as_text)
        and isinstance(value, str)
        and re.fullmatch(r"\s*-?\d+\s*" if whole else r"\s*-?\d+(\.\d+)?\s*", value)
    ):
        value = float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        yield Problem(path, f"must be {'an integer' if whole else 'a number'}, not {json_type(value)}")
        return
    if shape.choices and value not in shape.choices:
        yield Problem(path, f"{value} is not one of {', '.join(str(item) for item in shape.choices)}")
    if shape.low is not None and value < shape.low:
        yield Problem(path, f"{value} is below {shape.low}", "error")
    if shape.high is not None and value > shape.high:
        yield Problem(path, f"{value} is above {shape.high}", "error")


def _check_boolean(value: Any, shape: Shape, path: str, *, evaluated: bool) -> Iterator[Problem]:
    if evaluated and isinstance(value, str) and value.lower() in {"true", "false"}:
        value = value.lower() == "true"
    if not isinstance(value, bool):
        yield Problem(path, f"must be true or false, not {json_type(value)}")
    elif shape.choices and value not in shape.choices:
        yield Problem(path, f"{str(value).lower()} is refused: {shape.note}")


def _check_timespan(value: Any, shape: Shape, path: str) -> Iterator[Problem]:
    if value == "" and shape.as_text:
        return
    if not isinstance(value, str) or not TIMESPAN.match(value):
        yield Problem(path, "must be a time span d.hh:mm:ss", "error")
        return
    found = TIMESPAN.match(value)
    assert found
    hours, minutes, secs = found.groups()[1:]
    if int(hours) > 23 or int(minutes) > 59 or int(secs) > 59:
        yield Problem(path, f"{value!r} is not a time span d.hh:mm:ss", "error")
    elif shape.high is not None and seconds(value) > shape.high:
        yield Problem(path, f"{value!r} is longer than Azure allows", "error")
    elif shape.low is not None and seconds(value) < shape.low:
        yield Problem(path, f"{value!r} is shorter than Azure allows", "error")


def _check_array(value: Any, shape: Shape, path: str, *, evaluated: bool) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield Problem(path, f"must be an array, not {json_type(value)}")
        return
    for index, item in enumerate(value):
        if shape.items is not None:
            yield from check(item, shape.items, join(path, index), evaluated=evaluated)


def _check_object(value: Any, shape: Shape, path: str, *, evaluated: bool) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem(path, f"must be an object, not {json_type(value)}")
    elif shape.choices and value not in shape.choices:
        yield Problem(path, f"{value} is refused: {shape.note}")
    elif shape.values is not None:
        for key, item in value.items():
            yield from check(item, shape.values, join(path, key), evaluated=evaluated)
    elif shape.by_type:
        kind = value.get("type")
        if isinstance(kind, str) and kind in shape.by_type:
            yield from check_fields(value, {"type": text(), **shape.by_type[kind]}, path, evaluated=evaluated)
        elif kind is None:
            yield Problem(path, f"lacks 'type' (one of {', '.join(shape.by_type)})", "error")
        else:
            yield Problem(join(path, "type"), f"type {kind!r} {NOT_RUN}")
    elif shape.fields:
        yield from check_fields(value, shape.fields, path, evaluated=evaluated)


def check_fields(
    value: Mapping[str, Any], fields: Mapping[str, Shape], path: str, *, evaluated: bool = False
) -> Iterator[Problem]:
    """Check an object's properties: none unknown, none missing, each of its shape."""
    for key, item in value.items():
        if key in fields:
            yield from check(item, fields[key], join(path, key), evaluated=evaluated)
        else:
            yield Problem(join(path, key), f"property {key!r} {NOT_RUN}")
    for key, shape in fields.items():
        if shape.required and value.get(key) is None:
            yield Problem(path, f"lacks the property {key!r}")


def _check_secret(value: Any, path: str, *, evaluated: bool) -> Iterator[Problem]:
    if isinstance(value, dict) and value.get("type") == "SecureString":
        yield Problem(path, "holds a secret inline; name one in Key Vault instead (type AzureKeyVaultSecret)", "advice")
        yield from check_fields(value, {"type": text(), "value": text(required=True)}, path, evaluated=evaluated)
        return
    if not isinstance(value, dict) or value.get("type") != "AzureKeyVaultSecret":
        yield Problem(path, "is no secret of Key Vault (type AzureKeyVaultSecret) and no SecureString")
        return
    fields = {"type": text(), "store": reference("LinkedServiceReference", required=True),
              "secretName": text(required=True), "secretVersion": text()}  # fmt: skip
    yield from check_fields(value, fields, path, evaluated=evaluated)


def _check_reference(value: Any, shape: Shape, path: str, *, evaluated: bool) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem(path, f"must be a reference object, not {json_type(value)}")
        return
    fields = {
        "referenceName": text(required=True, dynamic=False),
        "type": choice(shape.reference, required=True, dynamic=False),
    }
    if shape.reference in {"DatasetReference", "LinkedServiceReference"}:
        fields["parameters"] = mapping(anything())
    if shape.reference == "PipelineReference":
        fields["name"] = text()
    yield from check_fields(value, fields, path, evaluated=evaluated)


def seconds(span: str) -> int:
    """Read a time span d.hh:mm:ss as seconds."""
    found = TIMESPAN.match(span)
    assert found, span
    days, hours, minutes, secs = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + secs
