"""The schema derived from Azure's models: it holds the executor's subset, and the project's files keep it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adf_runner import factory_from_documents, read_factory
from adf_runner.errors import InvalidFactory
from adf_runner.factory import subset
from adf_runner.factory.reading import read_documents
from adf_runner.factory.shapes import Shape
from adf_runner.lint.azure_schema import schema, walks, with_azure
from cli.adf_check import check


def model_of(kind: str) -> tuple[str, Mapping[str, str]]:
    name = kind.rstrip("!").removeprefix("list:").removeprefix("model:")
    return name, schema()["models"].get(name, {})


def strays(shape: Shape, kind: str, path: str) -> Iterator[str]:
    """Yield the properties of a shape that Azure's model at the same place lacks."""
    bare = kind.rstrip("!")
    if shape.kind == "array" and shape.items is not None and bare.startswith("list:"):
        yield from strays(shape.items, bare.removeprefix("list:"), path)
    if not bare.startswith("model:"):
        return
    name, properties = model_of(bare)
    kinds = schema()["kinds"].get(name, {})
    for value, fields in shape.by_type.items():
        target = kinds.get(value, name)
        yield from lacking(fields, schema()["models"].get(target, {}), f"{path}<{value}>")
    yield from lacking(shape.fields, properties, path)


def lacking(fields: Mapping[str, Shape], properties: Mapping[str, str], path: str) -> Iterator[str]:
    for key, shape in fields.items():
        if key not in properties:
            yield f"{path}.{key}"
        else:
            yield from strays(shape, properties[key], f"{path}.{key}")


def type_properties(model: str) -> Mapping[str, str]:
    properties = schema()["models"][model]
    return (
        model_of(properties["typeProperties"])[1]
        if properties.get("typeProperties", "").startswith("model:")
        else properties
    )


@pytest.mark.parametrize("name", sorted(subset.ACTIVITIES))
def test_azure_knows_every_property_of_an_activity_that_runs_here(name: str) -> None:
    assert (
        list(lacking(subset.ACTIVITIES[name].properties, type_properties(schema()["kinds"]["Activity"][name]), name))
        == []
    )


@pytest.mark.parametrize("name", sorted(subset.ACTIVITIES))
def test_azure_knows_every_policy_that_an_activity_may_carry_here(name: str) -> None:
    properties = schema()["models"][schema()["kinds"]["Activity"][name]]
    policy = model_of(properties["policy"])[1] if "policy" in properties else {}

    assert set(subset.POLICIES[subset.ACTIVITIES[name].policy]) <= set(policy)


@pytest.mark.parametrize(
    ("kind", "known"),
    [("LinkedService", subset.LINKED_SERVICES), ("Dataset", subset.DATASETS), ("Trigger", subset.TRIGGERS)],
)
def test_azure_knows_every_property_of_what_is_connected_here(
    kind: str, known: Mapping[str, Mapping[str, Shape]]
) -> None:
    for name, fields in known.items():
        assert list(lacking(fields, type_properties(schema()["kinds"][kind][name]), name)) == []


def test_files_of_data_flows_and_runtimes_are_known_too(tmp_path: Path) -> None:
    for name, properties in {
        "dataflow/flow.json": {"type": "MappingDataFlow", "typeProperties": {"sources": [], "sinks": [], "script": ""}},
        "integrationRuntime/own.json": {"type": "SelfHosted", "typePropertys": {}},
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(json.dumps({"name": Path(name).stem, "properties": properties}))

    (finding,) = check(tmp_path)[0]

    assert (finding.kind, finding.path) == ("error", "typePropertys")
    assert "did you mean 'typeProperties'?" in finding.message


def test_the_schema_holds_every_type_that_azure_publishes() -> None:
    kinds = schema()["kinds"]

    assert set(subset.ACTIVITIES) < set(kinds["Activity"])
    assert {"ExecuteDataFlow", "SqlServerStoredProcedure", "DatabricksNotebook"} < set(kinds["Activity"])
    assert len(kinds["Dataset"]) > 100 < len(kinds["LinkedService"])


def test_the_projects_files_keep_azures_schema(repository: Path) -> None:
    factory = read_factory(repository / "adf")

    assert [str(finding) for finding in with_azure(factory)] == []
    assert [problem for _, walk in walks(factory) for problem in walk.problems] == []


def test_the_projects_files_pass_the_check(repository: Path) -> None:
    assert [str(finding) for finding in check(repository / "adf")[0]] == []


def seeded(repository: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted((repository / "adf").rglob("*.json")):
        yield file.relative_to(repository / "adf").as_posix(), json.loads(file.read_text())


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects(item)


FREE = {
    "parameters",
    "variables",
    "defaultValue",
    "annotations",
    "globalParameters",
    "tags",
    "headers",
    "body",
    "arrived",
}


def test_a_misspelt_property_is_found_wherever_it_stands(repository: Path, tmp_path: Path) -> None:
    missed = []
    documents = dict(seeded(repository))
    for relative, document in documents.items():
        if relative.startswith("factory/"):
            continue
        total = sum(len(item) for item in objects(document))
        for number in range(total):
            changed = copy.deepcopy(document)
            place = 0
            for item in objects(changed):
                if place + len(item) > number:
                    key = list(item)[number - place]
                    item[f"{key}x"] = item.pop(key)
                    break
                place += len(item)
            inside = any(key in FREE for key in _trail(changed, f"{key}x"))
            if inside:
                continue
            if read_documents({relative: changed}, "adf", []).findings:
                continue  # its form gives it away; the rest needs the whole factory
            try:
                factory_from_documents({**documents, relative: changed})
            except InvalidFactory:
                continue
            missed.append(f"{relative}: {key}")

    optional = {"parameters", "annotations", "description"}
    assert [name for name in missed if name.rsplit(" ", 1)[-1] not in optional] == []


def _trail(value: Any, key: str, trail: tuple[str, ...] = ()) -> tuple[str, ...]:
    if isinstance(value, dict):
        if key in value:
            return trail
        for name, item in value.items():
            if found := _trail(item, key, (*trail, name)):
                return found
    elif isinstance(value, list):
        for item in value:
            if found := _trail(item, key, trail):
                return found
    return ()


def test_a_property_of_azure_that_does_not_run_here_is_named_as_such(repository: Path, tmp_path: Path) -> None:
    for relative, document in seeded(repository):
        target = tmp_path / "adf" / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        for item in objects(document):
            if item.get("type") == "Copy":
                item["typeProperties"]["skipErrorFile"] = {"fileMissing": True}
        target.write_text(json.dumps(document))

    messages = [finding.message for finding in check(tmp_path / "adf")[0]]

    assert messages
    assert set(messages) == {"property 'skipErrorFile' is not run here"}
