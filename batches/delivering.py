"""Deliver, the `function` route: one queue message a batch; a worker brings the sealed files to the partner's SFTP server.

One worker at a time holds a batch, by a lease on its journal. A message that comes meanwhile is put back for a minute, never
dropped: it may be the holder's own. The journal is written under the lease, so a worker that was thought dead can no longer
write. What the journal knows, `delivery` does not send again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceModifiedError
from azure.storage.blob import BlobClient, BlobLeaseClient
from pydantic import BaseModel, ConfigDict, ValidationError

from batches import record as records
from batches.confirming import confirm
from batches.errors import InvalidRequest, NotDelivered
from batches.failing import record_failure
from batches.log import current_traceparent, log_event, step
from batches.manifest import is_finished
from batches.receipts import read_receipt
from batches.record import BatchId, Record
from batches.status import remote_files
from batches.stores import BLOCK_BYTES, Stores
from batches.transfer import read_range
from delivery import DeliveryError, deliver
from delivery.progress import Record as Progress
from encryption import RESULT_KEY, SealedFile
from encryption.vault import Vault
from fault import Fault
from partners import Partner, load_partner

MESSAGE_VERSION = 1

# Shorter than host.json's visibilityTimeout: when a dead worker's message comes back, its lease has ended, so each try of a
# message that kills its worker counts, and the fifth is the last. The shortest that storage grants is 15.
LEASE_SECONDS = 20
PUT_BACK_SECONDS = 60


class DeliverMessage(BaseModel):
    """One delivery to make, by its number: a message that a re-send has overtaken is dropped.

    `put_back`: it has found another worker at the batch before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    batch: str
    delivery: int
    run_id: str | None = None
    traceparent: str | None = None
    put_back: bool = False


def request_delivery(stores: Stores, batch: BatchId, *, run_id: str | None, now: datetime) -> Record:
    """Queue the delivery of a sealed batch. Asking again is harmless. Raises UnknownBatch, NotDelivered, InvalidRequest."""
    record = records.read(stores.batches, batch)
    if read_receipt(stores, record) is not None:
        return record
    if record.route != "function":
        raise InvalidRequest(
            f"batch {batch} takes the route {record.route!r}", "run the pipeline deliver_batch for its window"
        )
    if not is_finished(stores, batch):
        raise NotDelivered(f"batch {batch} is not sealed", "seal it first: POST /api/batches/{id}/seal")
    record = records.update(
        stores.batches,
        batch,
        lambda current: records.resume(current).model_copy(update={"delivering": current.delivery}),
    )
    message = DeliverMessage(
        version=MESSAGE_VERSION,
        batch=str(batch),
        delivery=record.delivery,
        run_id=run_id,
        traceparent=current_traceparent(),
    )
    stores.deliver_queue.send_message(message.model_dump_json())
    log_event("delivery.requested", batch=str(batch), delivery=record.delivery, run_id=run_id, at=now)
    return record


def deliver_batch(
    stores: Stores,
    vault: Vault,
    body: str,
    *,
    clock: Callable[[], datetime],
    sftp: Mapping[str, Mapping[str, object]],
) -> None:
    """Work one queue message: send, verify, write the receipt, purge. A vault that does not answer is raised for the queue.

    `clock` is read when something happened: a delivery may take hours, and its receipt says when it arrived.

    `delivery` has its own patience with the partner's server; what it gives up is recorded as the batch's failure.
    """
    message = parse_deliver_message(body)
    batch = BatchId.parse(message.batch)
    record = records.read(stores.batches, batch)
    if message.delivery != record.delivery:
        log_event("delivery.stale", batch=message.batch, delivery=message.delivery, run_id=message.run_id)
        return
    if message.put_back and record.failure:  # whoever held the batch gave it up: another try is for somebody to ask for
        log_event("delivery.given_up", batch=message.batch, run_id=message.run_id)
        return
    with (
        step("deliver batch", traceparent=message.traceparent, run_id=message.run_id, batch=message.batch),
        _held(_journal_blob(stores, record)) as lease,
    ):
        if lease is None:
            again = message.model_copy(update={"put_back": True})
            stores.deliver_queue.send_message(again.model_dump_json(), visibility_timeout=PUT_BACK_SECONDS)
            log_event("delivery.held", batch=message.batch, run_id=message.run_id)
            return
        try:
            if read_receipt(stores, record) is None:
                _send(stores, vault, record, load_partner(batch.partner, sftp), lease, message.run_id, clock)
            else:  # a worker that died after the receipt has left to its message what comes next: ledger and purge
                confirm(stores, record, expected=(), arrived={}, run_id=message.run_id, now=clock())
        except Fault as error:
            if error.transient and not isinstance(error, DeliveryError):
                raise
            cause, hint = str(error), error.hint
            record_failure(stores, batch, step="deliver", cause=cause, hint=hint, run_id=message.run_id, now=clock())


