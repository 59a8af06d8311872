"""Deliver, the `function` route: one queue message a batch; a worker brings the sealed files to the partner's SFTP server.

One worker at a time holds a batch, by a lease on its journal. A message that comes meanwhile is put back for a minute, never
dropped: it may be the holder's own. The journal is written under the lease, so a worker that was thought dead can no longer
write. What the journal knows, `delivery` does not send again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobClient, BlobLeaseClient

from batches import record as records
from batches.accepting import take_over
from batches.confirming import confirm
from batches.context import Context
from batches.deliver_messages import DeliverMessage, ask, parse_deliver_message, queue_delivery
from batches.errors import InvalidRequest, NotDelivered, SealedMissing
from batches.failing import record_failure
from batches.log import log_event, step
from batches.manifest import is_finished
from batches.outgoing import RemoteFile, missing, remote_files
from batches.receipts import read_receipt
from batches.record import BatchId, Record
from batches.sealing import drop_message
from batches.stores import BLOCK_BYTES, Stores
from batches.transfer import read_range
from delivery import DeliveryError, deliver
from delivery.progress import Record as Progress
from fault import Fault

# Shorter than host.json's visibilityTimeout: when a dead worker's message comes back, its lease has ended, so each try of a
# message that kills its worker counts, and the fifth is the last. The shortest that storage grants is 15.
LEASE_SECONDS = 20
PUT_BACK_SECONDS = 60
READS_AT_ONCE = 16


def request_delivery(context: Context, batch: BatchId) -> Record:
    """Queue the delivery of a sealed batch. Asking again is harmless.

    Raises UnknownBatch, NotDelivered, InvalidRequest, SealedMissing.
    """
    record = records.read(context.stores.batches, batch)
    if read_receipt(context, record) is not None:
        return record
    if record.route != "function":
        raise InvalidRequest(
            f"batch {batch} takes the route {record.route!r}", "run the pipeline deliver_batch for its window"
        )
    if not is_finished(context, batch):
        raise NotDelivered(f"batch {batch} is not sealed", "seal it first: POST /api/batches/{id}/seal")
    remote_files(context, record)
    record = records.update(
        context.stores.batches, batch, lambda current: ask(take_over(context, records.resume(current)))
    )
    queue_delivery(context, record)
    return record


def deliver_batch(context: Context, body: str) -> None:
    """Work one queue message: send, verify, write the receipt, purge. A vault that does not answer is raised for the queue.

    The clock is read when something happened: a delivery may take hours, and its receipt says when it arrived.

    `delivery` has its own patience with the partner's server; what it gives up is recorded as the batch's failure.
    """
    message = parse_deliver_message(body)
    context = context.for_run(message.run_id)
    record = records.read(context.stores.batches, message.batch)
    if message.delivery != record.delivery:
        log_event("delivery.stale", batch=message.batch, delivery=message.delivery, run_id=message.run_id)
        return
    if message.put_back and record.failure:  # the worker that held the batch gave it up: another try must be asked for
        log_event("delivery.given_up", batch=message.batch, run_id=message.run_id)
        return
    with (
        step("deliver batch", traceparent=message.traceparent, run_id=message.run_id, batch=message.batch),
        _held(_journal_blob(context.stores, record)) as lease,
    ):
        if lease is None:
            _put_back(context, message)
            return
        try:
            if read_receipt(context, record) is None:
                _send(context, record, lease)
            else:  # a worker that died after the receipt has left to its message what comes next: ledger and purge
                confirm(context, record, expected=(), arrived={})
        except Fault as error:
            if error.transient and not isinstance(error, DeliveryError):
                raise
            record_failure(context, message.batch, step="deliver", cause=error.message, hint=error.hint)


def give_up_delivery(context: Context, body: str) -> None:
    """Record that a delivery was given up after every retry, unless a later one is asked for already. Raises UnknownBatch."""
    try:
        message = parse_deliver_message(body)
    except InvalidRequest as error:
        drop_message(context, body, error, step="deliver")
        return
    if message.delivery != records.read(context.stores.batches, message.batch).delivery:
        log_event("delivery.stale", batch=message.batch, delivery=message.delivery, run_id=message.run_id)
        return
    record_failure(
        context.for_run(message.run_id),
        message.batch,
        step="deliver",
        cause="delivering failed after every retry",
        hint="see the app's log for this batch; when the cause is fixed, run deliver_batch again for the window",
    )


def _put_back(context: Context, message: DeliverMessage) -> None:
    again = message.model_copy(update={"put_back": True})
    context.stores.deliver_queue.send_message(again.model_dump_json(), visibility_timeout=PUT_BACK_SECONDS)
    log_event("delivery.held", batch=message.batch, run_id=message.run_id)


def _send(context: Context, record: Record, lease: BlobLeaseClient) -> None:
    expected = remote_files(context, record)
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        files = list(pool.map(lambda file: _Sealed(context.stores, file), expected))
    partner = context.partner(record.batch.partner)
    outcomes = deliver(
        files[:-1],
        files[-1:],
        settings=partner.sftp.connection(context.vault.secret),
        policy=replace(partner.delivery, folder=record.folder),
        journal=_BlobJournal(_journal_blob(context.stores, record), lease),
    )
    for outcome in outcomes:
        log_event(
            "file.delivered",
            batch=record.batch,
            file=outcome.name,
            state=outcome.state,
            verified=outcome.verified,
            sealed_bytes=outcome.bytes,
            seconds=round(outcome.seconds, 3),
            run_id=context.run_id,
        )
    confirm(context, record, expected, {outcome.name: outcome.bytes for outcome in outcomes})


class _Sealed:
    """A sealed blob as `delivery` reads it: ranges of one version, under the name that it has at the partner."""

    range_bytes = BLOCK_BYTES

    def __init__(self, stores: Stores, file: RemoteFile) -> None:
        """Take what the listing and the manifest say; only what neither gives a hash for is read. Raises SealedMissing."""
        self._blob = stores.encrypted.get_blob_client(f"{file.folder}/{file.name}")
        self._etag = file.etag
        self.name = file.to
        self.size = file.bytes
        # Without a hash on record a file under the same name and size would count as there.
        self.sha256 = (file.is_recorded and file.sha256) or self._hash(file)

    def read(self, offset: int, length: int) -> bytes:
        """Return a range of the blob, of the version that was there at the start."""
        return read_range(self._blob, offset, length, self._etag)

    def _hash(self, file: RemoteFile) -> str:
        """Return the hash of a file that is small: keys, manifest and signature. Raises SealedMissing."""
        try:
            found = hashlib.sha256(self.read(0, self.size)).hexdigest()
        except ResourceNotFoundError:
            raise missing(file) from None
        except ResourceModifiedError:
            raise _other(file) from None
        if file.sha256 and found != file.sha256:
            raise _other(file)
        return found


def _other(file: RemoteFile) -> SealedMissing:
    return missing(file, "is not the one that the manifest names")


class _BlobJournal:
    """What is known about files under way, as one blob that only the holder of the lease writes."""

    def __init__(self, blob: BlobClient, lease: BlobLeaseClient) -> None:
        self._blob = blob
        self._lease = lease
        self._lock = threading.Lock()
        text = blob.download_blob().readall()
        self._records: dict[str, dict[str, Any]] = json.loads(text) if text else {}

    def recall(self, name: str) -> Progress | None:
        """Return what an earlier attempt knew about a file."""
        known = self._records.get(name)
        return Progress.from_json(known) if known else None

    def keep(self, records: dict[str, Progress]) -> None:
        """Write what is known now, all files in one write."""
        with self._lock:
            self._records |= {name: progress.to_json() for name, progress in records.items()}
            self._blob.upload_blob(json.dumps(self._records).encode(), overwrite=True, lease=self._lease)


def _journal_blob(stores: Stores, record: Record) -> BlobClient:
    return stores.batches.get_blob_client(record.of_delivery("delivery"))


@contextmanager
def _held(blob: BlobClient) -> Iterator[BlobLeaseClient | None]:
    """Hold a blob by a lease that is renewed until the end; None where another holds it."""
    try:
        blob.upload_blob(b"", match_condition=MatchConditions.IfMissing)
    except (ResourceExistsError, ResourceModifiedError):
        pass
    except HttpResponseError as error:  # a leased blob answers so
        if error.status_code != 412:
            raise
    try:
        lease = blob.acquire_lease(LEASE_SECONDS)
    except ResourceExistsError:
        yield None
        return
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(LEASE_SECONDS / 3):
            with suppress(AzureError):  # lost, or storage is away: if it stays so, the next write of the journal fails
                lease.renew()

    renewer = threading.Thread(target=renew, name="lease", daemon=True)
    renewer.start()
    try:
        yield lease
    finally:
        ended.set()
        renewer.join()
        with suppress(HttpResponseError):  # lost or expired: nobody is kept waiting
            lease.release()
