"""One batch: what happened, when, what was sent, what the partner answered, and what to do when it stands still."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from batches import BatchId, Context, Record, Unreadable, blobs
from batches import record as records
from batches.answers import Answer, read_answer
from batches.ledger import find_break, read_entries
from batches.manifest import MANIFEST, is_finished
from batches.receipts import Receipt, read_receipt
from monitor.timeline import Step, Total, read_steps, read_totals
from partners import PartnerError

_MOST_FILES = 200
_MOST_STEPS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to do: the action in words and the command to copy, "" where there is none."""

    cause: str
    action: str
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPage:
    """`record` None: it is unreadable, and `problems` say so."""

    batch: BatchId
    state: str
    time_zone: str
    record: Record | None
    receipt: Receipt | None
    answer: Answer | None
    steps: tuple[Step, ...]
    totals: tuple[Total, ...]
    entries: int
    broken_at: int | None
    files: tuple[dict[str, Any], ...]
    file_count: int
    rows: int | None
    plain_bytes: int
    sealed_bytes: int | None
    seconds: float | None
    advice: Advice | None
    problems: tuple[str, ...]
    manifest: dict[str, Any] | None


def read_batch(context: Context, batch: BatchId) -> BatchPage:
    """Return the page's values in at most seven requests. Raises UnknownBatch."""
    problems: list[str] = []
    record = receipt = answer = None
    finished = False
    try:
        record = records.read(context.stores.batches, batch)
        receipt = read_receipt(context, record)
        answer = read_answer(context, record) if receipt else None
    except Unreadable as error:
        problems.append(error.message)
    manifest = _manifest(context, batch, problems)
    if record and not receipt and manifest is not None:
        finished = is_finished(context, batch)
    entries = read_entries(context, batch)
    contents = [each.content for each in entries if each.content["batch"] == batch]
    state = "unreadable" if problems else _state(record, receipt, answer, finished=finished)
    staged = (record.staged or []) if record else []
    counts = [file.rows for file in staged]
    plain_bytes = sum(file.size_bytes for file in staged)
    sealed_bytes = sum(_whole(file.get("sealed_bytes")) or 0 for file in manifest["files"]) if manifest else None
    return BatchPage(
        batch=batch,
        state=state,
        time_zone=_zone(context, batch),
        record=record,
        receipt=receipt,
        answer=answer,
        steps=read_steps(contents[-_MOST_STEPS:], plain_bytes, sealed_bytes),
        totals=read_totals(record, contents, manifest),
        entries=len(entries),
        broken_at=find_break(entries),
        files=tuple(_files(record, manifest))[:_MOST_FILES],
        file_count=len(record.files) if record else 0,
        rows=sum(count or 0 for count in counts) if counts and None not in counts else None,
        plain_bytes=plain_bytes,
        sealed_bytes=sealed_bytes,
        seconds=(receipt.delivered_at - record.planned_at).total_seconds() if record and receipt else None,
        advice=_advice(record, answer, state, problems, finished=finished) if record else _unreadable(batch, problems),
        problems=tuple(problems),
        manifest=manifest,
    )


def _state(record: Record | None, receipt: Receipt | None, answer: Answer | None, *, finished: bool) -> str:
    assert record is not None, "a record without problems is there"
    if receipt:
        return answer.says if answer else "delivered"
    if record.superseded_by is not None:
        return "superseded"
    if record.failure:
        return "failed"
    if finished:
        return "delivering" if record.delivering == record.delivery else "sealed"
    if record.emptied_at is not None:
        return "empty"
    return "sealing" if record.staged or record.rows else "planned"


def _manifest(context: Context, batch: BatchId, problems: list[str]) -> dict[str, Any] | None:
    """Return the manifest as JSON, None before sealing is done. What is not a manifest is a problem of the page, not its end."""
    found = blobs.read(context.stores.encrypted, f"{batch.folder}/{MANIFEST}")
    if found is None:
        return None
    try:
        manifest = json.loads(found)
        if isinstance(manifest, dict) and all(isinstance(file, dict) for file in manifest.get("files", [None])):
            return manifest
    except (ValueError, RecursionError):
        pass
    problems.append(f"encrypted/{batch.folder}/{MANIFEST} is not a manifest")
    return None


def _files(record: Record | None, manifest: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return name, rows, sizes and hash of each file, from what is known of it by now."""
    sealed = {str(file.get("name")): file for file in manifest["files"]} if manifest else {}
    staged = {file.name: file for file in record.staged or []} if record else {}
    return [
        {
            "name": name,
            "rows": staged[name].rows if name in staged else None,
            "plain_bytes": staged[name].size_bytes if name in staged else None,
            "sealed_bytes": _whole(sealed.get(name, {}).get("sealed_bytes")),
            "sealed_sha256": str(sealed.get(name, {}).get("sealed_sha256") or ""),
            "sums": dict(staged[name].sums or {}) if name in staged else {},
        }
        for name in (record.files if record else [])
    ]


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _unreadable(batch: BatchId, problems: list[str]) -> Advice:
    action = "compare the records with the ledger and the storage account's earlier versions"
    return Advice(cause="; ".join(problems), action=action, command=f"./sealift batch verify {batch}")


def _advice(record: Record, answer: Answer | None, state: str, problems: list[str], *, finished: bool) -> Advice | None:
    """Return what to do about a batch that stands still or was refused, None when nothing is to be done."""
    if problems:
        return _unreadable(record.batch, problems)
    if state == "rejected":
        action = "settle with the partner what was wrong; a correction is a new revision, a lost file is sent again"
        reason = answer.reason if answer else ""
        return Advice(cause=reason, action=action, command=f'./sealift batch resend {record.batch} --reason "..."')
    if record.failure is None or state != "failed":
        return None
    return Advice(cause=record.failure.cause, action=record.failure.hint, command=_command(record, finished=finished))


def _command(record: Record, *, finished: bool) -> str:
    if finished or record.staged or record.rows:
        return f"./sealift batch replay {record.batch} --from {'deliver' if finished else 'seal'}"
    given = {
        "partner": record.batch.partner,
        "feed": record.batch.feed,
        "windowStart": f"{record.window_start.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "windowEnd": f"{record.window_end.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    return " ".join(["./sealift run deliver_batch", *(f"--param {name}={value}" for name, value in given.items())])


def _zone(context: Context, batch: BatchId) -> str:
    try:
        return context.partner(batch.partner).time_zone
    except PartnerError:
        return "UTC"