def fail_delivery(stores: Stores, message: DeliverMessage, *, cause: str, hint: str, now: datetime) -> None:
    """Record that a delivery was given up after every retry, unless a later one is asked for already."""
    batch = BatchId.parse(message.batch)
    if message.delivery != records.read(stores.batches, batch).delivery:
        log_event("delivery.stale", batch=message.batch, delivery=message.delivery, run_id=message.run_id)
        return
    record_failure(stores, batch, step="deliver", cause=cause, hint=hint, run_id=message.run_id, now=now)


def parse_deliver_message(body: str) -> DeliverMessage:
    """Read one queue message. Raises InvalidRequest."""
    try:
        message = DeliverMessage.model_validate_json(body)
    except ValidationError:
        raise InvalidRequest(
            "the queue message is not a deliver message", "only POST /api/batches/{id}/deliver writes them"
        ) from None
    if message.version != MESSAGE_VERSION:
        raise InvalidRequest(
            f"the queue message has version {message.version}, this app knows {MESSAGE_VERSION}",
            "let the app that wrote it finish, or ask for delivery again: POST /api/batches/{id}/deliver",
        )
    return message


def _send(
    stores: Stores,
    vault: Vault,
    record: Record,
    partner: Partner,
    lease: BlobLeaseClient,
    run_id: str | None,
    clock: Callable[[], datetime],
) -> None:
    expected = remote_files(stores, record)
    *files, manifest = [_Sealed(stores, file) for file in expected]
    outcomes = deliver(
        files,
        [manifest],
        settings=partner.sftp.connection(vault.secret),
        policy=replace(partner.delivery, folder=record.folder),
        journal=_BlobJournal(_journal_blob(stores, record), lease),
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
            run_id=run_id,
        )
    arrived = {outcome.name: outcome.bytes for outcome in outcomes}
    confirm(stores, record, expected=expected, arrived=arrived, run_id=run_id, now=clock())


class _Sealed:
    """A sealed blob as `delivery` reads it: ranges of one version, under the name that it has at the partner."""

    range_bytes = BLOCK_BYTES

    def __init__(self, stores: Stores, file: Mapping[str, Any]) -> None:
        self._blob = stores.encrypted.get_blob_client(f"{file['folder']}/{file['name']}")
        properties = self._blob.get_blob_properties()
        self._etag = properties.etag
        self.name: str = file["to"]
        self.size: int = properties.size
        # Without a hash on record a file under the same name and size would count as there.
        self.sha256 = self._recorded_hash(properties.metadata or {})

    def read(self, offset: int, length: int) -> bytes:
        """Return a range of the blob, of the version that was there at the start."""
        return read_range(self._blob, offset, length, self._etag)

    def _recorded_hash(self, metadata: Mapping[str, str]) -> str:
        """Return the hash that sealing recorded; keys.json, manifest and signature are small and hashed here."""
        if RESULT_KEY in metadata:
            return SealedFile.from_metadata(dict(metadata)).sealed_sha256
        return hashlib.sha256(self.read(0, self.size)).hexdigest()


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
    name = "delivery.json" if record.delivery == 1 else f"delivery.{record.delivery}.json"
    return stores.batches.get_blob_client(f"{record.id.folder}/{name}")


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
