"""What Azure itself would refuse: a walk of the files along azure_schema.json (derived from Azure's own models).

The executor's subset is narrower than Azure; this walk tells a property that nobody knows from one that Azure knows and
the executor does not run, and finds what the subset leaves to Azure. It knows only the types that the subset names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from adf_runner.errors import Finding
from adf_runner.factory.model import Factory
from adf_runner.factory.shapes import is_dynamic, join, json_type, nearest

FILE = Path(__file__).with_name("azure_schema.json")
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,)
}  # fmt: skip
# Studio writes these in lower case, and Azure takes them.
ANY_CASE = {"ParameterType", "GlobalParameterType", "VariableType"}
# Texts that Azure documents as one type and accepts as another.
LOOSE = {"headers", "schema", "structure", "body", "defaultValue", "value", "azureCloudType"}
NOT_RUN = "is Azure's, but the local executor does not run it"


@cache
def schema() -> Mapping[str, Any]:
    """Return what Azure's own models say of each type: its keys and which of them are required."""
    loaded: Mapping[str, Any] = json.loads(FILE.read_text("utf-8"))
    return loaded


class Walk:
    """One document: what is wrong with it, and which places hold a property that Azure knows."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str]] = []
        self.known: set[str] = set()

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
            self._scalar(value, rest or what, path)

    def _wrong(self, path: str, wanted: str, value: Any) -> None:
        self.problems.append((path, f"Azure wants {wanted}, not {json_type(value)}"))

    def _scalar(self, value: Any, kind: str, path: str) -> None:
        types = TYPES[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            article = "an" if kind[0] in "aio" else "a"
            self._wrong(path, f"{article} {kind}", value)

    def _enum(self, value: Any, name: str, path: str) -> None:
        values = schema()["enums"][name]
        same = {item.lower() for item in values} if name in ANY_CASE else set(values)
        if not isinstance(value, str) or (value.lower() if name in ANY_CASE else value) not in same:
            self.problems.append((path, f"Azure does not know {value!r}; it takes {', '.join(values)}"))

    def _model(self, value: Any, name: str, path: str) -> None:
        if not isinstance(value, dict):
            self._wrong(path, "an object", value)
            return
        kinds = schema()["kinds"].get(name)
        if kinds:
            kind = value.get("type")
            if kind not in kinds:
                return  # the subset has said so already
            name = kinds[kind]
        properties = schema()["models"].get(name)
        if properties is None:
            return
        here = (
            f"{path} {value['name']!r}"
            if "typeProperties" in properties and isinstance(value.get("name"), str)
            else path
        )
        for key, item in value.items():
            place = self._step(here, key)
            if key not in properties:
                self.problems.append(
                    (place, f"Azure does not know the property {key!r}{nearest(key, list(properties))}")
                )
                continue
            self.known.add(place)
            self.value(item, properties[key], place, key)
        for key, kind in properties.items():
            if kind.endswith("!") and key != "type" and value.get(key) is None:
                self.problems.append((here, f"Azure needs the property {key!r}"))

    def _step(self, path: str, key: str) -> str:
        """Name a property as the other checks do: typeProperties is passed over, an activity's parts follow a blank."""
        if key == "typeProperties":
            return path
        return f"{path} {key}" if path.endswith("'") else join(path, key)


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


def schema_findings(factory: Factory, found: list[Finding]) -> list[Finding]:
    """Return `found` with Azure's view added: its own findings, and what it knows though the executor does not."""
    result, places = list(found), {(finding.file, finding.path) for finding in found}
    for file, walk in walks(factory):
        for index, finding in enumerate(result):
            unknown = finding.message.startswith("unknown property")
            if unknown and finding.file == file and finding.path in walk.known:
                name = finding.path.replace(" ", ".").rsplit(".", 1)[-1]
                result[index] = Finding(file=file, path=finding.path, message=f"property {name!r} {NOT_RUN}")
        result += [
            Finding(file=file, path=path, message=message, blocking=False)
            for path, message in walk.problems
            if (file, path) not in places
        ]
    return result
