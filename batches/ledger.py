"""The ledger of a feed: one line for every step of every batch, each naming the SHA-256 of the line before it. It only grows.

It is an append blob, `<partner>/<feed>/ledger.jsonl`: a line is accepted by storage only at the place that its writer had
read up to, so lines that are written at the same time never fork the chain, and a line is there as a whole or not at all.
A step writes its outcome first and its line after; repeating the step, as every step is repeated after a crash, writes the
line that a crash swallowed. What the partner received carries the chain's head of that time (manifest: record_head), so a
ledger that somebody rewrote no longer fits what has left the house.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from batches.record import BatchId


@dataclass(frozen=True, slots=True)
class Entry:
    """One line as it was read, with its own hash.

    `content` has number, batch, delivery, step, at, who, run_id, details and previous.
    """

    content: dict[str, Any]
    sha256: str


def note(
    container: ContainerClient,
    batch: BatchId,
    step: str,
    *,
    now: datetime,
    run_id: str | None,
    who: str | None = None,
    once: bool = False,
    delivery: int = 1,
    **details: object,
) -> str:
    """Append an entry and return its hash. With `once`, only if this delivery of the batch has no entry of that step yet.

    `who` is what the caller claims; a function key proves no person. Without it, a run id stands for Data Factory.
    """
    blob = container.get_blob_client(_name(batch))
    who = who or ("data-factory" if run_id else "function-app")
    mine: bytes | None = None
    while True:
        text = _read(container, batch)
        lines = text.splitlines()
        # A line that storage took although its answer was lost is ours as well: it is not written twice.
        found = [line for line in lines if line == mine or (once and _is_about(line, batch, step, delivery))]
        if found:
            return _hash(found[0])
        mine = _canonical(
            {
                "at": now.isoformat(),
                "batch": str(batch),
                "delivery": delivery,
                "details": details,
                "number": len(lines) + 1,
                "previous": _hash(lines[-1]) if lines else None,
                "run_id": run_id,
                "step": step,
                "who": who,
            }
        )
        try:
            if not text:
                _create(container, batch)
            blob.append_block(mine + b"\n", appendpos_condition=len(text))
        except HttpResponseError as error:
            if error.status_code != 412:
                raise
            continue
        return _hash(mine)


def head(container: ContainerClient, batch: BatchId) -> str | None:
    """Return the hash of the feed's last entry."""
    lines = _read(container, batch).splitlines()
    return _hash(lines[-1]) if lines else None


def read_entries(container: ContainerClient, batch: BatchId) -> list[Entry]:
    """Return the feed's entries, oldest first, as they stand there: `find_break` judges them."""
    return [Entry(_parse(line), _hash(line)) for line in _read(container, batch).splitlines()]


def find_break(entries: list[Entry]) -> int | None:
    """Return the number of the first entry that does not continue the chain, or None when it is whole."""
    previous: str | None = None
    for number, entry in enumerate(entries, 1):
        if (entry.content["number"], entry.content["previous"]) != (number, previous):
            return number
        previous = entry.sha256
    return None


def _name(batch: BatchId) -> str:
    return f"{batch.partner}/{batch.feed}/ledger.jsonl"


def _read(container: ContainerClient, batch: BatchId) -> bytes:
    try:
        return container.get_blob_client(_name(batch)).download_blob().readall()
    except ResourceNotFoundError:
        return b""


def _create(container: ContainerClient, batch: BatchId) -> None:
    try:
        container.get_blob_client(_name(batch)).create_append_blob(match_condition=MatchConditions.IfMissing)
    except (ResourceExistsError, ResourceModifiedError):
        return


def _is_about(line: bytes, batch: BatchId, step: str, delivery: int) -> bool:
    # Canonical JSON escapes every quote inside a text, so these words can only be the members themselves.
    about = f'"batch":"{batch}","delivery":{delivery},'
    return line.startswith(b"{") and about.encode() in line and f',"step":"{step}",'.encode() in line


def _parse(line: bytes) -> dict[str, Any]:
    """Return a line's members; what is no entry becomes one that breaks the chain."""
    nothing = {"number": 0, "previous": "", "batch": "", "step": "unreadable", "delivery": 0, "details": {}}
    try:
        content: dict[str, Any] = {**nothing, **json.loads(line)}
    except (ValueError, TypeError):
        return nothing
    return content


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
