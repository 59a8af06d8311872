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
from batches.answers import answer_name, read_answer
from batches.connecting import connection_settings
from batches.log import log_event, log_failure
from batches.receipts import read_receipt
from batches.record import BatchId, Record
from batches.stores import Stores
from delivery import DeliveryError, SentFile, Verdict, poll_answers
from encryption.vault import Vault
from partners import Feed, Partner

WAIT_DAYS = 14


def fetch_answers(stores: Stores, vault: Vault, partners: list[Partner], now: datetime) -> list[dict[str, Any]]:
    """Look once for the answers to every delivered batch of the last days that has none; return those that came.

    A partner that cannot be reached is logged and asked again at the next look.
    """
    came: list[dict[str, Any]] = []
    for partner in partners:
        for name, feed in partner.feeds.items():
            if not feed.answers:
                continue
            for record in _waiting(stores, partner.name, name, now):
                try:
                    verdict = _ask(vault, partner, feed, record)
                except DeliveryError as error:
                    log_failure("answer.not_reached", batch=record.batch, cause=str(error))
                    break
                if verdict.says != "waiting":
                    came.append(_write(stores, record, verdict, now))
    return came


def _waiting(stores: Stores, partner: str, feed: str, now: datetime) -> Iterator[Record]:
    oldest = (now - timedelta(days=WAIT_DAYS)).date()
    for name in stores.batches.list_blob_names(name_starts_with=f"{partner}/{feed}/"):
        if not name.endswith("/batch.json"):
            continue
        batch = BatchId.parse(name.removesuffix("/batch.json").replace("/", "."))
        if batch.business_date < oldest:
            continue
        record = records.read(stores.batches, batch)
        if read_receipt(stores, record) is not None and read_answer(stores, record) is None:
            yield record


def _ask(vault: Vault, partner: Partner, feed: Feed, record: Record) -> Verdict:
    rows = {file.name: file.rows for file in record.staged or []}
    sent = [SentFile(name=record.sealed_name(name), records=rows.get(name)) for name in record.files]
    rules = [answer.rule() for answer in feed.answers]
    return poll_answers(connection_settings(partner, vault), rules, sent, batch=record.batch)


def _write(stores: Stores, record: Record, verdict: Verdict, now: datetime) -> dict[str, Any]:
    answer = {
        "batch": record.batch,
        "delivery": record.delivery,
        "says": verdict.says,
        "reason": verdict.reason,
        "seen_at": now.isoformat(),
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
