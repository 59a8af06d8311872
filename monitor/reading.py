"""What the pages read: one blob a feed, several feeds at once, and the dates of certificates. Bounded whatever the history.

What was read is kept for a few seconds by this process: a page that is loaded again costs nothing. Pages say how old it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar, cast

from batches import Context, Unreadable
from batches.certificates import CertificatesInUse
from batches.joined import JOINED_DAYS, read_joined
from batches.recent import Seen, blob_name, derive, read_recent
from partners import Partner
from partners.deadlines import Facts

DAYS = 35
AT_ONCE = 8  # more threads than that only wait for each other
FEW = 3  # so many feeds are read one by one
KEPT_SECONDS = 15.0
MOST_DERIVED = 3  # feeds whose blob is missing: the timer makes them, so there are few and not for long

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSeen:
    """The newest batches of one feed, newest first. `problem`: why they cannot be shown, "" when they can."""

    partner: str
    feed: str
    seen: tuple[Seen, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """A certificate in use and its last day; `days` are negative for one that expired."""

    partner: str
    secret: str
    purpose: str
    expires: datetime
    days: int


_kept: dict[tuple[str, ...], tuple[float, object]] = {}


def forget() -> None:
    """Forget what was kept: the next page reads everything."""
    _kept.clear()


def recently(key: tuple[str, ...], read: Callable[[], Value]) -> Value:
    """Return what `read` gives, or what it gave within the last seconds."""
    kept = _fresh(key, KEPT_SECONDS)
    return _keep(key, read()) if kept is None else cast(Value, kept)


def read_feeds(context: Context, feeds: Iterable[tuple[str, str]], *, days: int = DAYS) -> list[FeedSeen]:
    """Return the batches of the last days of each feed: a listing and a blob for all, and one for each feed that changed."""
    wanted = list(feeds)
    first = context.now().date() - timedelta(days=days)
    found = {each: kept for each in wanted if (kept := _kept_feed(context, each, first))}
    if days < JOINED_DAYS and len(wanted) - len(found) > FEW:
        found |= _read_joined(context, [each for each in wanted if each not in found], first)
    rest = [each for each in wanted if each not in found]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = list(pool.map(lambda each: _read_feed(context, each, first), rest))
    found |= {each: seen for each, seen in zip(rest, read, strict=True) if seen}
    for each in [each for each in wanted if each not in found][:MOST_DERIVED]:
        found[each] = _derived(context, *each, first)
    missing = "not indexed yet: look again in 15 minutes"
    return [found.get(each) or FeedSeen(partner=each[0], feed=each[1], problem=missing) for each in wanted]


def _read_joined(context: Context, wanted: list[tuple[str, str]], first: date) -> dict[tuple[str, str], FeedSeen]:
    _, fresh = read_joined(context)
    return {
        each: _keep(_key(context, each, first), _since(each, fresh[blob_name(*each)].seen, first))
        for each in wanted
        if blob_name(*each) in fresh
    }


def _read_feed(context: Context, feed: tuple[str, str], first: date) -> FeedSeen | None:
    try:
        recent = read_recent(context, *feed, since=first)
    except Unreadable:
        return None
    if recent is None:
        return None
    return _keep(_key(context, feed, first), _since(feed, recent.newest_first, first))


def _since(feed: tuple[str, str], seen: Iterable[Seen], first: date) -> FeedSeen:
    wanted = tuple(each for each in seen if each.batch.business_date >= first)
    return FeedSeen(partner=feed[0], feed=feed[1], seen=wanted)


def _kept_feed(context: Context, feed: tuple[str, str], first: date) -> FeedSeen | None:
    kept = _fresh(_key(context, feed, first), KEPT_SECONDS)
    return kept if isinstance(kept, FeedSeen) else None


def _key(context: Context, feed: tuple[str, str], first: date) -> tuple[str, ...]:
    return (context.stores.batches.url, *feed, str(first))


def _derived(context: Context, partner: str, feed: str, first: date) -> FeedSeen:
    found = derive(context, partner, feed, first=first)
    return FeedSeen(partner=partner, feed=feed, seen=tuple(found.newest_first))


def facts_of(seen: Iterable[Seen]) -> Iterator[tuple[date, list[Facts]]]:
    """Yield what is on record of each business date, its newest revision first."""
    by_day: dict[date, list[Facts]] = {}
    for each in seen:
        facts = Facts(batch=each.batch, state=each.state, delivered_at=each.delivered_at, failure=each.cause)
        by_day.setdefault(each.batch.business_date, []).append(facts)
    yield from by_day.items()


def expiries_of(
    known: CertificatesInUse, partners: Iterable[Partner], now: datetime, within_days: int = 60
) -> list[Expiry]:
    """Return the certificates in use that expire soon, as sealing saw them, the most urgent first."""
    found = [
        Expiry(
            partner=partner.name,
            secret=each.secret,
            purpose=each.purpose,
            expires=each.expires,
            days=(each.expires - now).days,
        )
        for partner in partners
        for each in known.partners.get(partner.name, ())
        if each.expires
    ]
    return sorted(
        (each for each in found if each.days <= within_days), key=lambda each: (each.days, each.partner, each.purpose)
    )


def _fresh(key: tuple[str, ...], seconds: float) -> object | None:
    kept = _kept.get(key)
    return kept[1] if kept and time.monotonic() - kept[0] < seconds else None


def _keep(key: tuple[str, ...], value: Value) -> Value:
    _kept[key] = (time.monotonic(), value)
    return value
