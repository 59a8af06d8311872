"""What an expression can see: the values that the run gives it. Pure data; it fetches nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final


class NoItem:
    """The type of `NO_ITEM`: an expression outside a ForEach has no item, which is not the same as a null item."""

    def __repr__(self) -> str:
        return "NO_ITEM"


NO_ITEM: Final = NoItem()


def wall_clock() -> datetime:
    """Return the current instant in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The values behind `pipeline()`, `variables()`, `activity()`, `item()`, `trigger()`, `dataset()`, `linkedService()`.

    `activities` maps a name to `{"output", "status", "error"}`. None for `trigger`, `dataset` or `linked_service` says that
    the expression stands where there is none. `now` is the clock of `utcNow()`; it answers an aware UTC datetime.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    global_parameters: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    activities: Mapping[str, Any] = field(default_factory=dict)
    item: Any = NO_ITEM
    system: Mapping[str, Any] = field(default_factory=dict)
    trigger: Mapping[str, Any] | None = None
    dataset: Mapping[str, Any] | None = None
    linked_service: Mapping[str, Any] | None = None
    now: Callable[[], datetime] = wall_clock

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Scope:
        """Return the scope that a golden case or a `--scope` file describes; unknown keys are refused."""
        names = {"globalParameters": "global_parameters", "linkedService": "linked_service"}
        known = {"parameters", "variables", "activities", "item", "system", "trigger", "dataset", *names}
        unknown = sorted(set(document) - known)
        if unknown:
            raise ValueError(f"unknown scope key '{unknown[0]}'; known: {', '.join(sorted(known))}")
        return cls(**{names.get(key, key): value for key, value in document.items()})
