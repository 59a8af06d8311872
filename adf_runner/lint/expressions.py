"""Expressions of a factory, checked without running them: syntax, functions, and every name they use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adf_runner.errors import Finding
from adf_runner.expressions import FUNCTIONS, ExpressionError, References, references
from adf_runner.expressions.evaluation import takes, wrong_count
from adf_runner.expressions.syntax import Access, Call, Literal, parse, walk
from adf_runner.factory import subset
from adf_runner.factory.model import BRANCHES, Activity, Factory, Pipeline
from adf_runner.factory.shapes import NOT_RUN, is_dynamic, nearest

SYSTEM = {name.lower() for name in subset.SYSTEM_FIELDS} | {"parameters", "globalparameters"}
EXPRESSION_LIMIT = 8192
# What ran inside these can be read after them; inside a ForEach there is one outcome an iteration.
READABLE = {"Until", "IfCondition", "Switch"}
SCOPE_FUNCTIONS = {"pipeline", "activity", "variables", "item", "trigger", "triggerbody", "dataset", "linkedservice"}
ALLOWED = {
    "pipeline": {"pipeline", "activity", "variables", "item", "trigger"},
    "dataset": {"dataset", "pipeline"},
    "linked service": {"linkedservice"},
    "trigger": {"trigger", "triggerbody", "pipeline"},
}


def strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of every string in a JSON value; an expression object counts as its text."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        if value.get("type") == "Expression" and isinstance(value.get("value"), str) and len(value) == 2:
            yield path, value["value"]
            return
        for key, item in value.items():
            yield from strings(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, f"{path}[{index}]")


def expressions(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of every expression in a value."""
    for place, text in strings(value, path):
        if is_dynamic(text):
            yield place, text


