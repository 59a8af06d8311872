"""The ledger of a feed: one line for every step of every batch, each naming the SHA-256 of the line before it. It only grows.

It is an append blob, `<partner>/<feed>/ledger.jsonl`: a line is accepted by storage only at the place that its writer had
read up to, so lines that are written at the same time never fork the chain, and a line is there as a whole or not at all.
A writer reads the newest lines alone, unless it must know that an older one is not there. A line's number says in which blob it
is: an append blob takes 50,000 lines, so every VOLUME_LINES a new one continues the chain (`ledger.2.jsonl`, ...).
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
from datetime import datetime, timedelta
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
)
from azure.storage.blob import BlobClient, ContainerClient

from batches import blobs
from batches.context import Context
from batches.recent import remember
from batches.record import BatchId

VOLUME_LINES: Final = 45_000  # storage refuses the 50,001st of an append blob
TAIL_BYTES: Final = 128 * 1024  # some 400 lines, 50 batches
CLOCKS: Final = timedelta(hours=1)  # two instances differ by less


@dataclass(frozen=True, slots=True)
class Entry:
    """One line as it was read, with its own hash.

    `content` has number, batch, delivery, step, at, who, run_id, details and previous.
    """

    content: dict[str, Any]
    sha256: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a step wants to be on record. `who` is what the caller claims: a function key proves no person.

    `since` is when the batch was planned: there is no line about it from before, so older ones need not be read.
    """

    step: str
    _: KW_ONLY
    since: datetime | None = None
    delivery: int = 1
    who: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


def note(context: Context, batch: BatchId, about: Note, *, once: bool = False) -> str:
    """Append an entry and return its hash. With `once`, only if this delivery of the batch has no entry of that step yet.

    Where nobody is named, a run id means Data Factory and none this app.
    """
    container = context.stores.batches
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
        tail = _read_tail(container, batch)
        lines = tail.lines
        if once and not tail.goes_back_to(about.since):
            lines = _read_all(container, batch)
        # A line that storage took although its answer was lost is ours as well: it is not written twice.
        found = [line for line in lines if line == mine or (once and _is_about(line, batch, about))]
        if found:
            remember(context, batch)
            return _hash(found[0])
        mine = _canonical({**entry, "number": tail.next, "previous": _hash(tail.lines[-1]) if tail.lines else None})
        blob = container.get_blob_client(_name(batch, tail.volume))
        try:
            if not tail.position:
                _create(blob)
            blob.append_block(mine + b"\n", appendpos_condition=tail.position)
        except HttpResponseError as error:
            if error.status_code != 412:
                raise
            continue
        remember(context, batch)
        return _hash(mine)


def head(context: Context, batch: BatchId) -> str | None:
    """Return the hash of the feed's last entry."""
    lines = _read_tail(context.stores.batches, batch).lines
    return _hash(lines[-1]) if lines else None


def read_entries(context: Context, batch: BatchId) -> list[Entry]:
    """Return the feed's entries, oldest first, as they stand there: `find_break` judges them."""
    return [Entry(_parse(line), _hash(line)) for line in _read_all(context.stores.batches, batch)]


def find_break(entries: list[Entry]) -> int | None:
    """Return the number of the first entry that does not continue the chain, or None when it is whole."""
    previous: str | None = None
    for number, entry in enumerate(entries, 1):
        if (entry.content["number"], entry.content["previous"]) != (number, previous):
            return number
        previous = entry.sha256
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tail:
    """The newest lines of a feed, and where the next one goes: its number, its blob and its byte there."""

    lines: list[bytes]
    is_all: bool
    next: int
    volume: int
    position: int

    def goes_back_to(self, since: datetime | None) -> bool:
        """Whether no line from after `since` is older than these; clocks may differ by CLOCKS."""
        if self.is_all:
            return True
        try:
            first = datetime.fromisoformat(_parse(self.lines[0])["at"])
            return since is not None and first + CLOCKS <= since
        except (KeyError, TypeError, ValueError):  # a line that is not an entry says nothing
            return False


def _read_tail(container: ContainerClient, batch: BatchId) -> _Tail:
    lines, size, is_all = _read_newest(container, _name(batch, 1))
    volume = 1
    if _number(lines) >= VOLUME_LINES:
        is_all, volume = False, _newest_volume(container, batch)
        while volume > 1:
            newest, size, _ = _read_newest(container, _name(batch, volume))
            if newest:
                lines = newest
                break
            volume -= 1  # made, and its writer was killed before its first line
    number = len(lines) if is_all else _number(lines)
    if not number and not is_all:  # the last line is not an entry
        lines = _read_all(container, batch)
        number = len(lines)
    of_next = max(volume, number // VOLUME_LINES + 1)
    return _Tail(lines=lines, is_all=is_all, next=number + 1, volume=of_next, position=size if of_next == volume else 0)


def _read_newest(container: ContainerClient, name: str) -> tuple[list[bytes], int, bool]:
    """Return a blob's last whole lines, its size, and whether these are all of its lines."""
    try:
        download = container.download_blob(name, offset=0, length=TAIL_BYTES)
        size = int((download.properties.content_range or "0").rpartition("/")[2])
        if size > TAIL_BYTES:
            # All in one range: what is appended meanwhile belongs to the next look.
            download = container.download_blob(name, offset=size - TAIL_BYTES, length=TAIL_BYTES)
            return download.readall().splitlines()[1:], size, False
        return download.readall().splitlines(), size, True
    except HttpResponseError as error:
        if error.status_code not in (404, 416):  # 416: made, and without a line
            raise
        return [], 0, True


def _read_all(container: ContainerClient, batch: BatchId) -> list[bytes]:
    lines: list[bytes] = []
    volumes = _newest_volume(container, batch)
    for volume in range(1, volumes + 1):
        lines += (blobs.read(container, _name(batch, volume)) or b"").splitlines()
    return lines


def _newest_volume(container: ContainerClient, batch: BatchId) -> int:
    prefix, suffix = _name(batch, 1).removesuffix("jsonl"), ".jsonl"
    found = [
        blob.name.removeprefix(prefix).removesuffix(suffix) for blob in container.list_blobs(name_starts_with=prefix)
    ]
    return max((int(each) for each in found if each.isascii() and each.isdigit()), default=1)


def _name(batch: BatchId, volume: int) -> str:
    return f"{batch.partner}/{batch.feed}/ledger.{'' if volume == 1 else f'{volume}.'}jsonl"


def _number(lines: list[bytes]) -> int:
    """Return the number of the last line, 0 where there is none that is an entry."""
    number = _parse(lines[-1])["number"] if lines else 0
    return number if isinstance(number, int) else 0


def _create(blob: BlobClient) -> None:
    with suppress(ResourceExistsError, ResourceModifiedError):
        blob.create_append_blob(match_condition=MatchConditions.IfMissing)


def _is_about(line: bytes, batch: BatchId, about: Note) -> bool:
    # Canonical JSON escapes every quote inside a text, so these words can only be the members themselves.
    members = f'"batch":"{batch}","delivery":{about.delivery},', f',"step":"{about.step}",'
    return line.startswith(b"{") and all(member.encode() in line for member in members)


def _parse(line: bytes) -> dict[str, Any]:
    """Return a line's members; what is not an entry becomes one that breaks the chain."""
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
