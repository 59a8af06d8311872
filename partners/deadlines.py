"""When a feed's batch is expected, and what it means that it is not there. Pure: rules, a clock and facts give a state.

The alert that matters is about what did not happen: a business date without any record of a batch is judged like one
whose batch is stuck. Deadlines are wall-clock times at the partner, in the partner's time zone, on the partner's
working days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from delivery.errors import Unusable
from partners.calendars import Calendar
from partners.schedule import Timetable

State = Literal[
    "not expected",
    "closed",
    "paused",
    "open",
    "due",
    "waiting",
    "late",
    "missing",
    "failed",
    "delivered",
    "delivered late",
    "acknowledged",
    "rejected",
    "empty",
    "superseded",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a feed promises.

    A batch for a business date (expected when that date is a day of `calendar`) is to be delivered `days_after` it, by
    `deadline` local time. Is the partner closed then: on its next working day ("next"), or all the same ("same").
    `warn` before the deadline the batch is due; `grace` after it, late becomes missing.
    """

    partner: str
    feed: str
    time_zone: str
    deadline: time
    days_after: int = 1
    calendar: Calendar = field(default_factory=Calendar)
    when_closed: Literal["next", "same"] = "same"
    warn: timedelta = timedelta(hours=1)
    grace: timedelta = timedelta(hours=2)
    timetable: Timetable | None = (
        None  # of a feed with a schedule: a batch is expected when a run covers up to its date
    )
    since: date | None = None  # first business date: nothing is missing from before the feed began

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise Unusable(
                f"'{self.time_zone}' is not a time zone", hint="an IANA name such as Europe/London"
            ) from error
        if self.days_after < 0 or self.warn < timedelta(0) or self.grace < timedelta(0):
            raise Unusable("days_after, warn and grace cannot be negative", hint="correct the feed's expectation")
        if self.deadline.tzinfo is not None:
            raise Unusable("the deadline is a local time", hint="leave its zone out: time_zone says it")

    def why_not_expected(self, business_date: date) -> tuple[State, str]:
        """Return the state of a date for which no batch is expected and the reason, ("open", "") for any other."""
        if self.since is not None and business_date < self.since:
            return "not expected", f"the feed began on {self.since}"
        if self.timetable is None:
            reason = self.calendar.why_closed(business_date)
            return ("closed", reason) if reason else ("open", "")
        run = self.timetable.run_for(business_date)
        if run is None:
            after = business_date + timedelta(days=1)
            return "closed", self.timetable.why_closed(after) or "no run covers up to this day"
        reason = self.timetable.why_not(run)
        return ("paused", reason) if reason else ("open", "")

    def due_by(self, business_date: date) -> datetime:
        """Return the deadline for a business date, in UTC. A time that a clock change skips counts as the moment after."""
        day = business_date + timedelta(days=self.days_after)
        if self.when_closed == "next":
            day = self.calendar.next_working_day(day)
        return datetime.combine(day, self.deadline, tzinfo=ZoneInfo(self.time_zone)).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is on record about one business date; all empty when nothing ever happened."""

    batch: str = ""
    state: str = ""  # as batches/ names it: planned, sealing, sealed, delivering, …
    delivered_at: datetime | None = None
    failure: str = ""
    waiting: str = ""  # the model for which a run waits that nobody has planned yet

    def __post_init__(self) -> None:
        assert self.delivered_at is None or self.delivered_at.tzinfo is not None, "times are aware"


_ARRIVED: dict[str, State] = {"acknowledged": "acknowledged", "empty": "empty"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one feed stands for one business date."""

    partner: str
    feed: str
    business_date: date
    state: State
    due_by: datetime
    reason: str = ""
    batch: str = ""

    @property
    def is_alarming(self) -> bool:
        return self.state in {"late", "missing", "failed"}

    @property
    def key(self) -> str:
        """Names this alert: one with the same key was sent already."""
        return f"{self.partner}.{self.feed}.{self.business_date}.{self.state.replace(' ', '-')}"


