"""Names, references and their arguments: rules for what is in every kind of file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adf_runner.errors import Finding
from adf_runner.factory.shapes import nearest
from adf_runner.factory.subset import LINKED_SERVICES
from adf_runner.lint.types import argument

NAME_LIMIT = 140
FORBIDDEN_IN_NAMES = set(".+?/<>*%&:\\")


def reference(
    file: str, path: str, value: Any, known: Mapping[str, Any], what: str, types: Sequence[str] = ()
) -> Iterator[Finding]:
    """Check that a reference leads somewhere, to the right type, with the parameters that stand there."""
    if not isinstance(value, Mapping) or not isinstance(value.get("referenceName"), str):
        return
    name = value["referenceName"]
    target = known.get(name)
    if target is None:
        yield Finding(file=file, path=path, message=f"no {what} {name!r}{nearest(name, list(known))}")
        return
    if types and target.type not in types and target.type in LINKED_SERVICES:
        yield Finding(file=file, path=path, message=f"{what} {name!r} is a {target.type}, not {' or '.join(types)}")
    given = value.get("parameters") or {}
    yield from arguments(
        file, f"{path}.parameters" if path else "parameters", given, target.parameters, f"{what} {name!r}"
    )


def arguments(
    file: str, path: str, given: Mapping[str, Any], declared: Mapping[str, Mapping[str, Any]], what: str
) -> Iterator[Finding]:
    """Check given parameters against declared ones: none unknown, none missing, constants of the right type."""
    for name, value in given.items():
        if name in declared:
            yield from argument(file, f"{path}.{name}", value, declared[name], name)
        else:
            near = nearest(name, [known for known in declared if known not in given])
            message = f"{what} has no parameter {name!r}{near}"
            yield Finding(file=file, path=f"{path}.{name}", message=message, kind="error" if near else "not run")
    for name, declaration in declared.items():
        if name not in given and "defaultValue" not in declaration:
            yield Finding(file=file, path=path, message=f"{what} needs the parameter {name!r}")


def name_rules(file: str, name: str, limit: int = NAME_LIMIT) -> Iterator[Finding]:
    """Yield what Data Factory refuses in a name: its length and its characters."""
    if len(name) > limit:
        yield Finding(file=file, path="name", message=f"is longer than {limit} characters")
    wrong = sorted(FORBIDDEN_IN_NAMES & set(name))
    if wrong:
        yield Finding(file=file, path="name", message=f"must not hold {' '.join(wrong)}")


def objects(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield path and value of every object in a value, the outermost first."""
    if isinstance(value, Mapping):
        yield path, value
        for key, item in value.items():
            yield from objects(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from objects(item, f"{path}[{index}]")
