"""Expect: which feeds should have been delivered by now, and the alert when one was not, especially when no run started.

Standings are derived from records and receipts each time; only the fact that an alert was sent is kept, so that it is sent once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, time, timedelta

from azure.core.exceptions import ResourceNotFoundError

from batches import record as records
from batches.alerts import page_of, post_alert
from batches.context import Context
from batches.errors import UnknownBatch, Unreadable
from batches.log import log_event, log_failure
from batches.readiness import Readiness
from batches.receipts import read_receipt
from batches.recent import Seen, newest
from batches.record import BatchId
from batches.status import state_of
from delivery import DeliveryError
from encryption import SecretMissing, VaultForbidden
from partners import Feed, Partner, PartnerInvalid, load_partners
from partners.deadlines import Expectation, Facts, Standing, judge_feeds

BACK_DAYS = 7
READS_AT_ONCE = 16
_ENDED = frozenset({"delivered", "acknowledged", "empty"})
WEBHOOK_SECRET = "alert-webhook"  # noqa: S105 - the secret's name


def usable_partners(context: Context) -> list[Partner]:
    """Return the partners whose files are right; an invalid one is reported each time and never blocks the other partners."""
    return read_partners(context)[0]


def read_partners(context: Context) -> tuple[list[Partner], list[str]]:
    """Return the partners whose files are right, and the names of the others, which are logged."""
    faulty: list[str] = []

    def tell(name: str, fault: PartnerInvalid) -> None:
        faulty.append(name)
        log_failure("partner.invalid", partner=name, cause=str(fault), hint=fault.hint)

    return load_partners(context.sftp, on_fault=tell), faulty


def read_standings(
    context: Context, partners: Iterable[Partner], *, back_days: int = BACK_DAYS, ahead_days: int = 0
) -> list[Standing]:
    """Return how every feed with a deadline stands for the last business dates, and for those ahead, oldest first."""
    partners = list(partners)
    judged = [(each.name, name) for each in partners for name, feed in each.feeds.items() if feed.expected is not None]
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        found = pool.map(lambda feed: _facts(context, feed[0], feed[1], back_days), judged)
    facts = {(*feed, day): fact for feed, days in zip(judged, found, strict=True) for day, fact in days.items()}
    return judge(context, partners, facts, back_days=back_days, ahead_days=ahead_days)


def judge(
    context: Context,
    partners: Iterable[Partner],
    facts: dict[tuple[str, str, date], Facts],
    *,
    back_days: int,
    ahead_days: int = 0,
) -> list[Standing]:
    """Return how every feed with a deadline stands, given what is on record about each business date."""
    expectations = [
        expectation(partner, name, feed)
        for partner in partners
        for name, feed in partner.feeds.items()
        if feed.expected is not None
    ]
    readiness = Readiness(context.stores)
    for partner in partners:
        for name, feed in partner.feeds.items():
            if feed.expected is not None:
                for day, waits in _waiting(context, readiness, partner, name).items():
                    facts.setdefault((partner.name, name, day), Facts(waiting=waits))
    return judge_feeds(expectations, context.now(), facts, back_days=back_days, ahead_days=ahead_days)


def alert(context: Context, partners: list[Partner]) -> list[Standing]:
    """Log every feed that is late, missing or failed, and post it to the webhook, once each; return those of now.

    The webhook is the vault's secret `alert-webhook`; without it the log line is the alert. A webhook that does not take the
    alert gets it again at the next look.
    """
    zones = {partner.name: partner.time_zone for partner in partners}
    alarming = [standing for standing in read_standings(context, partners) if standing.is_alarming]
    new = [standing for standing in alarming if not context.stores.batches.get_blob_client(_mark(standing)).exists()]
    for standing in new:
        facts = {
            "partner": standing.partner,
            "feed": standing.feed,
            "business_date": standing.business_date.isoformat(),
            "state": standing.state,
            "due_by": standing.due_by.isoformat(),
            "batch": standing.batch or None,
        }
        log_failure("feed.alarming", **facts, cause=standing.reason)
    webhook = _webhook(context) if new else None  # after the lines: a vault that is down hides none of them
    for standing in new:
        if webhook and not _post(context, webhook, standing, zones[standing.partner]):
            continue
        sent = json.dumps({"sent_at": context.now().isoformat()}).encode()
        context.stores.batches.upload_blob(_mark(standing), sent, overwrite=True)
    log_event("feeds.judged", alarming=len(alarming), new=len(new))
    return alarming


def expectation(partner: Partner, name: str, feed: Feed) -> Expectation:
    """Return what a feed with a deadline promises."""
    assert feed.expected is not None, "only feeds with a deadline are judged"
    expected = feed.expected
    return Expectation(
        partner=partner.name,
        feed=name,
        time_zone=partner.time_zone,
        deadline=time.fromisoformat(expected.by),
        days_after=expected.days_after,
        calendar=feed.calendar,
        when_closed=expected.when_closed,
        warn=timedelta(minutes=expected.warn_minutes),
        grace=timedelta(minutes=expected.grace_minutes),
        timetable=partner.timetable(name) if feed.schedule or feed.paused else None,
        since=max((each for each in (expected.since, feed.since) if each), default=None),
    )


def _facts(context: Context, partner: str, feed: str, back_days: int) -> dict[date, Facts]:
    """Return what is on record for the last business dates: one read a feed, and the records of what has not ended well."""
    first = context.now().date() - timedelta(days=back_days + 1)
    known = newest(context, partner, feed, since=first)
    if known is None:
        return _listed_facts(context, partner, feed, back_days)
    days: dict[date, list[Facts]] = {}
    for seen in known:  # newest first, and so are the revisions of a day
        if seen.batch.slot != str(seen.batch.business_date):
            continue  # a block of hours has no deadline of its own
        days.setdefault(seen.batch.business_date, []).append(_seen_fact(context, seen))
    return {day: choose(revisions) for day, revisions in days.items()}


def _seen_fact(context: Context, seen: Seen) -> Facts:
    """Return the facts about a batch; one that has ended well says all of them itself."""
    if seen.delivery == 1 and seen.state in _ENDED and seen.delivered_at is not None:
        return Facts(batch=seen.batch, state=seen.state, delivered_at=seen.delivered_at)
    return _fact(context, seen.batch)


def _listed_facts(context: Context, partner: str, feed: str, back_days: int) -> dict[date, Facts]:
    """Return the same from a listing for each day, where nobody has written down the feed's newest batches."""
    found: dict[date, Facts] = {}
    today = context.now().date()
    for back in range(-1, back_days + 2):
        day = today - timedelta(days=back)
        prefix = f"{partner}/{feed}/{day}."
        names = context.stores.batches.list_blob_names(name_starts_with=prefix)
        ids = [BatchId.of_blob(name) for name in names if name.endswith("/batch.json")]
        if planned := [batch for batch in ids if batch]:
            planned.sort(key=lambda batch: batch.revision, reverse=True)
            found[day] = choose([_fact(context, batch) for batch in planned])
    return found


