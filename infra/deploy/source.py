"""adf/ as items: one per file, each name equal to its file's name, each reference resolved, in the order of creation.

Does not check what an activity may hold: `./sealift adf check` does. Knows no Azure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from infra.deploy.errors import InvalidSource

# Folder of the Git integration -> collection of the REST API; the order is that of the plan where nothing refers.
COLLECTIONS = {
    "globalParameters": "globalParameters",
    "credential": "credentials",
    "integrationRuntime": "integrationRuntimes",
    "linkedService": "linkedservices",
    "dataset": "datasets",
    "dataflow": "dataflows",
    "pipeline": "pipelines",
    "trigger": "triggers",
}
REFERENCES = {
    "CredentialReference": "credential",
    "IntegrationRuntimeReference": "integrationRuntime",
    "LinkedServiceReference": "linkedService",
    "DatasetReference": "dataset",
    "DataFlowReference": "dataflow",
    "PipelineReference": "pipeline",
    "TriggerReference": "trigger",
}
BUILT_IN = {("integrationRuntime", "AutoResolveIntegrationRuntime")}
GLOBAL_PARAMETERS = ("globalParameters", "default")

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One object of the factory: `properties` is what the REST API takes and gives under that name."""

    kind: str
    name: str
    properties: Mapping[str, Any] = field(repr=False)
    etag: str = ""

    @property
    def key(self) -> Key:
        return (self.kind, self.name)

    @property
    def title(self) -> str:
        return f"{self.kind}.{self.name}"


def load_source(folder: Path) -> dict[Key, Item]:
    """Read every file below `folder`; raises InvalidSource on the first that cannot be deployed."""
    if not folder.is_dir():
        raise InvalidSource(f"there is no folder {folder}", "run this in the repository's root")
    items: dict[Key, Item] = {}
    for path in sorted(folder.rglob("*.json")):
        item = _load(path, folder)
        if item.key in items:
            raise InvalidSource(f"{path}: there are two of {item.title}", "keep one factory file")
        items[item.key] = item
    for item in items.values():
        _check_references(item, items, folder)
    in_order(items)
    return items


def _load(path: Path, folder: Path) -> Item:
    kind = path.relative_to(folder).parts[0]
    if path.parent.parent != folder or (kind not in COLLECTIONS and kind != "factory"):
        known = ", ".join([*COLLECTIONS, "factory"])
        raise InvalidSource(f"{path}: this is not a folder of a factory", f"the folders are {known}")
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidSource(f"{path}: {error}", "fix the JSON") from error
    if not isinstance(body, dict) or not isinstance(body.get("properties"), dict):
        raise InvalidSource(
            f"{path}: an object with 'properties' is expected", "compare with another file of the folder"
        )
    if body.get("name") != path.stem:
        raise InvalidSource(f"{path}: its name is {body.get('name')!r}", f"name and file must be equal: {path.stem!r}")
    if kind == "factory":
        kind, name = GLOBAL_PARAMETERS
        # Studio writes "string", the REST API "String".
        declared = body["properties"].get("globalParameters", {})
        properties = {key: {**value, "type": str(value["type"]).capitalize()} for key, value in declared.items()}
        return Item(kind=kind, name=name, properties=properties)
    return Item(kind=kind, name=path.stem, properties=body["properties"])


def references(value: Any) -> Iterator[Key]:
    """Every item that `value` names with a referenceName, at any depth."""
    if isinstance(value, dict):
        kind = REFERENCES.get(str(value.get("type")))
        name = value.get("referenceName")
        if kind and isinstance(name, str) and (kind, name) not in BUILT_IN:
            yield (kind, name)
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from references(part)


def _check_references(item: Item, items: Mapping[Key, Item], folder: Path) -> None:
    for kind, name in references(item.properties):
        if (kind, name) not in items:
            message = f"{folder / item.kind / item.name}.json refers to {kind} {name!r}, which is not there"
            raise InvalidSource(message, "add the file, or fix the name")


def in_order(items: Mapping[Key, Item]) -> list[Item]:
    """The items, each after all that it refers to; kinds keep their usual order where nothing says otherwise."""
    graph: TopologicalSorter[Key] = TopologicalSorter()
    for key, item in sorted(items.items(), key=_usual_order):
        graph.add(key, *(wanted for wanted in references(item.properties) if wanted in items))
    ready: list[Item] = []
    try:
        graph.prepare()
    except CycleError as error:
        circle = " -> ".join(f"{kind}.{name}" for kind, name in error.args[1])
        raise InvalidSource(
            f"these refer to each other in a circle: {circle}", "no factory can hold a circle"
        ) from error
    while graph.is_active():
        for key in sorted(graph.get_ready(), key=lambda key: _usual_order((key, items[key]))):
            ready.append(items[key])
            graph.done(key)
    return _triggers_last(ready)


def _triggers_last(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.kind == "trigger")


def _usual_order(entry: tuple[Key, Item]) -> tuple[int, str]:
    (kind, name), _ = entry
    return list(COLLECTIONS).index(kind), name
