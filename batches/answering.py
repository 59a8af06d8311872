"""Answers: what the partner says about a delivered batch, by the rules of its file. A final answer is written once.

Delivered means that the file is there; acknowledged that the partner took it; rejected that it did not, with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from batches import ledger
from batches import record as records
from batches.answers import Answer, AnsweredFile, read_answer, write_answer, written_before
from batches.context import Context
from batches.ledger import Note
from batches.log import log_event, log_failure
from batches.receipts import read_receipt
from batches.recent import Seen, newest
from batches.record import BatchId, Record
from delivery import DeliveryError, FolderMissing, RemoteReadOnly, RemoteRefused, SentFile, Verdict, poll_answers
from encryption import EncryptionError
from partners import Partner

WAIT_DAYS = 14


def fetch_answers(context: Context, partners: list[Partner]) -> list[Answer]:
    """Look once for the answers to every delivered batch of the last days that has none; return those that came.

    What cannot be asked or read is logged and looked at again the next time: it costs no other batch or partner its answer.
    """
    came: list[Answer] = []
    for partner in partners:
        closed: set[str] = set()
        for batch in _recent(context, partner):
            if batch.feed in closed:
                continue
            try:
                record = records.read(context.stores.batches, batch)
                if read_receipt(context, record) is None or read_answer(context, record) is not None:
                    continue
                verdict = _ask(context, partner, record)
                for cause in sorted({file.reason for file in verdict.files if file.says == "waiting" and file.reason}):
                    log_failure("answer.unreadable", batch=record.batch, cause=cause)
                if verdict.says != "waiting":
                    came.append(_write(context, record, verdict))
            except (FolderMissing, RemoteReadOnly) as error:
                log_failure("answer.not_reached", batch=batch, cause=str(error))
                closed.add(batch.feed)  # its batches share the folder: each would only log in again
            except RemoteRefused as error:  # one answer that cannot be read
                log_failure("answer.not_reached", batch=batch, cause=str(error))
            except (DeliveryError, EncryptionError) as error:
                log_failure("answer.not_reached", batch=batch, cause=str(error))
                break  # the next batch would only log in again, and a wrong password that comes often locks an account
            except Exception as error:  # noqa: BLE001 - a broken record or a strange answer is that batch's own trouble
                log_failure("answer.not_reached", batch=batch, cause=type(error).__name__)
    return came


def _recent(context: Context, partner: Partner) -> Iterator[BatchId]:
    """Yield the batches that were delivered in the last days, of feeds that the partner answers: a late one is asked about, too.

    One read a feed: of its newest batches those that were delivered and have no answer. A feed without them is listed.
    """
    since = context.now() - timedelta(days=WAIT_DAYS)
    for name, feed in partner.feeds.items():
        if feed.answers:
            known = newest(context, partner.name, name)
            if known is not None:
                yield from (seen.batch for seen in known if _awaits_answer(seen, since))
                continue
            found: dict[BatchId, None] = {}
            for blob in context.stores.batches.list_blobs(name_starts_with=f"{partner.name}/{name}/"):
                is_new = "/receipt." in blob.name and blob.last_modified >= since
                if is_new and (batch := BatchId.of_blob(blob.name)):
                    found[batch] = None
            yield from found


def _awaits_answer(seen: Seen, since: datetime) -> bool:
    """Whether a batch is delivered, perhaps anew, and not answered."""
    is_new = seen.delivery > 1 or (seen.delivered_at is not None and seen.delivered_at >= since)
    return seen.state == "delivered" and is_new


def _ask(context: Context, partner: Partner, record: Record) -> Verdict:
    rows = {file.name: file.rows for file in record.staged or []}
    sent = [SentFile(name=record.sealed_name(name), records=rows.get(name)) for name in record.files]
    rules = [answer.rule() for answer in partner.feeds[record.batch.feed].answers]
    settings, after = partner.sftp.connection(context.vault.secret), written_before(context, record)
    return poll_answers(settings, rules, sent, batch=record.batch, after=after)


def _write(context: Context, record: Record, verdict: Verdict) -> Answer:
    assert verdict.says != "waiting", "only a final answer is written"
    mine = Answer(
        batch=record.batch,
        delivery=record.delivery,
        says=verdict.says,
        reason=verdict.reason,
        seen_at=context.now(),
        newest_seconds=verdict.newest_seconds,
        files=[AnsweredFile(name=file.name, says=file.says, reason=file.reason) for file in verdict.files],
    )
    answer = write_answer(context, record, mine)
    if answer == mine:
        tell = log_failure if verdict.says == "rejected" else log_event
        tell(f"batch.{verdict.says}", batch=record.batch, delivery=record.delivery)  # a reason may quote a row
        about = Note(verdict.says, since=record.planned_at, delivery=record.delivery, who=record.batch.partner)
        ledger.note(context, record.batch, about, once=True)
    return answer
