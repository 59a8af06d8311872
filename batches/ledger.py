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
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError
from azure.storage.blob import BlobClient

from batches import blobs
from batches.context import Context
from batches.recent import remember
from batches.record import BatchId


@dataclass(frozen=True, slots=True)
class Entry:
    """One line as it was read, with its own hash.

    `content` has number, batch, delivery, step, at, who, run_id, details and previous.
    """

    content: dict[str, Any]
    sha256: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a step wants to be on record. `who` is what the caller claims: a function key proves no person."""

    step: str
    _: KW_ONLY
    delivery: int = 1
    who: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


def note(context: Context, batch: BatchId, about: Note, *, once: bool = False) -> str:
    """Append an entry and return its hash. With `once`, only if this delivery of the batch has no entry of that step yet.

    Where nobody is named, a run id means Data Factory and none this app.
    """
    container = context.stores.batches
    blob = container.get_blob_client(_name(batch))
    entry = {
        "at": context.now().isoformat(),
        "batch": batch,
        "delivery": about.delivery,
        "details": about.details,
        "run_id": context.run_id,
        "step": about.step,
        "who": about.who or ("data-factory" if context.run_id else "function-app"),
    }
    mine: bytes | None = None
    while True:
        text = blobs.read(container, _name(batch)) or b""
        lines = text.splitlines()
        # A line that storage took although its answer was lost is ours as well: it is not written twice.
        found = [line for line in lines if line == mine or (once and _is_about(line, batch, about))]
        if found:
            remember(context, batch)
            return _hash(found[0])
        mine = _canonical({**entry, "number": len(lines) + 1, "previous": _hash(lines[-1]) if lines else None})
        try:
            if not text:
                _create(blob)
            blob.append_block(mine + b"\n", appendpos_condition=len(text))
        except HttpResponseError as error:
            if error.status_code != 412:
                raise
            continue
        remember(context, batch)
        return _hash(mine)


def head(context: Context, batch: BatchId) -> str | None:
    """Return the hash of the feed's last entry."""
    lines = _read(context, batch).splitlines()
    return _hash(lines[-1]) if lines else None


def read_entries(context: Context, batch: BatchId) -> list[Entry]:
    """Return the feed's entries, oldest first, as they stand there: `find_break` judges them."""
    return [Entry(_parse(line), _hash(line)) for line in _read(context, batch).splitlines()]


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


def _read(context: Context, batch: BatchId) -> bytes:
    return blobs.read(context.stores.batches, _name(batch)) or b""


def _create(blob: BlobClient) -> None:
    with suppress(ResourceExistsError, ResourceModifiedError):
        blob.create_append_blob(match_condition=MatchConditions.IfMissing)


def _is_about(line: bytes, batch: BatchId, about: Note) -> bool:
    # Canonical JSON escapes every quote inside a text, so these words can only be the members themselves.
    members = f'"batch":"{batch}","delivery":{about.delivery},', f',"step":"{about.step}",'
    return line.startswith(b"{") and all(member.encode() in line for member in members)


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