def judge_feed(expectation: Expectation, business_date: date, now: datetime, facts: Facts | None = None) -> Standing:
    """Say how a feed stands for one business date. A failed batch is "failed" until the deadline makes it worse."""
    assert now.tzinfo is not None, "times are aware"
    facts = facts or Facts()
    due_by = expectation.due_by(business_date)

    def standing(state: State, reason: str = "") -> Standing:
        return Standing(
            partner=expectation.partner,
            feed=expectation.feed,
            business_date=business_date,
            state=state,
            due_by=due_by,
            reason=reason,
            batch=facts.batch,
        )

    if facts.delivered_at is not None:
        late = facts.delivered_at - due_by
        if facts.state == "rejected":
            return standing("rejected", facts.failure)
        if late > timedelta(0):
            return standing("delivered late", f"{_span(late)} late")
        return standing(_ARRIVED.get(facts.state, "delivered"))
    if facts.state == "superseded":  # its days are late or not with the later batch, which has a date of its own
        return standing("superseded", facts.failure)
    state, reason = expectation.why_not_expected(business_date)
    if state != "open":
        return standing(state, reason)
    if now > due_by + expectation.grace:
        return standing("missing", _what_happened(facts))
    if now > due_by:
        return standing("late", _what_happened(facts))
    if facts.failure:
        return standing("failed", facts.failure)
    if facts.waiting:
        return standing("waiting", facts.waiting)
    if now >= due_by - expectation.warn:
        return standing("due", _what_happened(facts))
    return standing("open")


def judge_feeds(
    expectations: Iterable[Expectation],
    now: datetime,
    facts: Mapping[tuple[str, str, date], Facts],
    *,
    back_days: int = 7,
    ahead_days: int = 0,
) -> list[Standing]:
    """Judge the last `back_days` business dates of each feed, and so many ahead, oldest first, also those without facts."""
    standings = []
    for expectation in expectations:
        today = now.astimezone(ZoneInfo(expectation.time_zone)).date()
        for back in range(back_days, -1 - ahead_days, -1):
            day = today - timedelta(days=back)
            standings.append(judge_feed(expectation, day, now, facts.get((expectation.partner, expectation.feed, day))))
    return standings


def alert_text(standing: Standing, now: datetime, *, time_zone: str = "UTC", page: str = "") -> tuple[str, str]:
    """Return subject and body of a mail that says what is wrong, since when, what to do, and on which page more stands."""
    zone = ZoneInfo(time_zone)
    due, seen = standing.due_by.astimezone(zone), now.astimezone(zone)
    subject = f"[sealift] {standing.state}: {standing.partner} {standing.feed} of {standing.business_date}"
    what = {
        "late": f"{_span(now - standing.due_by)} past its deadline",
        "missing": f"{_span(now - standing.due_by)} past its deadline and past all grace",
        "failed": "failed, and its deadline is still ahead",
    }.get(standing.state, standing.state)
    lines = [
        f"The batch {standing.batch or '(none was planned)'} is {what}.",
        "",
        f"partner        {standing.partner}",
        f"feed           {standing.feed}",
        f"business date  {standing.business_date}",
        f"due by         {due:%Y-%m-%d %H:%M %Z}",
        f"looked at      {seen:%Y-%m-%d %H:%M %Z}",
        f"cause          {standing.reason or 'unknown'}",
        *([f"page           {page}"] if page else []),
        "",
    ]
    if standing.batch:
        lines.append(
            "To do: read the batch's failure, fix it, then rerun the window: what has arrived is not sent twice."
        )
    else:
        lines.append("To do: see why the nightly trigger did not run for this window, then rerun it.")
    return subject, "\n".join(lines) + "\n"


def _what_happened(facts: Facts) -> str:
    if facts.failure or facts.waiting:
        return facts.failure or facts.waiting
    if not facts.batch:
        return "no batch was planned"
    return f"the batch is {facts.state or 'under way'}"


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02d} min" if hours < 48 else f"{hours // 24} days"
