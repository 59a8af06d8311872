"""Which rows a batch takes by the day and the load of each: the rule of `partners.late`, written once more, for tests."""

from __future__ import annotations

from datetime import date, datetime

from partners.late import Loaded


def is_taken(loaded: Loaded, first: date, last: date, day: date, at: datetime) -> bool:
    """Whether a row leaves with the batch of these days."""
    if first <= day <= last:
        return at < loaded.until
    return loaded.takes_late and is_late(loaded, day, at)


def is_late(loaded: Loaded, day: date, at: datetime) -> bool:
    """Whether a row was loaded after the batches of its day had left, and in time for this one."""
    if loaded.before is None or loaded.seen is None:
        return False
    return loaded.since <= day <= loaded.before and loaded.seen <= at < loaded.until
