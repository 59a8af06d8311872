"""Answers: what the partner says about a delivered batch, by the rules of its file. A final answer is written once.

Delivered means that the file is there; acknowledged that the partner took it; rejected that it did not, with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError

from batches import ledger
from batches import record as records
from batches.answers import answer_name, read_answer, written_before
from batches.log import log_event, log_failure
from batches.receipts import read_receipt
from batches.record import BatchId, Record
from batches.stores import Stores
from delivery import DeliveryError, FolderMissing, RemoteReadOnly, RemoteRefused, SentFile, Verdict, poll_answers
from encryption import EncryptionError
from encryption.vault import Vault
from partners import Feed, Partner

WAIT_DAYS = 14


def fetch_answers(stores: Stores, vault: Vault, partners: list[Partner], now: datetime) -> list[dict[str, Any]]:
    """Look once for the answers to every delivered batch of the last days that has none; return those that came.

    What cannot be asked or read is logged and looked at again the next time: it costs no other batch or partner its answer.
    """
    came: list[dict[str, Any]] = []
    for partner in partners:
        closed: set[str] = set()
        for batch in _recent(stores, partner, now):
            if batch.feed in closed:
                continue
            try:
                record = records.read(stores.batches, batch)
                if read_receipt(stores, record) is None or read_answer(stores, record) is not None:
                    continue
                verdict = _ask(stores, vault, partner, partner.feeds[batch.feed], record)
                for cause in sorted({file.reason for file in verdict.files if file.says == "waiting" and file.reason}):
                    log_failure("answer.unreadable", batch=record.batch, cause=cause)
                if verdict.says != "waiting":
                    came.append(_write(stores, record, verdict, now))
            except (FolderMissing, RemoteReadOnly) as error:
                log_failure("answer.not_reached", batch=str(batch), cause=str(error))
                closed.add(batch.feed)  # its batches share the folder: each would only log in again
            except RemoteRefused as error:  # one answer that cannot be read
                log_failure("answer.not_reached", batch=str(batch), cause=str(error))
            except (DeliveryError, EncryptionError) as error:
                log_failure("answer.not_reached", batch=str(batch), cause=str(error))
                break  # the next batch would only log in again, and a wrong password that comes often locks an account
            except Exception as error:  # noqa: BLE001 - a broken record or a strange answer is that batch's own trouble
                log_failure("answer.not_reached", batch=str(batch), cause=type(error).__name__)
    return came


def _recent(stores: Stores, partner: Partner, now: datetime) -> Iterator[BatchId]:
    """Yield the batches that were delivered in the last days, of feeds that the partner answers: a late one is asked about, too.

    A receipt is written once, so the listing tells its time.
    """
    for name, feed in partner.feeds.items():
        if feed.answers:
            found: dict[BatchId, None] = {}
            for blob in stores.batches.list_blobs(name_starts_with=f"{partner.name}/{name}/"):
                is_new = "/receipt." in blob.name and blob.last_modified >= now - timedelta(days=WAIT_DAYS)
                if is_new and (batch := BatchId.of_blob(blob.name)):
                    found[batch] = None
            yield from found


def _ask(stores: Stores, vault: Vault, partner: Partner, feed: Feed, record: Record) -> Verdict:
    rows = {file.name: file.rows for file in record.staged or []}
    sent = [SentFile(name=record.sealed_name(name), records=rows.get(name)) for name in record.files]
    rules = [answer.rule() for answer in feed.answers]
    settings, after = partner.sftp.connection(vault.secret), written_before(stores, record)
    return poll_answers(settings, rules, sent, batch=record.batch, after=after)


def _write(stores: Stores, record: Record, verdict: Verdict, now: datetime) -> dict[str, Any]:
    answer = {
        "batch": record.batch,
        "delivery": record.delivery,
        "says": verdict.says,
        "reason": verdict.reason,
        "seen_at": now.isoformat(),
        "newest_seconds": verdict.newest_seconds,
        "files": [{"name": file.name, "says": file.says, "reason": file.reason} for file in verdict.files],
    }
    try:
        stores.batches.upload_blob(
            answer_name(record), json.dumps(answer, indent=1).encode(), match_condition=MatchConditions.IfMissing
        )
    except (ResourceExistsError, ResourceModifiedError):
        return read_answer(stores, record) or answer
    tell = log_failure if verdict.says == "rejected" else log_event
    tell(f"batch.{verdict.says}", batch=record.batch, delivery=record.delivery)  # a reason may quote a row
    ledger.note(
        stores.batches,
        record.id,
        verdict.says,
        now=now,
        run_id=None,
        who=record.id.partner,
        once=True,
        delivery=record.delivery,
    )
    return answer
