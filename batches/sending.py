"""Sending, the route `adf`: which run of Data Factory may send a batch, and which of its files our record says were sent.

One run at a time holds a delivery, by a claim that each of its calls renews. The claim ends with the receipt, with the run's
failure, with an operator's replay, or when its run has been silent for too long. What one Copy is to send is a list in the
encrypted container, written before it begins; that it was completed is a fact of its own, written once for each delivery: no
later run sends those files again, whatever the partner did with them meanwhile.

Keeps claims and facts; what they mean for the next Copy is in `copying`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
from pydantic import AwareDatetime

from batches import blobs
from batches.context import Context
from batches.errors import InvalidRequest, WorkedOn
from batches.record import Record, Stored, Work

LIST_NAME = re.compile(r"[1-9]\d{0,5}\.[0-9a-f]{16}\.txt", re.ASCII)


class Claim(Stored):
    """sending.json: the run that sends, since when, and its last sign of life."""

    run_id: str
    since: AwareDatetime
    seen: AwareDatetime


class Sent(Stored):
    """sent/<delivery>/lists/<list>.json with the files of one Copy, or sent/<delivery>/<file>.json: written once."""

    run_id: str | None
    at: AwareDatetime
    bytes: int = 0
    files: tuple[str, ...] = ()


def claim(context: Context, record: Record) -> Claim:
    """Take or renew the claim on the delivery for the caller's run; return it, or the claim of the run that holds it."""
    assert context.run_id, "only a run can hold a delivery"
    mine, now = context.run_id, context.now()
    held: list[Claim] = []

    def take(content: bytes | None) -> bytes:
        current = blobs.parse(content, _name(record), Claim) if content else None
        if current and current.run_id != mine and not _is_silent(context, current.seen):
            held[:] = [current]
        elif current and current.run_id == mine:
            held[:] = [current.model_copy(update={"seen": now})]
        else:
            held[:] = [Claim(run_id=mine, since=now, seen=now)]
        return held[0].model_dump_json().encode()

    blobs.update(context.stores.batches, _name(record), take)
    return held[0]


def sender(context: Context, record: Record) -> Claim | None:
    """Return the claim of the run that sends now, if one does. Raises Unreadable."""
    found = blobs.read_model(context.stores.batches, _name(record), Claim)
    return None if found is None or _is_silent(context, found.seen) else found


def worker(context: Context, record: Record) -> Work | None:
    """Return the run that works on the batch and has not failed, if one is known. Raises Unreadable."""
    if record.route == "adf" and (sending := sender(context, record)):
        return Work(run_id=sending.run_id, since=sending.since)
    work = record.worked_by
    return None if work is None or record.failure or _is_silent(context, work.since) else work


def release(context: Context, record: Record) -> None:
    """End the claim on the delivery, whichever run holds it."""
    with suppress(ResourceNotFoundError):
        context.stores.batches.delete_blob(_name(record))


def release_own(context: Context, record: Record) -> None:
    """End the claim on the delivery if the caller's run holds it."""
    blob = context.stores.batches.get_blob_client(_name(record))
    with suppress(ResourceNotFoundError, ResourceModifiedError):
        download = blob.download_blob()
        found = blobs.parse(download.readall(), _name(record), Claim)
        if found.run_id == context.run_id:
            blob.delete_blob(etag=download.properties.etag, match_condition=MatchConditions.IfNotModified)


def hold(context: Context, record: Record) -> None:
    """Renew the claim of the caller's run. Raises WorkedOn for a run that does not hold the delivery."""
    mine = context.run_id
    if mine is None:
        raise WorkedOn(f"batch {record.batch} can be sent only by a run", "give the run's id as runId")
    current = sender(context, record)
    if current is None:
        raise WorkedOn(
            f"run {mine} does not hold batch {record.batch}: it was silent for too long, or an operator replayed the batch",
            "run deliver_batch again for the window: what was sent is not sent again",
        )
    holder = claim(context, record) if current.run_id == mine else current
    if holder.run_id != mine:
        raise worked_on(record, holder)


