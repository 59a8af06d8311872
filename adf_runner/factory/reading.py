"""Files of a factory into values, strictly: JSON, known properties, types, enums, names. Faults become findings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from adf_runner.errors import Finding, Kind
from adf_runner.factory import subset
from adf_runner.factory.model import (
    BRANCHES,
    Activity,
    Dataset,
    Dependency,
    Factory,
    LinkedService,
    Named,
    Pipeline,
    Trigger,
)
from adf_runner.factory.shapes import NOT_RUN, Shape, check_fields, join, nearest

ARM_TYPES = {
    "pipeline": "Microsoft.DataFactory/factories/pipelines",
    "dataset": "Microsoft.DataFactory/factories/datasets",
    "linkedService": "Microsoft.DataFactory/factories/linkedservices",
    "trigger": "Microsoft.DataFactory/factories/triggers",
    "factory": "Microsoft.DataFactory/factories",
}
# Nothing runs on these here, but a slip around them is a slip.
FORMS_NOT_RUN = {"integrationRuntime": "Microsoft.DataFactory/factories/integrationRuntimes"}
# Synapse writes the same files under another name.
FACTORIES, SYNAPSE = "microsoft.datafactory/factories", "microsoft.synapse/workspaces"
NO_FOLDER_FILES = {"publish_config.json", "arm-template-parameters-definition.json"}


def shown_path(folder: Path) -> str:
    """Return a folder as messages name it: from here when it is below here."""
    absolute, here = folder.resolve(), Path.cwd()
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else folder.as_posix()


def read_folder(folder: Path, shown: str) -> tuple[dict[str, Any], list[Finding]]:
    """Read every JSON file of a factory folder; a file where none belongs is a finding."""
    documents: dict[str, Any] = {}
    findings: list[Finding] = []
    if not folder.is_dir():
        return documents, [Finding(file=shown, path="", message="is not a folder")]
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder).as_posix()
        place = f"{shown}/{relative}"
        if file.is_dir() or relative in NO_FOLDER_FILES:
            continue
        top = relative.split("/")[0]
        if top not in (*ARM_TYPES, *subset.FOLDERS_NOT_RUN):
            near = nearest(top, [*ARM_TYPES, *subset.FOLDERS_NOT_RUN]) if "/" in relative else ""
            if near:
                findings.append(
                    Finding(file=place, path="", message=f"{top!r} is not a folder of a factory{near}", kind="advice")
                )
            continue
        if relative.count("/") != 1 or file.suffix != ".json":
            findings.append(
                Finding(
                    file=place,
                    path="",
                    message=f"is not a file {top}/*.json: Data Factory does not read it",
                    kind="advice",
                )
            )
            continue
        try:
            documents[relative] = json.loads(
                file.read_text("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_no_constant
            )
        except (ValueError, UnicodeDecodeError) as error:
            findings.append(Finding(file=place, path="", message=f"is not JSON: {error}"))
        except RecursionError:
            findings.append(Finding(file=place, path="", message="is nested too deep to be read"))
    if not documents and not any(finding.kind == "error" for finding in findings):
        findings.append(
            Finding(file=shown, path="", message="holds no factory: there is no file pipeline/*.json in it")
        )
    return documents, findings


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"property {key!r} stands twice in one object")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


class _Reader:
    """Reads documents and gathers findings; one per factory."""

    def __init__(self, root: str, findings: list[Finding]) -> None:
        self.root = root
        self.findings = findings

    def find(self, file: str, path: str, message: str, kind: Kind = "error") -> None:
        self.findings.append(Finding(file=file, path=path, message=message, kind=kind))

    def fields(self, file: str, value: Any, fields: Mapping[str, Shape], path: str = "") -> bool:
        """Check an object and say whether it can be used at all."""
        if not isinstance(value, dict):
            self.find(file, path, "must be an object")
            return False
        problems = list(check_fields(value, fields, path))
        for place, message, kind in problems:
            self.find(file, place, message, kind)
        return not problems

    def envelope(self, folder: str, file: str, stem: str, document: Any) -> dict[str, Any] | None:
        """Check {"name", "properties", "type"} around a resource and return its properties."""
        if not isinstance(document, dict):
            self.find(file, "", "must be an object")
            return None
        known = {"name", "properties", "type", "etag"} | (
            {"location", "identity", "tags", "eTag"} if folder == "factory" else set()
        )
        for key in sorted(set(document) - known):
            self.find(file, key, f"unknown property {key!r}{nearest(key, sorted(known))}")
        name = document.get("name")
        if name != stem:
            same = isinstance(name, str) and name.lower() == stem.lower()
            self.find(file, "name", f"{name!r} must equal the file's name {stem!r}", "advice" if same else "error")
        expected = {**ARM_TYPES, **FORMS_NOT_RUN}[folder]
        written = str(document.get("type", expected)).lower().replace(SYNAPSE, FACTORIES)
        if written != expected.lower():
            self.find(file, "type", f"{document['type']!r} must be {expected!r}")
        properties = document.get("properties", {} if folder == "factory" else None)
        if not isinstance(properties, dict):
            self.find(file, "", "lacks the object 'properties'")
            return None
        return properties

    def pipeline(self, file: str, stem: str, properties: dict[str, Any]) -> Pipeline:
        self.fields(file, properties, subset.PIPELINE_FIELDS)
        concurrency = properties.get("concurrency")
        return Pipeline(
            name=stem,
            file=file,
            parameters=_objects(properties.get("parameters")),
            variables=_objects(properties.get("variables")),
            activities=self.activities(file, properties.get("activities", []), "activities"),
            concurrency=concurrency if isinstance(concurrency, int) else None,
            document=properties,
        )

    def activities(self, file: str, value: Any, path: str) -> tuple[Activity, ...]:
        if not isinstance(value, list):
            self.find(file, path, "must be an array of activities")
            return ()
        read = (self.activity(file, item, join(path, index)) for index, item in enumerate(value))
        return tuple(activity for activity in read if activity is not None)

    def activity(self, file: str, value: Any, path: str) -> Activity | None:
        if (
            not isinstance(value, dict)
            or not isinstance(value.get("name"), str)
            or not isinstance(value.get("type"), str)
        ):
            self.find(file, path, "must be an object with the strings 'name' and 'type'")
            return None
        name, kind_name = value["name"], value["type"]
        path = f"{path} {name!r}"
        kind = subset.ACTIVITIES.get(kind_name)
        if kind is None:
            self.find(file, f"{path} type", f"activity type {kind_name!r} {NOT_RUN}", "not run")
            return self.made(file, value, path, {})
        fields = dict(subset.ACTIVITY_FIELDS)
        if kind.policy != "none":
            fields["policy"] = Shape(kind="object", fields=subset.POLICIES[kind.policy], dynamic=False)
        if kind.linked_service:
            fields["linkedServiceName"] = Shape(
                kind="reference", reference="LinkedServiceReference", required=True, dynamic=False
            )
        if kind.datasets:
            fields["inputs"] = fields["outputs"] = Shape(
                kind="array",
                items=Shape(kind="reference", reference="DatasetReference", dynamic=False),
                required=True,
                dynamic=False,
            )
        for place, message, what in check_fields(value, fields, ""):
            self.find(file, f"{path} {place}".rstrip(), message, what)
        properties = value.get("typeProperties") or {}
        branches: dict[str, tuple[Activity, ...]] = {}
        if self.type_properties(file, properties, kind, path):
            branches = self.branches(file, kind_name, properties, path)
        return self.made(file, value, path, branches)

    def made(
        self, file: str, value: dict[str, Any], path: str, branches: Mapping[str, tuple[Activity, ...]]
    ) -> Activity:
        properties = value.get("typeProperties") or {}
        return Activity(
            name=value["name"],
            type=value["type"],
            file=file,
            path=path,
            depends_on=tuple(
                Dependency(
                    activity=str(item.get("activity")),
                    conditions=tuple(map(str, item.get("dependencyConditions") or ())),
                )
                for item in _list(value.get("dependsOn"))
            ),
            properties=properties if isinstance(properties, dict) else {},
            policy=value.get("policy") or {},
            inactive=value.get("state") == "Inactive",
            inactive_status=value.get("onInactiveMarkAs") or "Succeeded",
            linked_service=value.get("linkedServiceName"),
            inputs=tuple(_list(value.get("inputs"))),
            outputs=tuple(_list(value.get("outputs"))),
            branches=branches,
            user_properties={str(item.get("name")): item.get("value") for item in _list(value.get("userProperties"))},
        )

    def type_properties(self, file: str, properties: Any, kind: subset.ActivityKind, path: str) -> bool:
        if not isinstance(properties, dict):
            self.find(file, path, "'typeProperties' must be an object")
            return False
        for place, message, what in check_fields(properties, kind.properties, ""):
            self.find(file, f"{path} {place}".rstrip(), message, what)
        return True

    def branches(
        self, file: str, kind: str, properties: Mapping[str, Any], path: str
    ) -> dict[str, tuple[Activity, ...]]:
        found = {
            name: self.activities(file, properties[name], f"{path} {name}")
            for name in BRANCHES.get(kind, ())
            if name in properties
        }
        if kind == "Switch":
            cases = properties.get("cases", [])
            if not isinstance(cases, list):
                self.find(file, f"{path} cases", "must be an array")
                cases = []
            for index, case in enumerate(cases):
                place = f"{path} cases[{index}]"
                fields = {
                    "value": Shape(kind="string", required=True, dynamic=False),
                    "activities": Shape(kind="activities"),
                }
                if self.fields(file, case, fields, place):
                    found[f"cases[{index}]"] = self.activities(file, case.get("activities", []), f"{place}.activities")
        return found

    def dataset(self, file: str, stem: str, properties: dict[str, Any]) -> Dataset:
        self.fields(file, properties, subset.DATASET_FIELDS)
        self.typed(file, "dataset", properties, subset.DATASETS)
        return Dataset(
            name=stem,
            file=file,
            type=str(properties.get("type")),
            linked_service=_object(properties.get("linkedServiceName")),
            parameters=_objects(properties.get("parameters")),
            properties=_object(properties.get("typeProperties")),
        )

    def linked_service(self, file: str, stem: str, properties: dict[str, Any]) -> LinkedService:
        self.fields(file, properties, subset.LINKED_SERVICE_FIELDS)
        self.typed(file, "linked service", properties, subset.LINKED_SERVICES)
        kind = str(properties.get("type"))
        wanted = subset.LINKED_SERVICE_VERSIONS.get(kind)
        if wanted and properties.get("version") != wanted:
            self.find(file, "version", f"only version {wanted!r} of {kind} is run here", "not run")
        return LinkedService(
            name=stem,
            file=file,
            type=kind,
            parameters=_objects(properties.get("parameters")),
            properties=_object(properties.get("typeProperties")),
        )

    def typed(
        self, file: str, what: str, properties: Mapping[str, Any], known: Mapping[str, Mapping[str, Shape]]
    ) -> None:
        """Check the typeProperties that the `type` beside them chooses."""
        kind = str(properties.get("type"))
        if kind not in known:
            self.find(file, "type", f"{what} type {kind!r} {NOT_RUN}", "not run")
        elif not isinstance(properties.get("typeProperties", {}), dict):
            self.find(file, "", "'typeProperties' must be an object")
        else:
            self.fields(file, properties.get("typeProperties", {}), known[kind])

    def trigger(self, file: str, stem: str, properties: dict[str, Any]) -> Trigger:
        self.fields(file, properties, subset.TRIGGER_FIELDS)
        self.typed(file, "trigger", properties, subset.TRIGGERS)
        kind = str(properties.get("type"))
        single = kind == "TumblingWindowTrigger"
        wrong = "pipelines" if single else "pipeline"
        if wrong in properties:
            self.find(
                file,
                wrong,
                f"a {kind} has {'one pipeline' if single else 'pipelines'}: use {'pipeline' if single else 'pipelines'}",
            )
        calls = [properties["pipeline"]] if single and "pipeline" in properties else _list(properties.get("pipelines"))
        return Trigger(
            name=stem,
            file=file,
            type=kind,
            properties=_object(properties.get("typeProperties")),
            calls=tuple(call for call in calls if isinstance(call, dict)),
        )


def read_documents(documents: dict[str, Any], root: str, findings: list[Finding]) -> Factory:
    """Turn parsed files into a Factory; form faults become findings."""
    reader = _Reader(root, findings)
    found: dict[str, dict[str, Any]] = {folder: {} for folder in ARM_TYPES}
    for relative, document in documents.items():
        folder, _, name = relative.partition("/")
        file = f"{root}/{relative}"
        stem = name.removesuffix(".json")
        if folder in FORMS_NOT_RUN:
            reader.envelope(folder, file, stem, document)
        if folder not in ARM_TYPES:
            continue
        properties = reader.envelope(folder, file, stem, document)
        if properties is None:
            continue
        if folder == "factory":
            reader.fields(file, properties, subset.FACTORY_FIELDS)
            found[folder][stem] = {
                key: value.get("value") for key, value in _objects(properties.get("globalParameters")).items()
            }
        else:
            read = {"pipeline": reader.pipeline, "dataset": reader.dataset, "linkedService": reader.linked_service,
                    "trigger": reader.trigger}[folder]  # fmt: skip
            found[folder][stem] = read(file, stem, properties)
    if len(found["factory"]) > 1:
        declare = any(values for values in found["factory"].values())
        message = f"holds {len(found['factory'])} factories: keep the one that is deployed"
        reader.find(f"{root}/factory", "", message, "not run" if declare else "advice")
    name, global_parameters = next(iter(found["factory"].items()), (Path(root).name, {}))
    return Factory(
        name=name,
        root=root,
        global_parameters=cast(dict[str, Any], global_parameters),
        pipelines=Named(found["pipeline"]),
        datasets=Named(found["dataset"]),
        linked_services=Named(found["linkedService"]),
        triggers=Named(found["trigger"]),
        documents=documents,
        findings=tuple(reader.findings),
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> dict[str, dict[str, Any]]:
    return {key: item for key, item in _object(value).items() if isinstance(item, dict)}


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
