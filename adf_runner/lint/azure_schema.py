"""What Azure itself would refuse: a walk of the files along azure_schema.json (derived from Azure's own models).

The executor's subset is narrower than Azure. This walk separates what Azure refuses from what only the executor does not run,
and finds what the subset leaves to Azure. It knows every published type, also those that are not run here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from adf_runner.errors import Finding, Kind
from adf_runner.factory.model import Factory
from adf_runner.factory.shapes import Problem, is_dynamic, join, json_type, nearest

FILE = Path(__file__).with_name("azure_schema.json")
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,)
}  # fmt: skip
# Texts that Azure documents as one type and accepts as another.
LOOSE = {"headers", "schema", "structure", "body", "defaultValue", "value", "azureCloudType", "paginationRules"}
AS_TEXT = {"integer": r"-?\d+", "number": r"-?\d+(\.\d+)?", "boolean": "(?i:true|false)"}
TYPO = 0.85  # how near a name must be to a known one to be taken for a slip
SECRETS = {"SecureString", "AzureKeyVaultSecret"}


@cache
def schema() -> Mapping[str, Any]:
    """Return what Azure's own models say of each type: its keys and which of them are required."""
    loaded: Mapping[str, Any] = json.loads(FILE.read_text("utf-8"))
    return loaded


class Walk:
    """One document: what Azure would say of it, and the places that it knows."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def value(self, value: Any, kind: str, path: str, key: str = "") -> None:
        """Check a value against a kind; see derive_schema.py for the kinds."""
        if value is None or is_dynamic(value):
            return
        what, _, rest = kind.rstrip("!").partition(":")
        if what == "list" and isinstance(value, list):
            for index, item in enumerate(value):
                self.value(item, rest, join(path, index))
        elif what == "map" and isinstance(value, dict):
            for name, item in value.items():
                self.value(item, rest, join(path, name), key)
        elif what in {"list", "map"}:
            self._wrong(path, "an array" if what == "list" else "an object", value)
        elif what == "enum":
            self._enum(value, rest, path)
        elif what == "model":
            self._model(value, rest, path)
        elif (rest or what) in TYPES and key not in LOOSE:
            self._scalar(value, rest or what, path, loose=what == "any")

    def _say(self, path: str, message: str, kind: Kind = "error") -> None:
        self.problems.append(Problem(path, message, kind))

    def _wrong(self, path: str, wanted: str, value: Any) -> None:
        self._say(path, f"Azure wants {wanted}, not {json_type(value)}")

    def _scalar(self, value: Any, kind: str, path: str, *, loose: bool) -> None:
        """Check a scalar; Azure reads '5' as 5 and 'true' as true, and a secret where a text may be one."""
        types = TYPES[kind]
        if isinstance(value, types) and not (isinstance(value, bool) and bool not in types):
            return
        if isinstance(value, str) and re.fullmatch(AS_TEXT.get(kind, "(?!)"), value):
            return
        if loose and ((kind == "string" and isinstance(value, int | float)) or _is_secret(value)):
            return
        self._wrong(path, f"{'an' if kind[0] in 'aio' else 'a'} {kind}", value)

    def _enum(self, value: Any, name: str, path: str) -> None:
        values = schema()["enums"][name]
        if not isinstance(value, str) or value.lower() not in {item.lower() for item in values}:
            self._say(path, f"Azure does not know {value!r}; it takes {', '.join(values)}")

    def _model(self, value: Any, name: str, path: str) -> None:
        if not isinstance(value, dict):
            self._wrong(path, "an object", value)
            return
        kinds = schema()["kinds"].get(name)
        if kinds:
            kind = value.get("type")
            if not isinstance(kind, str) or kind not in kinds:
                near, slip = suggestion(str(kind), list(kinds))
                place = (
                    f"{path} {value['name']!r}" if name == "Activity" and isinstance(value.get("name"), str) else path
                )
                message = f"type {kind!r} is in none of Azure's published models{near}"
                self._say(self._step(place, "type"), message, slip)
                return
            name = kinds[kind]
        properties = schema()["models"].get(name)
        if properties is None:
            return
        here = (
            f"{path} {value['name']!r}"
            if "typeProperties" in properties and isinstance(value.get("name"), str)
            else path
        )
        spelt = {known.lower(): known for known in properties}
        given = {key.lower() for key in value}
        for key, item in value.items():
            place = self._step(here, key)
            if key.lower() in spelt:
                self.value(item, properties[spelt[key.lower()]], place, key)
                continue
            near, slip = suggestion(key, [known for known in properties if known.lower() not in given])
            self._say(place, f"property {key!r} is in none of Azure's published models{near}", slip)
        for key, kind in properties.items():
            if kind.endswith("!") and key != "type" and key.lower() not in given:
                self._say(here, f"Azure needs the property {key!r}")

    def _step(self, path: str, key: str) -> str:
        """Name a property as the other checks do: typeProperties is passed over, an activity's parts follow a blank."""
        if key == "typeProperties":
            return path
        return f"{path} {key}" if path.endswith("'") else join(path, key)


def suggestion(name: str, known: list[str]) -> tuple[str, Kind]:
    """Say what may have been meant, and whether the name is a slip of it: Azure would pass over the property, or refuse."""
    letters = sorted(name.lower())
    is_slip = bool(nearest(name, known, TYPO)) or any(sorted(item.lower()) == letters for item in known)
    return nearest(name, known), "error" if is_slip else "not run"


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") in SECRETS


def walks(factory: Factory) -> Iterator[tuple[str, Walk]]:
    """Walk every document of a factory that has a root in the schema."""
    for relative, document in factory.documents.items():
        root = schema()["roots"].get(relative.split("/")[0])
        properties = document.get("properties") if isinstance(document, Mapping) else None
        if root is None or not isinstance(properties, dict):
            continue
        walk = Walk()
        walk.value(properties, f"model:{root}", "")
        yield f"{factory.root}/{relative}", walk


def with_azure(factory: Factory) -> list[Finding]:
    """Return what reading found and what Azure says: where both speak of one place, Azure's word counts."""
    result: list[Finding] = []
    read: dict[str, list[Finding]] = {}
    for finding in factory.findings:
        read.setdefault(finding.file, []).append(finding)
    for file, walk in walks(factory):
        said = {problem.path: problem for problem in walk.problems}
        result += [Finding(file=file, path=path, message=message, kind=kind) for path, message, kind in walk.problems]
        result += [finding for finding in read.pop(file, []) if finding.kind != "not run" or finding.path not in said]
    return [*result, *(finding for findings in read.values() for finding in findings)]