def write_list(context: Context, record: Record, names: Sequence[str]) -> str:
    """Write which files one Copy sends, and so that it was begun; return the list's name.

    The name depends on the content alone, and is never used for another: asking again is harmless.
    """
    content = "".join(f"{name}\n" for name in names).encode()
    name = f"{record.delivery}.{hashlib.sha256(content).hexdigest()[:16]}.txt"
    blobs.write_once(context.stores.encrypted, f"{_lists(record)}{name}", content)
    return name


def read_list(context: Context, record: Record, name: str) -> list[str]:
    """Return the files that a Copy was to send. Raises InvalidRequest for a list that was never written."""
    content = blobs.read(context.stores.encrypted, f"{_lists(record)}{name}") if LIST_NAME.fullmatch(name) else None
    if content is None:
        raise InvalidRequest(f"batch {record.batch} has no list {name!r}", "send the name that `sending` answered")
    return content.decode().split()


def begun_files(context: Context, record: Record) -> set[str]:
    """Return the names of the files for which an attempt of ours is on record, in any delivery."""
    old = f"{record.batch.folder}/sent/begun/"  # as versions before 0.4 wrote it, file by file
    names = context.stores.batches.list_blob_names(name_starts_with=old)
    begun = {name.removeprefix(old).removesuffix(".json") for name in names}
    for name in context.stores.encrypted.list_blob_names(name_starts_with=_lists(record)):
        begun.update(read_list(context, record, name.rpartition("/")[2]))
    return begun


def note_list(context: Context, record: Record, name: str) -> None:
    """Record that the Copy of a list was completed, once for each delivery."""
    fact = Sent(run_id=context.run_id, at=context.now(), files=tuple(read_list(context, record, name)))
    blobs.write_once(context.stores.batches, f"{_sent(record)}lists/{name}.json", fact.model_dump_json().encode())


def note_file(context: Context, record: Record, file: str, *, sealed_bytes: int) -> None:
    """Record that a file of an attempt that was cut off is whole at the partner."""
    fact = Sent(bytes=sealed_bytes, run_id=context.run_id, at=context.now())
    blobs.write_once(context.stores.batches, f"{_sent(record)}{file}.json", fact.model_dump_json().encode())


def sent_files(context: Context, record: Record) -> set[str]:
    """Return the names of the files that were sent in the delivery that is due. Raises Unreadable."""
    prefix, sent = _sent(record), set[str]()
    for name in context.stores.batches.list_blob_names(name_starts_with=prefix):
        fact = name.removeprefix(prefix)
        if fact.startswith("lists/"):
            found = blobs.read_model(context.stores.batches, name, Sent)
            sent.update(found.files if found else ())
        else:
            sent.add(fact.removesuffix(".json"))
    return sent


def refuse_others(context: Context, record: Record) -> None:
    """Raise WorkedOn when another run than the caller's holds the delivery."""
    holder = sender(context, record)
    if holder and holder.run_id != context.run_id:
        raise worked_on(record, holder)


def worked_on(record: Record, holder: Claim) -> WorkedOn:
    """Return the error about a batch that another run holds."""
    return WorkedOn(
        f"batch {record.batch} is being worked on by run {holder.run_id} since {holder.since.isoformat(timespec='seconds')}",
        f"wait for that run; if it was cancelled, run ./sealift batch replay {record.batch} --from deliver",
    )


def _is_silent(context: Context, since: datetime) -> bool:
    return context.now() - since > context.claim_expires


def _name(record: Record) -> str:
    return record.of_delivery("sending")


def _sent(record: Record) -> str:
    return f"{record.batch.folder}/sent/{record.delivery}/"


def _lists(record: Record) -> str:
    """Return where the lists are: beside the sealed files, where Data Factory's Copy can read them."""
    return f"{record.batch.folder}/send/"
