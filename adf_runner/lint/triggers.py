"""Triggers, checked against the pipelines that they start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from adf_runner.errors import Finding
from adf_runner.expressions.syntax import Access, Call, Literal, Node, parse, walk
from adf_runner.expressions.windows_zones import WINDOWS_NAMES
from adf_runner.factory.model import Factory, Trigger
from adf_runner.factory.shapes import nearest
from adf_runner.lint.expressions import expressions, read
from adf_runner.lint.references import arguments, name_rules

ZONES = {"utc", "coordinated universal time", *(name.lower() for name in WINDOWS_NAMES)}
TRIGGER_FIELDS = ("scheduledTime", "startTime")
OUTPUTS = {
    "TumblingWindowTrigger": ("windowStartTime", "windowEndTime"),
    "BlobEventsTrigger": ("body",),
    "CustomEventsTrigger": ("body",),
}
BLOB_BODY = ("fileName", "folderPath")
DAYS_OF = {"weekDays": "Week", "monthDays": "Month", "monthlyOccurrences": "Month"}


def lint_triggers(factory: Factory) -> Iterator[Finding]:
    """Check dates, pipelines, parameters and expressions of every trigger, and of datasets and linked services."""
    for trigger in factory.triggers.values():
        yield from name_rules(trigger.file, trigger.name)
        yield from _times(trigger)
        if not trigger.calls:
            yield Finding(file=trigger.file, path="", message="starts no pipeline", kind="advice")
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
                used, findings = read(trigger.file, place, text, "trigger")
                yield from findings if used is None or findings else _outputs(trigger, place, text)
        for index, dependency in enumerate(trigger.properties.get("dependsOn") or []):
            yield from _dependency(factory, trigger, dependency, f"dependsOn[{index}]")
    for dataset in factory.datasets.values():
        value = {**dataset.properties, "linkedServiceName": dataset.linked_service}
        yield from _scoped(dataset.file, value, dataset.parameters, "dataset")
    for service in factory.linked_services.values():
        yield from _scoped(service.file, service.properties, service.parameters, "linked service")


def _scoped(file: str, value: Any, parameters: Any, where: str) -> Iterator[Finding]:
    from adf_runner.lint.expressions import undeclared

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
    if isinstance(zone, str) and zone.lower() not in ZONES:
        message = f"{zone!r} is not a Windows time-zone name, as Data Factory takes{nearest(zone, list(WINDOWS_NAMES))}"
        yield Finding(file=trigger.file, path="recurrence.timeZone", message=message)
    moments: dict[str, datetime] = {}
    for key in ("startTime", "endTime"):
        text = holder.get(key)
        if isinstance(text, str):
            moment = parse_time(text)
            if moment is None:
                yield Finding(file=trigger.file, path=key, message=f"{text!r} is not a date-time")
            else:
                moments[key] = moment
            if (
                moment
                and trigger.type == "TumblingWindowTrigger"
                and (moment.utcoffset() is None or moment.utcoffset())
            ):
                yield Finding(file=trigger.file, path=key, message="must be UTC and end in Z")
    begin, end = moments.get("startTime"), moments.get("endTime")
    if begin and end and (begin.tzinfo is None) == (end.tzinfo is None) and end <= begin:
        yield Finding(file=trigger.file, path="endTime", message="is not after startTime")
    yield from _schedule(trigger.file, holder)
    if trigger.type == "TumblingWindowTrigger" and holder.get("frequency") == "Minute":
        interval = holder.get("interval")
        if isinstance(interval, int) and interval < 5:
            yield Finding(file=trigger.file, path="interval", message="windows are at least 5 minutes")


def _schedule(file: str, recurrence: Mapping[str, Any]) -> Iterator[Finding]:
    """Find days that do not exist, and days given for a frequency that has none of the kind."""
    plan = recurrence.get("schedule")
    if not isinstance(plan, dict):
        return
    for key, frequency in DAYS_OF.items():
        if key in plan and recurrence.get("frequency") != frequency:
            message = f"goes with the frequency {frequency}, not {recurrence.get('frequency')}"
            yield Finding(file=file, path=f"recurrence.schedule.{key}", message=message)
    days = plan.get("monthDays")
    if isinstance(days, list) and 0 in days:
        message = "0 is not a day: count from 1, or back from the month's end with -1"
        yield Finding(file=file, path="recurrence.schedule.monthDays", message=message)
    occurrences = plan.get("monthlyOccurrences")
    for index, item in enumerate(occurrences if isinstance(occurrences, list) else ()):
        if isinstance(item, dict) and item.get("occurrence") == 0:
            path = f"recurrence.schedule.monthlyOccurrences[{index}].occurrence"
            yield Finding(file=file, path=path, message="0 is none: count from 1, or back from the month's end with -1")


def _outputs(trigger: Trigger, path: str, text: str) -> Iterator[Finding]:
    """Find properties that trigger() does not have, or not for a trigger of this type."""
    outputs = OUTPUTS.get(trigger.type, ())
    known = {"trigger()": (*TRIGGER_FIELDS, *(("outputs",) if outputs else ())), "trigger().outputs": outputs}
    if trigger.type == "BlobEventsTrigger":
        known |= {"trigger().outputs.body": BLOB_BODY, "triggerBody()": BLOB_BODY}
    for node in walk(parse(text)):
        if not isinstance(node, Access):
            continue
        target, name = _written(node.target), _name(node)
        if name and known.get(target) and name.lower() not in map(str.lower, known[target]):
            message = f"{target} of a {trigger.type} has no {name!r}{nearest(name, list(known[target]))}"
            yield Finding(file=trigger.file, path=path, message=message)


def _written(node: Node) -> str:
    """Write a chain that starts with trigger() or triggerBody() the one way; anything else is ''."""
    if isinstance(node, Call):
        return {"trigger": "trigger()", "triggerbody": "triggerBody()"}.get(node.name.lower(), "")
    if isinstance(node, Access) and (target := _written(node.target)):
        return f"{target}.{_name(node).lower()}"
    return ""


def _name(node: Access) -> str:
    return node.key.value if isinstance(node.key, Literal) and isinstance(node.key.value, str) else ""


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
    if name == trigger.name:
        message = "a trigger waits for its own windows by SelfDependencyTumblingWindowTriggerReference"
        yield Finding(file=trigger.file, path=path, message=message)
    elif isinstance(name, str) and (
        name not in factory.triggers or factory.triggers[name].type != "TumblingWindowTrigger"
    ):
        yield Finding(
            file=trigger.file,
            path=path,
            message=f"no tumbling window trigger {name!r}{nearest(name, list(factory.triggers))}",
        )
