"""The faults of a partner file in plain words, as many as one reading can find, with the nearest name for a mistyped one.

A model stops at the first layer of faults: a mistyped key hides what its layout says wrongly. So what can be corrected without
doubt (a mistyped key, a number that should be quoted, one value where a list is wanted) is corrected in a copy, and the copy is
checked again. The copy is never used.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fault import Fault

Place = tuple[int | str, ...]

_ROUNDS: Final = 4


def all_faults(model: type[BaseModel], data: object, first: ValidationError) -> list[tuple[Place, str]]:
    """Return every fault that is found, each with its place and its words, in the order in which they were found."""
    schema = model.model_json_schema()
    trial: Any = copy.deepcopy(data)
    found: dict[tuple[Place, str], None] = {}
    error: ValidationError | None = first
    guessed: set[Place] = set()
    for _ in range(_ROUNDS):
        if error is None:
            break
        details = error.errors(include_url=False)
        renamed: set[Place] = set()
        for each in details:
            renamed |= set(_correct(schema, trial, each))
        for each in details:
            place: Place = each["loc"]
            if place not in guessed and (each["type"] != "missing" or place not in renamed):
                found[place, _words(schema, each)] = None
        guessed |= renamed  # what a guess made wrong is not the writer's fault
        error = _check(model, trial) if renamed else None
    return list(found)


def _check(model: type[BaseModel], data: object) -> ValidationError | None:
    try:
        model.model_validate(data)
    except ValidationError as error:
        return error
    return None


def _words(schema: Mapping[str, Any], found: ErrorDetails) -> str:
    """Return one fault in words: what is wrong, and what to write instead."""
    cause = found.get("ctx", {}).get("error")
    if isinstance(cause, Fault) and cause.hint:
        return f"{cause}; {cause.hint}"
    place, value = found["loc"], found["input"]
    match found["type"]:
        case "extra_forbidden":
            key = str(place[-1])
            near = _near(key, _keys_at(schema, place[:-1]))
            return f"{key} is not a key here; did you mean {near}?" if near else f"{key} is not a key here"
        case "missing":
            return f"the key {place[-1]} is missing"
        case "string_type" if isinstance(value, (bool, int, float)) or hasattr(value, "isoformat"):
            return 'this must be a text, and YAML reads a number, a date or a boolean: put it in quotes, such as "01"'
        case "list_type" if isinstance(value, str):
            return f"this must be a list: write [{value}]"
        case "int_type" | "bool_type" if isinstance(value, str):
            return "this must be a number, without quotes" if found["type"] == "int_type" else "write true or false"
        case "literal_error":
            allowed = _allowed(found)
            near = _near(str(value), allowed)
            return f"{value!r} is not known here; " + (
                f"did you mean {near!r}?" if near else f"write {', '.join(allowed)}"
            )
        case _:
            return found["msg"].removeprefix("Value error, ")


def _correct(schema: Mapping[str, Any], data: Any, found: ErrorDetails) -> Iterator[Place]:
    """Correct one fault in the copy where that leaves no doubt; yield the places that are right then."""
    place, value = found["loc"], found["input"]
    parent, place = _parent(data, place)
    if parent is None:
        return
    key: Any = place[-1]
    match found["type"]:
        case "extra_forbidden":
            near = _near(str(key), _keys_at(schema, place[:-1]))
            taken = parent.pop(key)
            if near and near not in parent:
                parent[near] = taken
                yield (*place[:-1], near)
            yield place
        case "string_type" if isinstance(value, (bool, int, float)) or hasattr(value, "isoformat"):
            parent[key] = str(value)
            yield place
        case "list_type" if isinstance(value, str):
            parent[key] = [value]
            yield place
        case "literal_error" if near := _near(str(value), _allowed(found)):
            parent[key] = near
            yield place


def _parent(data: Any, place: Place) -> tuple[Any, Place]:
    """Return what holds the last step of a place, and the place without the names of forms, which are in no file."""
    steps: list[int | str] = []
    holder, here = None, data
    for step in place:
        is_there = (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        )
        if is_there:
            holder, here = here, here[step]
            steps.append(step)
    return (holder, tuple(steps)) if steps and steps[-1] == place[-1] else (None, place)


def _allowed(found: ErrorDetails) -> list[str]:
    return re.findall(r"'([^']*)'", str(found.get("ctx", {}).get("expected", "")))


def _near(name: str, known: list[str]) -> str | None:
    return next(iter(get_close_matches(name, known, n=1)), None)


def _keys_at(schema: Mapping[str, Any], place: Place) -> list[str]:
    """Return the keys that a place may have, by the JSON Schema."""
    nodes = _resolved(schema, schema)
    for step in place:
        inner = [each for node in nodes for each in _inside(node, step)]
        nodes = [each for node in inner for each in _resolved(schema, node)] or nodes
    return sorted({key for node in nodes for key in node.get("properties", {})})


def _inside(node: Mapping[str, Any], step: int | str) -> Iterator[Mapping[str, Any]]:
    if isinstance(step, int):
        found = node.get("items")
    else:
        others = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
        found = node.get("properties", {}).get(step, others)
    if isinstance(found, Mapping):
        yield found


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a node of the schema may be: references followed, alternatives apart."""
    if "$ref" in node:
        return _resolved(schema, schema["$defs"][str(node["$ref"]).rpartition("/")[2]])
    alternatives = [*node.get("anyOf", []), *node.get("oneOf", [])]
    return [found for each in alternatives for found in _resolved(schema, each)] or [node]
