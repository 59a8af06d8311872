"""One partner: how punctual its feeds are, how large and how quick, when they run, which keys and host keys count."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime
from statistics import median, quantiles

from batches import Context
from batches.certificates import UsedKey, read_certificates
from batches.expecting import expectation
from batches.recent import Seen
from monitor.reading import Expiry, expiries_of, read_feeds
from partners import Feed, Partner
from partners.schedule import NIGHTLY, Schedule

DAYS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFigures:
    """One feed over 90 days. Shares are from 0 to 1; durations run from planning to the receipt, in seconds."""

    name: str
    title: str
    schedule: str
    covers: str
    deadline: str
    next_run: datetime | None
    paused: str
    batches: int
    judged: int
    on_time: int
    share: float | None
    seconds: tuple[float, float] | None
    sizes: tuple[float, float] | None
    newest: Seen | None
    usual_bytes: float | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerPage:
    """The page's values. `fingerprint`: of the partner's configuration as this app reads it."""

    name: str
    title: str
    time_zone: str
    host: str
    host_keys: tuple[str, ...]
    certificates: tuple[Expiry, ...]
    keys: tuple[UsedKey, ...]
    fingerprint: str
    feeds: tuple[FeedFigures, ...]


def read_partner_page(context: Context, name: str) -> PartnerPage:
    """Return the page's values: a request for each feed, and one for the keys. Raises PartnerError."""
    partner = context.partner(name)
    found = read_feeds(context, [(partner.name, feed) for feed in partner.feeds], days=DAYS)
    known = read_certificates(context)
    return PartnerPage(
        name=partner.name,
        title=partner.title,
        time_zone=partner.time_zone,
        host=partner.sftp.host,
        host_keys=tuple(_fingerprint(line) for line in partner.sftp.host_keys),
        certificates=tuple(expiries_of(known, [partner], context.now(), within_days=10**6)),
        keys=known.keys.get(partner.name, ()),
        fingerprint=hashlib.sha256(partner.model_dump_json().encode()).hexdigest()[:16],
        feeds=tuple(_figures(context, partner, each.feed, each.seen, each.problem) for each in found),
    )


def _figures(context: Context, partner: Partner, name: str, seen: tuple[Seen, ...], problem: str) -> FeedFigures:
    feed = partner.feeds[name]
    done = [each for each in seen if each.delivered_at is not None]
    judged, on_time = _punctuality(partner, name, feed, done)
    found = partner.timetable(name).next_run(context.now())
    newest = next((each for each in done if each.bytes), None)
    same_day = [each.bytes for each in done if newest and _is_comparable(each, newest)]
    return FeedFigures(
        name=name,
        title=feed.title,
        schedule=in_words(feed.schedule, partner.time_zone),
        covers=feed.covers if isinstance(feed.covers, str) else f"{feed.covers.hours} hours",
        deadline=_deadline(feed),
        next_run=found.at if found else None,
        paused=f"until {feed.paused.until}: {feed.paused.reason}" if feed.paused else "",
        batches=len(seen),
        judged=judged,
        on_time=on_time,
        share=on_time / judged if judged else None,
        seconds=_middle_and_most([_seconds(each) for each in done if each.planned_at]),
        sizes=_middle_and_most([float(each.bytes) for each in done if each.bytes]),
        newest=newest,
        usual_bytes=median(same_day) if same_day else None,
        problem=problem,
    )


def in_words(schedule: Schedule | None, time_zone: str) -> str:
    """Return when a feed runs, as a sentence without a verb."""
    found = schedule or NIGHTLY
    zone = found.time_zone or time_zone
    clock = (
        f"every {found.every_hours} hours from midnight"
        if found.every_hours and found.every_hours > 1
        else "every hour"
        if found.every_hours
        else "at " + " and ".join(f"{each:%H:%M}" for each in found.times)
    )
    days = "" if len(found.days) == 7 else f", on {', '.join(found.days)}"
    months = "" if len(found.months) == 12 else f", in months {', '.join(map(str, found.months))}"
    rule = f", on the {found.when} of the month" if found.when else ""
    closed = {"skip": "", "run": ", also on closed days"}.get(
        found.when_closed, f", moved to the {found.when_closed} working day when closed"
    )
    return f"{clock} {zone}{days}{rule}{months}{closed}"


def _deadline(feed: Feed) -> str:
    if feed.expected is None:
        return ""
    after = feed.expected.days_after
    return f"by {feed.expected.by}, {after} day{'' if after == 1 else 's'} after the business date"


def _punctuality(partner: Partner, name: str, feed: Feed, done: list[Seen]) -> tuple[int, int]:
    """Return how many first revisions were delivered, and how many of these by their deadline."""
    if feed.expected is None:
        return 0, 0
    expected = expectation(partner, name, feed)
    first = [each for each in done if each.batch.revision == 1 and each.delivered_at]
    return len(first), sum(
        1 for each in first if each.delivered_at and each.delivered_at <= expected.due_by(each.batch.business_date)
    )


def _is_comparable(each: Seen, newest: Seen) -> bool:
    """Whether the batch is another one of the same weekday that has a size."""
    return bool(each.bytes) and each is not newest and _weekday(each) == _weekday(newest)


def _weekday(each: Seen) -> int:
    return each.batch.business_date.weekday()


def _seconds(each: Seen) -> float:
    return (each.delivered_at - each.planned_at).total_seconds() if each.delivered_at and each.planned_at else 0.0


def _middle_and_most(values: list[float]) -> tuple[float, float] | None:
    """Return the median and the 95th percentile, None without values."""
    if not values:
        return None
    return median(values), (quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0])


def _fingerprint(host_key: str) -> str:
    """Return a host key as `ssh-keygen -l` shows it."""
    kind, _, rest = host_key.partition(" ")
    try:
        digest = hashlib.sha256(base64.b64decode(rest.split()[0])).digest()
    except (binascii.Error, IndexError):
        return kind
    return f"{kind} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
