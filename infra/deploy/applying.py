"""Carries a plan out: each write once, in order; the triggers in its way stop before and start again after, whatever happens.

The first write that fails ends it: what comes later may need what failed. Nothing is rolled back; a second apply goes
on from where this one ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from infra.deploy.arm import Factory
from infra.deploy.errors import DeployError, EditedMeanwhileError, StillStoppedError
from infra.deploy.planning import Change, Plan
from infra.deploy.source import Item

Say = Callable[[str], None]


def apply_plan(plan: Plan, factory: Factory, say: Say) -> None:
    """Make the factory what the plan wants; raises DeployError at the first write that fails."""
    stopped: dict[str, Item] = {}
    failure: BaseException | None = None
    done = 0
    try:
        for change in plan.changes:
            _write(_stop_first(change, factory, stopped, say), factory)
            if change.action == "delete":
                stopped.pop(change.item.name, None)
            done += 1
            say(f"{change.action}d {change.item.title}")
    except BaseException as error:
        failure = error
        if isinstance(error, DeployError):
            say(f"{done} of {len(plan.changes)} changes were made; apply again goes on from here")
        raise
    finally:
        _restart(stopped, factory, say, failure)


def _stop_first(change: Change, factory: Factory, stopped: dict[str, Item], say: Say) -> Change:
    """Stop the trigger that is about to be written, if it runs; Azure refuses to change a running one.

    Stopping gives the trigger a new ETag, so the check for edits by others happens before it.
    """
    if not change.is_running_trigger:
        return change
    before = _live(change)
    now = factory.get(before.kind, before.name)
    if now is None or now.etag != before.etag:
        raise EditedMeanwhileError(before.title)
    stopped[before.name] = change.wanted or before  # remembered first: a stop whose answer is lost may have happened
    factory.stop(before)
    say(f"stopped {before.title}")
    return replace(change, live=factory.get(before.kind, before.name) or before)


def _write(change: Change, factory: Factory) -> None:
    if change.wanted is None:
        factory.delete(_live(change))
    else:
        factory.put(change.wanted, change.live.etag if change.live else "")


def _live(change: Change) -> Item:
    assert change.live is not None
    return change.live


def _restart(stopped: dict[str, Item], factory: Factory, say: Say, failure: BaseException | None) -> None:
    lost: list[str] = []
    for name, trigger in stopped.items():
        try:
            factory.start(trigger)
            say(f"started {trigger.title}")
        except DeployError as error:
            lost.append(name)
            say(f"{trigger.title} did not start: {error}")
    if lost:
        hint = "start it in ADF Studio (Manage, Triggers), or nothing will be delivered"
        raise StillStoppedError(f"these triggers ran before and are stopped now: {', '.join(lost)}", hint) from failure
