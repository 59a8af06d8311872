"""The factory as values: what the files in adf/ say, once read (reading.py) and linted (lint.py). Runs nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from adf_runner.errors import Finding, UnknownPipeline
from adf_runner.factory.shapes import nearest

T = TypeVar("T")
BRANCHES = {
    "ForEach": ("activities",),
    "Until": ("activities",),
    "IfCondition": ("ifTrueActivities", "ifFalseActivities"),
    "Switch": ("defaultActivities",),
}


class Named(Mapping[str, T]):
    """Resources by name; Data Factory's names are unique whatever their case, and are found in any."""

    def __init__(self, found: Mapping[str, T]) -> None:
        self._found = dict(found)
        self._spelt = {name.lower(): name for name in found}

    def __getitem__(self, name: str) -> T:
        return self._found[name if name in self._found else self._spelt.get(name.lower(), name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """One edge: the activity waited for, and the statuses of which any one is enough."""

    activity: str
    conditions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One activity as written. `branches` holds inner activities by property name (`cases[i]` for a Switch)."""

    name: str
    type: str
    file: str
    path: str
    depends_on: tuple[Dependency, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    inactive: bool = False
    inactive_status: str = "Succeeded"
    linked_service: Mapping[str, Any] | None = None
    inputs: tuple[Mapping[str, Any], ...] = ()
    outputs: tuple[Mapping[str, Any], ...] = ()
    branches: Mapping[str, tuple[Activity, ...]] = field(default_factory=dict)
    user_properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def own_properties(self) -> Mapping[str, Any]:
        """The typeProperties without the activities inside."""
        inner = {*BRANCHES.get(self.type, ()), *(("cases",) if self.type == "Switch" else ())}
        return {key: value for key, value in self.properties.items() if key not in inner}

    def walk(self) -> Iterator[Activity]:
        """Yield this activity and all inside it."""
        yield self
        for branch in self.branches.values():
            for activity in branch:
                yield from activity.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    name: str
    file: str
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    activities: tuple[Activity, ...] = ()
    concurrency: int | None = None
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def walk(self) -> Iterator[Activity]:
        for activity in self.activities:
            yield from activity.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    name: str
    file: str
    type: str
    linked_service: Mapping[str, Any]
    parameters: Mapping[str, Mapping[str, Any]]
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedService:
    name: str
    file: str
    type: str
    parameters: Mapping[str, Mapping[str, Any]]
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger; `calls` are the pipelines it starts, each with its parameters."""

    name: str
    file: str
    type: str
    properties: Mapping[str, Any]
    calls: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """Everything in adf/. `findings` holds what reading found; `load_factory` refuses what has any that block."""

    name: str
    root: str
    global_parameters: Mapping[str, Any] = field(default_factory=dict)
    pipelines: Mapping[str, Pipeline] = field(default_factory=dict)
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    linked_services: Mapping[str, LinkedService] = field(default_factory=dict)
    triggers: Mapping[str, Trigger] = field(default_factory=dict)
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    findings: tuple[Finding, ...] = ()

    @property
    def declares_globals(self) -> bool:
        """Whether there is a file in factory/: without one, nobody knows the global parameters."""
        return any(name.startswith("factory/") for name in self.documents)

    def reached(
        self, pipelines: Iterable[str], scripted: Collection[str] = ()
    ) -> tuple[set[str], set[tuple[str, str]]]:
        """Return what runs of some pipelines touch: files, and the places in them of activities that do not run.

        `scripted` names activities whose outcome is given, as `Activity` or `pipeline/Activity`: what only they refer to
        is not reached. Raises UnknownPipeline.
        """
        files: set[str] = {f"{self.root}/{name}" for name in self.documents if name.startswith("factory/")}
        passed: set[tuple[str, str]] = set()
        todo: list[Pipeline | Dataset | LinkedService] = [self.pipeline(name) for name in pipelines]
        while todo:
            item = todo.pop()
            if item.file in files:
                continue
            files.add(item.file)
            if isinstance(item, Pipeline):
                values = []
                for activity in item.walk():
                    if activity.inactive or {activity.name, f"{item.name}/{activity.name}"} & set(scripted):
                        passed.add((item.file, activity.path))
                    elif not any(activity.path.startswith(f"{path} ") for file, path in passed if file == item.file):
                        values += [activity.own_properties, activity.inputs, activity.outputs, activity.linked_service]
            else:
                values = [item.properties, item.linked_service if isinstance(item, Dataset) else None]
            todo += [target for value in values for target in self._referred(value)]
        return files, passed

    def _referred(self, value: Any) -> Iterator[Pipeline | Dataset | LinkedService]:
        """Yield what the references in a value lead to; one that leads nowhere is a finding of its own."""
        if isinstance(value, Mapping):
            known: Mapping[str, Pipeline | Dataset | LinkedService] = {
                "PipelineReference": self.pipelines,
                "DatasetReference": self.datasets,
                "LinkedServiceReference": self.linked_services,
            }.get(str(value.get("type")), {})  # type: ignore[assignment] # three mappings to three types
            name = value.get("referenceName")
            if isinstance(name, str) and name in known:
                yield known[name]
            value = list(value.values())
        if isinstance(value, list | tuple):
            for item in value:
                yield from self._referred(item)

    def pipeline(self, name: str) -> Pipeline:
        if name not in self.pipelines:
            raise UnknownPipeline(
                f"no pipeline {name!r} in {self.root}{nearest(name, list(self.pipelines))}",
                f"there are: {', '.join(sorted(self.pipelines)) or 'none'}",
            )
        return self.pipelines[name]
