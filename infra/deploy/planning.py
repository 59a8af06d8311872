"""The difference between what should be in the factory and what is: create, update, delete, same.

Both sides are brought to one form first: what Azure adds (publish times, states) and what it leaves out (empty lists,
nulls) is no difference. A secret comes back masked, so its value is never compared. Knows no network.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from infra.deploy.errors import TooManyDeletionsError
from infra.deploy.source import GLOBAL_PARAMETERS, Item, Key, in_order

ADDED_BY_AZURE = {"lastPublishTime", "runtimeState", "provisioningState"}
Action = Literal["create", "update", "delete"]
SHOWN_LENGTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    path: str
    live: str | None
    wanted: str | None

    def __str__(self) -> str:
        if self.live is None:
            return f"{self.path}: + {self.wanted}"
        return f"{self.path}: - {self.live}" if self.wanted is None else f"{self.path}: {self.live} -> {self.wanted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write. `wanted` is None for a deletion, `live` is None for a creation."""

    action: Action
    wanted: Item | None
    live: Item | None
    differences: tuple[Difference, ...] = ()

    @property
    def item(self) -> Item:
        item = self.wanted or self.live
        assert item is not None
        return item

    @property
    def is_running_trigger(self) -> bool:
        return self.live is not None and self.live.kind == "trigger" and _runs(self.live)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All writes in the order in which they must happen, and what needs none."""

    changes: tuple[Change, ...]
    same: tuple[Item, ...]
    kept: tuple[Item, ...] = ()

    def count(self, action: Action) -> int:
        return sum(change.action == action for change in self.changes)


def make_plan(
    wanted: Mapping[Key, Item],
    live: Mapping[Key, Item],
    *,
    only: Iterable[str] = (),
    keep: Iterable[str] = (),
    prune: bool = True,
) -> Plan:
    """Compare; `only` and `keep` are globs over `kind.name` or the bare name. What is in the factory but not in adf/
    is deleted, unless `prune` is off or it is kept.
    """
    chosen = {key: item for key, item in wanted.items() if _matches(item, only, default=True)}
    surplus = {key: item for key, item in live.items() if key not in wanted and _matches(item, only, default=True)}
    if surplus.get(GLOBAL_PARAMETERS):
        del surplus[GLOBAL_PARAMETERS]  # no factory file: nothing is said about global parameters
    kept = {key: item for key, item in surplus.items() if not prune or _matches(item, keep, default=False)}
    gone = {key: item for key, item in surplus.items() if key not in kept}
    changes: list[Change] = []
    same: list[Item] = []
    for item in in_order(chosen):
        change = _compare(item, live.get(item.key))
        if change:
            changes.append(change)
        else:
            same.append(item)
    # What refers goes before what is referred to: the order of creation, backwards.
    changes += [Change(action="delete", wanted=None, live=item) for item in reversed(in_order(gone))]
    return Plan(changes=tuple(changes), same=tuple(same), kept=tuple(kept.values()))


def check_deletions(plan: Plan, limit: int) -> None:
    """Raise TooManyDeletionsError when an empty or wrong folder would sweep the factory."""
    if (count := plan.count("delete")) > limit:
        message = f"the plan deletes {count} items; this stage allows {limit}"
        raise TooManyDeletionsError(
            message, "look at the plan; --no-prune leaves them, maxDelete in the stage file allows more"
        )


def _matches(item: Item, globs: Iterable[str], *, default: bool) -> bool:
    patterns = list(globs)
    if not patterns:
        return default
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns for text in (item.title, item.name))


def _compare(wanted: Item, live: Item | None) -> Change | None:
    if live is None:
        return Change(action="create", wanted=wanted, live=None)
    found = tuple(_differences(plain(live), plain(wanted), ""))
    return Change(action="update", wanted=wanted, live=live, differences=found) if found else None


def _runs(trigger: Item) -> bool:
    return trigger.properties.get("runtimeState") == "Started"


def plain(item: Item) -> Any:
    """The item's properties in the form in which two sides can be compared."""
    properties = {name: value for name, value in item.properties.items() if name not in ADDED_BY_AZURE}
    if item.key == GLOBAL_PARAMETERS:
        return {name: {**value, "type": str(value.get("type")).lower()} for name, value in properties.items()}
    return _plain(properties)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("type") == "SecureString":
            return {"type": "SecureString"}
        parts = {name: _plain(part) for name, part in value.items() if name != "encryptedCredential"}
        return {name: part for name, part in parts.items() if part is not None and part != [] and part != {}}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value


def _differences(live: Any, wanted: Any, path: str) -> Iterator[Difference]:
    if isinstance(live, dict) and isinstance(wanted, dict):
        yield from _between(live, wanted, lambda name: f"{path}.{name}" if path else name)
    elif isinstance(live, list) and isinstance(wanted, list):
        by_name = _by_name(live), _by_name(wanted)
        if by_name[0] is not None and by_name[1] is not None:
            if list(by_name[0]) != list(by_name[1]) and set(by_name[0]) == set(by_name[1]):
                yield Difference(path=f"{path} (order)", live=_show(list(by_name[0])), wanted=_show(list(by_name[1])))
            yield from _between(by_name[0], by_name[1], lambda name: f"{path}['{name}']")
        else:
            yield from _between(dict(enumerate(live)), dict(enumerate(wanted)), lambda index: f"{path}[{index}]")
    elif live != wanted or type(live) is not type(wanted):
        yield Difference(path=path, live=_show(live), wanted=_show(wanted))


def _between(live: Mapping[Any, Any], wanted: Mapping[Any, Any], name: Any) -> Iterator[Difference]:
    for key in [*live, *(key for key in wanted if key not in live)]:
        if key not in wanted:
            yield Difference(path=name(key), live=_show(live[key]), wanted=None)
        elif key not in live:
            yield Difference(path=name(key), live=None, wanted=_show(wanted[key]))
        else:
            yield from _differences(live[key], wanted[key], name(key))


def _by_name(values: list[Any]) -> dict[str, Any] | None:
    """A list of named things by name, None for any other list."""
    named = {value["name"]: value for value in values if isinstance(value, dict) and isinstance(value.get("name"), str)}
    return named if values and len(named) == len(values) else None


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 1]}…"
