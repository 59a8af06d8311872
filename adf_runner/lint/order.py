"""Order of a pipeline's activities: edges, circles, nesting, and failure paths that would turn a failed run green."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from adf_runner.errors import Finding, Kind
from adf_runner.factory.model import Activity, Factory
from adf_runner.factory.shapes import nearest
from adf_runner.run.records import ActivityRun
from adf_runner.run.rules import conditions_met, first_failure

LOOPS, BRANCHING = {"ForEach", "Until"}, {"IfCondition", "Switch"}
HANDLED = "failureIsHandled"


def place(activity: Activity, path: str = "") -> str:
    """Return where in its file an activity, or something in it, stands."""
    return f"{activity.path} {path}".rstrip()


def finding(activity: Activity, path: str, message: str, *, kind: Kind = "error") -> Finding:
    """Return a finding that names an activity's file and place."""
    return Finding(file=activity.file, path=place(activity, path), message=message, kind=kind)


def order(factory: Factory, activities: tuple[Activity, ...], loop: str) -> Iterator[Finding]:
    """Check one list's edges, then the lists inside."""
    names = {activity.name for activity in activities}
    sound = True
    for activity in activities:
        for index, edge in enumerate(activity.depends_on):
            path = f"dependsOn[{index}]"
            if edge.activity not in names:
                sound = False
                yield finding(
                    activity, path, f"no activity {edge.activity!r} beside it{nearest(edge.activity, sorted(names))}"
                )
            if "Completed" in edge.conditions and {"Succeeded", "Failed"} & set(edge.conditions):
                yield finding(activity, path, "Completed must not stand beside Succeeded or Failed")
            if not edge.conditions:
                sound = False
                yield finding(activity, path, "needs at least one dependency condition")
    if sound:
        cycle = _cycle({activity.name: [edge.activity for edge in activity.depends_on] for activity in activities})
        if cycle:
            first = next(activity for activity in activities if activity.name == cycle[0])
            yield finding(first, "dependsOn", f"waits for itself: {' -> '.join(cycle)}")
        elif loop != "Until":
            yield from _green(factory, activities)
    for activity in activities:
        for branch in activity.branches.values():
            yield from order(factory, branch, loop=activity.type)


def _cycle(edges: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one cycle as a list of names, or nothing."""
    state: dict[str, int] = {}

    def visit(name: str, trail: list[str]) -> list[str]:
        state[name] = 1
        for other in edges.get(name, ()):
            if state.get(other) == 1:
                return [*trail[trail.index(other) :], other] if other in trail else [name, other]
            if other not in state and (cycle := visit(other, [*trail, other])):
                return cycle
        state[name] = 2
        return []

    return next((cycle for name in edges if name not in state and (cycle := visit(name, [name]))), [])


def pipeline_cycles(factory: Factory) -> Iterator[Finding]:
    """Yield pipelines that run themselves by way of others."""
    calls = {
        pipeline.name: [
            activity.properties["pipeline"]["referenceName"]
            for activity in pipeline.walk()
            if activity.type == "ExecutePipeline" and isinstance(activity.properties.get("pipeline"), Mapping)
            and activity.properties["pipeline"].get("referenceName") in factory.pipelines
        ]
        for pipeline in factory.pipelines.values()
    }  # fmt: skip
    cycle = _cycle(calls)
    if cycle:
        yield Finding(
            file=factory.pipelines[cycle[0]].file,
            path="",
            message=f"pipelines call each other in a circle: {' -> '.join(cycle)}",
        )


def nesting(activities: tuple[Activity, ...], above: tuple[str, ...]) -> Iterator[Finding]:
    """Yield loops and conditions in places where Data Factory allows none."""
    for activity in activities:
        outer = set(above)
        if activity.type in LOOPS and outer & LOOPS:
            yield finding(
                activity,
                "",
                f"{activity.type} must not stand inside {' or '.join(sorted(outer & LOOPS))}; call a pipeline instead",
            )
        if activity.type in BRANCHING and outer & BRANCHING:
            yield finding(
                activity,
                "",
                f"{activity.type} must not stand inside {' or '.join(sorted(outer & BRANCHING))}; call a pipeline instead",
            )
        if activity.type == "Validation" and outer:
            yield finding(activity, "", "Validation must not stand inside another activity")
        for branch in activity.branches.values():
            yield from nesting(branch, (*above, activity.type))


def _green(factory: Factory, activities: tuple[Activity, ...]) -> Iterator[Finding]:
    """Find activities whose failure leads into a failure path that ends well: the run would be green.

    A deliberate one says so: userProperties {"name": "failureIsHandled", "value": "<why>"} on the activity.
    """
    for activity in activities:
        handlers = [
            other for other in activities
            if any(edge.activity == activity.name and "Failed" in edge.conditions for edge in other.depends_on)
        ]  # fmt: skip
        if not handlers or activity.inactive or HANDLED in activity.user_properties:
            continue
        if _simulate(factory, activities, failing=activity.name):
            message = f"when it fails, {handlers[0].name!r} handles it and the run turns green; end that path in a Fail"
            yield finding(activity, "", message, kind="advice")


def _simulate(factory: Factory, activities: tuple[Activity, ...], failing: str = "") -> bool:
    """Say whether a list succeeds when everything succeeds that can, save the activity named."""
    done: dict[str, ActivityRun] = {}
    waiting = list(activities)
    while waiting:
        activity = next((item for item in waiting if all(edge.activity in done for edge in item.depends_on)), None)
        if activity is None:
            return False  # an edge leads nowhere or in a circle, which is a finding of its own
        waiting.remove(activity)
        status = "Skipped"
        if conditions_met(activity, done):
            status = "Failed" if activity.name == failing or _always_fails(factory, activity) else "Succeeded"
        done[activity.name] = ActivityRun(name=activity.name, type=activity.type, run_id="", status=status)
    return first_failure(activities, done) is None


def _always_fails(factory: Factory, activity: Activity) -> bool:
    if activity.inactive:
        return activity.inactive_status == "Failed"
    if activity.type == "Fail":
        return True
    if activity.type == "ExecutePipeline":
        call = activity.properties.get("pipeline")
        called = factory.pipelines.get(str(call.get("referenceName"))) if isinstance(call, Mapping) else None
        return called is not None and not _simulate(factory, called.activities)
    wanted = {"IfCondition": ("ifTrueActivities", "ifFalseActivities"), "ForEach": ("activities",)}.get(activity.type)
    if activity.type == "Switch":
        wanted = ("defaultActivities", *(name for name in activity.branches if name.startswith("cases")))
    return bool(wanted) and all(
        activity.branches.get(name) and not _simulate(factory, activity.branches[name]) for name in wanted or ()
    )
