"""Triggers, checked against the pipelines that they start."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from local.expressions.zones import find_zone
from local.factory.errors import Finding
from local.factory.lint_expressions import expressions, read
from local.factory.model import Factory, Trigger
from local.factory.shapes import nearest


def lint_triggers(factory: Factory) -> Iterator[Finding]:
    """Check dates, pipelines, parameters and expressions of every trigger, and of datasets and linked services."""
    from local.factory.lint import arguments, name_rules

    for trigger in factory.triggers.values():
        yield from name_rules(trigger.file, trigger.name)
        yield from _times(trigger)
        if not trigger.calls:
            yield Finding(file=trigger.file, path="", message="starts no pipeline", blocking=False)
        for index, call in enumerate(trigger.calls):
            path = "pipeline" if trigger.type == "TumblingWindowTrigger" else f"pipelines[{index}]"
            reference = call.get("pipelineReference")
            name = reference.get("referenceName") if isinstance(reference, dict) else None
            if not isinstance(name, str):
                continue
            if name not in factory.pipelines:
                yield Finding(
                    file=trigger.file,
                    path=path,
                    message=f"no pipeline {name!r}{nearest(name, list(factory.pipelines))}",
                )
                continue
            given = call.get("parameters") or {}
            yield from arguments(
                trigger.file, f"{path}.parameters", given, factory.pipelines[name].parameters, f"pipeline {name!r}"
            )
            for place, text in expressions(given, f"{path}.parameters"):
                yield from read(trigger.file, place, text, "trigger")[1]
        for index, dependency in enumerate(trigger.properties.get("dependsOn") or []):
            yield from _dependency(factory, trigger, dependency, f"dependsOn[{index}]")
    for dataset in factory.datasets.values():
        value = {**dataset.properties, "linkedServiceName": dataset.linked_service}
        yield from _scoped(dataset.file, value, dataset.parameters, "dataset")
    for service in factory.linked_services.values():
        yield from _scoped(service.file, service.properties, service.parameters, "linked service")


def _scoped(file: str, value: Any, parameters: Any, where: str) -> Iterator[Finding]:
    from local.factory.lint_expressions import undeclared

    for place, text in expressions(value, ""):
        used, findings = read(file, place, text, where)
        yield from findings
        if used is not None:
            names = used.dataset if where == "dataset" else used.linked_service
            yield from undeclared(file, place, names, parameters, "parameter")


def parse_time(text: str) -> datetime | None:
    """Read an ISO date-time as triggers write it; None when it is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _times(trigger: Trigger) -> Iterator[Finding]:
    holder: Any = trigger.properties.get("recurrence") if trigger.type == "ScheduleTrigger" else trigger.properties
    if not isinstance(holder, dict):
        return
    zone = holder.get("timeZone", "UTC")
    if isinstance(zone, str) and find_zone(zone) is None:
        yield Finding(file=trigger.file, path="recurrence.timeZone", message=f"{zone!r} is no time zone")
    for key in ("startTime", "endTime"):
        text = holder.get(key)
        if isinstance(text, str):
            moment = parse_time(text)
            if moment is None:
                yield Finding(file=trigger.file, path=key, message=f"{text!r} is not a date-time")
            elif trigger.type == "TumblingWindowTrigger" and (moment.utcoffset() is None or moment.utcoffset()):
                yield Finding(file=trigger.file, path=key, message="must be UTC and end in Z")
    if trigger.type == "TumblingWindowTrigger" and holder.get("frequency") == "Minute":
        interval = holder.get("interval")
        if isinstance(interval, int) and interval < 5:
            yield Finding(file=trigger.file, path="interval", message="windows are at least 5 minutes")


def _dependency(factory: Factory, trigger: Trigger, dependency: Any, path: str) -> Iterator[Finding]:
    if not isinstance(dependency, dict):
        return
    if dependency.get("type") == "SelfDependencyTumblingWindowTriggerReference":
        if not str(dependency.get("offset", "")).startswith("-"):
            yield Finding(
                file=trigger.file, path=f"{path}.offset", message="a self-dependency looks back: its offset is negative"
            )
        return
    reference = dependency.get("referenceTrigger")
    name = reference.get("referenceName") if isinstance(reference, dict) else None
    if isinstance(name, str) and (
        name not in factory.triggers or factory.triggers[name].type != "TumblingWindowTrigger"
    ):
        yield Finding(
            file=trigger.file,
            path=path,
            message=f"no tumbling window trigger {name!r}{nearest(name, list(factory.triggers))}",
        )
