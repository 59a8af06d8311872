"""Late rows: rows of days that a batch has covered, but that were loaded after it was planned. Pure values.

A batch of a feed with `late` takes only rows that were loaded before an instant that is fixed at Plan, `until`. A row that is
loaded later is late for it, and for exactly one later batch it is not: the first whose `until` is after its load. So each row
is in one batch, or is counted and refused by one, however often a batch fails in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class Late(BaseModel):
    """What becomes of rows that are loaded after the batch of their day was planned."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    column: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")] | None = Field(
        default=None,
        description="The timestamp column (with a time zone) that says when a row was loaded; it must not change.",
    )
    rows: Literal["next", "refuse", "ignore"] = Field(
        description="next: they leave with the next batch; refuse: it is refused, with their number; ignore: they never leave."
    )
    settle_minutes: Annotated[int, Field(ge=0, le=1440)] = Field(
        default=10, description="How long a load may take until its rows are visible; newer rows count as late."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Which rows a batch takes by the time of their load: those before `until`.

    `since` is the feed's first day; `before` the last day of the batch before and `seen` the `until` of that batch, None when
    there is none. With `takes_late` the rows of `since` to `before` that were loaded from `seen` on leave as well.
    """

    column: str
    until: datetime
    since: date
    before: date | None = None
    seen: datetime | None = None
    takes_late: bool = False