def returned(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the expressions of a pipelineReturnValue: only content of type Expression is one."""
    if isinstance(value, Mapping):
        if value.get("type") == "Expression" and isinstance(value.get("content"), str):
            yield f"{path}.content", value["content"]
            return
        for key, item in value.items():
            yield from returned(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from returned(item, f"{path}[{index}]")


def read(file: str, path: str, text: str, where: str) -> tuple[References | None, list[Finding]]:
    """Parse one expression; return what it uses and what is wrong with it anywhere."""
    if len(text) > EXPRESSION_LIMIT:
        return None, [Finding(file=file, path=path, message=f"is longer than {EXPRESSION_LIMIT} characters")]
    try:
        used = references(text)
    except ExpressionError as error:
        return None, [Finding(file=file, path=path, message=f"{error.reason}{_shown(error)}")]
    findings = []
    known = [function.name for function in FUNCTIONS.values()] + [
        "pipeline",
        "activity",
        "variables",
        "item",
        "trigger",
        "dataset",
    ]
    for name in sorted(used.functions):
        if name in SCOPE_FUNCTIONS:
            if name not in ALLOWED[where]:
                unsure = where in {"dataset", "linked service"}  # Azure evaluates some there, and documents none
                message = f"{name}() in a {where} {NOT_RUN}" if unsure else f"{name}() does not exist in a {where}"
                findings.append(Finding(file=file, path=path, message=message, kind="not run" if unsure else "error"))
        elif name not in FUNCTIONS:
            findings.append(Finding(file=file, path=path, message=f"unknown function {name!r}{nearest(name, known)}"))
    for node in walk(parse(text)):
        if isinstance(node, Call):
            function = FUNCTIONS.get(node.name.lower())
            if function is not None and not takes(function, len(node.arguments)):
                findings.append(
                    Finding(file=file, path=path, message=wrong_count(function, len(node.arguments)).reason)
                )
        if isinstance(node, Access) and isinstance(node.target, Call) and node.target.name.lower() == "pipeline":
            key = node.key
            if isinstance(key, Literal) and isinstance(key.value, str) and key.value.lower() not in SYSTEM:
                hint = nearest(key.value, [*subset.SYSTEM_FIELDS, "parameters", "globalParameters"])
                findings.append(
                    Finding(file=file, path=path, message=f"pipeline() has no property {key.value!r}{hint}")
                )
    return used, findings


def _shown(error: ExpressionError) -> str:
    return f"\n    {error.caret.replace(chr(10), chr(10) + '    ')}" if error.caret else ""


def used_names(value: Any, scope: str) -> tuple[set[str], bool]:
    """Return the lower-case names that dataset() or linkedService() read, and whether some are computed."""
    used: set[str] = set()
    dynamic = False
    for _, text in expressions(value, ""):
        found, _ = read("", "", text, "dataset" if scope == "dataset" else "linked service")
        if found is not None:
            names = found.dataset if scope == "dataset" else found.linked_service
            used |= {name.lower() for name in names}
            dynamic = dynamic or found.dynamic
    return used, dynamic


def undeclared(file: str, path: str, used: frozenset[str], declared: Mapping[str, Any], what: str) -> Iterator[Finding]:
    """Yield a finding for each name that is used and not declared; names have no case."""
    known = {name.lower() for name in declared}
    for name in sorted(used):
        if name.lower() not in known:
            yield Finding(file=file, path=path, message=f"no {what} {name!r}{nearest(name, list(declared))}")


def lint_expressions(factory: Factory, pipeline: Pipeline) -> Iterator[Finding]:
    """Check a pipeline's expressions and say which declarations none of them uses."""
    checker = _Checker(factory, pipeline)
    yield from checker.activities(pipeline.activities, upstream=frozenset(), looped=False)
    if not checker.dynamic:
        for name in pipeline.parameters:
            if name.lower() not in checker.parameters:
                yield Finding(
                    file=pipeline.file, path=f"parameters.{name}", message="is declared and never used", kind="advice"
                )
        for name in pipeline.variables:
            if name.lower() not in checker.variables:
                yield Finding(
                    file=pipeline.file, path=f"variables.{name}", message="is declared and never used", kind="advice"
                )


class _Checker:
    """Walks one pipeline with what each place can see."""

    def __init__(self, factory: Factory, pipeline: Pipeline) -> None:
        self.factory = factory
        self.pipeline = pipeline
        self.parameters: set[str] = set()
        self.variables: set[str] = set()
        self.dynamic = False
        self.names = {activity.name.lower(): activity.name for activity in pipeline.walk()}

    def activities(
        self, activities: tuple[Activity, ...], *, upstream: frozenset[str], looped: bool
    ) -> Iterator[Finding]:
        edges = {activity.name: [edge.activity for edge in activity.depends_on] for activity in activities}
        inside = {item.name: {inner.name for inner in item.walk()} for item in activities if item.type in READABLE}
        for activity in activities:
            above = _ancestors(activity.name, edges)
            seen = upstream | above | {inner for name in above for inner in inside.get(name, ())}
            yield from self.activity(activity, seen, looped=looped)
            for branch in activity.branches.values():
                yield from self.activities(branch, upstream=seen, looped=looped or activity.type == "ForEach")

    def activity(self, activity: Activity, seen: frozenset[str], *, looped: bool) -> Iterator[Finding]:
        inner = set(BRANCHES.get(activity.type, ())) | ({"cases"} if activity.type == "Switch" else set())
        places: list[tuple[str, Any]] = [(key, value) for key, value in activity.properties.items() if key not in inner]
        places += [(f"inputs[{index}]", value) for index, value in enumerate(activity.inputs)]
        places += [(f"outputs[{index}]", value) for index, value in enumerate(activity.outputs)]
        places += [("linkedServiceName", activity.linked_service), ("policy", dict(activity.policy))]
        places += [("userProperties", dict(activity.user_properties))]
        for key, value in places:
            system = key == "value" and activity.properties.get("setSystemVariable") is True
            for path, text in returned(value, key) if system else expressions(value, key):
                if activity.type == "Until" and key == "expression":
                    visible = seen | {inner.name for inner in activity.walk() if inner is not activity}
                else:
                    visible = seen
                may_item = looped or (activity.type == "Filter" and key == "condition")
                yield from self.text(activity, path, text, visible, may_item=may_item)
        if activity.type == "SetVariable" and isinstance(activity.properties.get("variableName"), str):
            self.variables.add(activity.properties["variableName"].lower())
            yield from self._self_reference(activity)
        if activity.type == "AppendVariable":
            self.variables.add(str(activity.properties.get("variableName")).lower())

    def text(
        self, activity: Activity, path: str, text: str, seen: frozenset[str] | set[str], *, may_item: bool
    ) -> Iterator[Finding]:
        file, place = activity.file, f"{activity.path} {path}"
        used, findings = read(file, place, text, "pipeline")
        yield from findings
        if used is None:
            return
        self.parameters |= {name.lower() for name in used.parameters}
        self.variables |= {name.lower() for name in used.variables}
        self.dynamic = self.dynamic or used.dynamic
        yield from undeclared(file, place, used.parameters, self.pipeline.parameters, "parameter")
        if self.factory.declares_globals:
            declared = self.factory.global_parameters
            yield from undeclared(file, place, used.global_parameters, declared, "global parameter")
        else:
            for name in sorted(set(used.global_parameters) - set(self.factory.global_parameters)):
                message = f"no file in factory/ declares the global parameter {name!r}"
                yield Finding(file=file, path=place, message=message, kind="not run")
        yield from undeclared(file, place, used.variables, self.pipeline.variables, "variable")
        if used.item and not may_item:
            yield Finding(
                file=file, path=place, message="item() exists only inside ForEach and in a Filter's condition"
            )
        visible = {name.lower() for name in seen}
        for name in sorted(used.activities):
            if name.lower() not in self.names:
                yield Finding(
                    file=file, path=place, message=f"no activity {name!r}{nearest(name, list(self.names.values()))}"
                )
            elif name.lower() not in visible:
                yield Finding(
                    file=file,
                    path=place,
                    message=f"activity {name!r} has not run here: it is not upstream of {activity.name!r}",
                )

    def _self_reference(self, activity: Activity) -> Iterator[Finding]:
        name = activity.properties["variableName"].lower()
        for path, text in expressions(activity.properties.get("value"), "value"):
            used, _ = read("", "", text, "pipeline")
            if used is not None and name in {item.lower() for item in used.variables}:
                yield Finding(
                    file=activity.file,
                    path=f"{activity.path} {path}",
                    message="a variable must not refer to itself; use a second one",
                )


def _ancestors(name: str, edges: Mapping[str, list[str]]) -> frozenset[str]:
    found: set[str] = set()
    todo = list(edges.get(name, ()))
    while todo:
        other = todo.pop()
        if other not in found and other != name:
            found.add(other)
            todo += edges.get(other, ())
    return frozenset(found)