def _waiting(context: Context, readiness: Readiness, partner: Partner, name: str) -> dict[date, str]:
    """Return what the feed's last run waits for, by the business date that it covers."""
    now = context.now()
    runs = partner.timetable(name).due(now - timedelta(days=1), now)
    if not runs:
        return {}
    waits = readiness.why_waiting(partner.name, name, partner.feeds[name], runs[-1].cover.end)
    return {runs[-1].cover.last: waits} if waits else {}


def choose(revisions: list[Facts]) -> Facts:
    """Return the facts that count, newest revision first: while a correction is made, what was delivered before it stands."""
    newest = revisions[0]
    if newest.delivered_at or newest.failure:
        return newest
    return next((each for each in revisions if each.delivered_at), newest)


def _fact(context: Context, batch: BatchId) -> Facts:
    try:
        record = records.read(context.stores.batches, batch)
        receipt = read_receipt(context, record, delivery=1)
        return Facts(
            batch=batch,
            state=state_of(context, record),
            delivered_at=receipt.delivered_at if receipt else record.emptied_at,
            failure=_why_stopped(record),
        )
    except (UnknownBatch, Unreadable) as error:  # reported, and hides no other feed
        return Facts(batch=batch, failure=error.message)


def _why_stopped(record: records.Record) -> str:
    if record.superseded_by is not None:
        return f"it never left: its days are in batch {record.superseded_by}"
    return record.failure.cause if record.failure else ""


def _mark(standing: Standing) -> str:
    return f"{standing.partner}/{standing.feed}/alerts/{standing.key}.json"


def _webhook(context: Context) -> str | None:
    try:
        return context.vault.secret(WEBHOOK_SECRET)
    except (SecretMissing, VaultForbidden, ResourceNotFoundError):
        return None


def _post(context: Context, webhook: str, standing: Standing, time_zone: str) -> bool:
    try:
        post_alert(webhook, standing, context.now(), time_zone=time_zone, page=page_of(standing))
    except DeliveryError as error:
        log_failure("alert.not_taken", cause=str(error), hint=error.hint)
        return False
    return True
