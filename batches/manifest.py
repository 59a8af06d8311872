"""Finish sealing: keys.json, the manifest and its signature, in that order, each written once. The signature is the commit mark:
a batch without one never happened. Whoever finds the batch complete may finish it; the first writer of each blob wins.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import datetime

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from batches import ledger
from batches.log import log_event
from batches.planning import read_sequences
from batches.record import BatchId, Record
from batches.stores import Stores
from encryption import Manifest, ManifestFile, SealedFile, keys_json
from encryption.vault import Vault

KEYS = "keys.json"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"


def is_finished(stores: Stores, batch: BatchId) -> bool:
    """Tell whether the batch is sealed as a whole."""
    return stores.encrypted.get_blob_client(f"{batch.folder}/{SIGNATURE}").exists()


def finish(stores: Stores, vault: Vault, record: Record, sealed: Mapping[str, SealedFile], now: datetime) -> bool:
    """Write keys.json, manifest and signature if every file is sealed; return whether the batch is finished."""
    results = [sealed[name] for name in map(record.sealed_name, record.files) if name in sealed]
    if len(results) < len(record.files):
        return False
    batch = record.id
    for result in results:
        if result.format == "detached":
            _write_once(stores, batch, result.key_name, result.key_file)
    keys = _write_once(stores, batch, KEYS, keys_json(record.batch, results))
    manifest = Manifest(
        batch=record.batch,
        partner=batch.partner,
        feed=batch.feed,
        sequence=record.sequence,
        window_start=record.window_start,
        window_end=record.window_end,
        created=now,
        files=tuple(_manifest_file(record, result) for result in results),
        keys_sha256=hashlib.sha256(keys).hexdigest(),
        previous_manifest_sha256=previous_manifest(stores, record),
        record_head=ledger.head(stores.batches, batch),
        signing_key=vault.key_id(signing_key()),
    )
    written = _write_once(stores, batch, MANIFEST, manifest.to_bytes())
    # Before the signature, which is the commit mark: a batch that is sealed has its entry.
    ledger.note(
        stores.batches,
        batch,
        "sealed",
        now=now,
        run_id=None,
        once=True,
        files=len(results),
        manifest_sha256=hashlib.sha256(written).hexdigest(),
    )
    _write_once(stores, batch, SIGNATURE, vault.sign(signing_key(), written))
    log_event("batch.sealed", batch=record.batch, files=len(results), sequence=record.sequence)
    return True


def finish_if_sealed(stores: Stores, vault: Vault, record: Record, now: datetime) -> bool:
    """Finish the batch if all its files are sealed; tell whether it is finished."""
    if record.staged is None or len(sealed_names(stores, record)) < len(record.files):
        return False
    return finish(stores, vault, record, list_sealed(stores, record), now)


def list_sealed(stores: Stores, record: Record) -> dict[str, SealedFile]:
    """Return what is sealed so far, by sealed name, from the sealed blobs themselves."""
    wanted = {f"{record.id.folder}/{record.sealed_name(name)}" for name in record.files}
    blobs = stores.encrypted.list_blobs(name_starts_with=f"{record.id.folder}/", include=["metadata"])
    return {
        blob.name.rpartition("/")[2]: SealedFile.from_metadata(blob.metadata or {})
        for blob in blobs
        if blob.name in wanted
    }


def sealed_names(stores: Stores, record: Record) -> set[str]:
    """Return which files are sealed so far, by sealed name: names only, since a batch may have 10,000 files."""
    prefix = f"{record.id.folder}/"
    names = stores.encrypted.list_blob_names(name_starts_with=prefix)
    return {record.sealed_name(name) for name in record.files} & {name.removeprefix(prefix) for name in names}


def signing_key() -> str:
    """Return the name of the company's signing key in Key Vault."""
    return os.environ.get("SIGNING_KEY", "sealift-signing")


def _manifest_file(record: Record, result: SealedFile) -> ManifestFile:
    rows = next((file.rows for file in record.staged or [] if file.name == result.name), None)
    return ManifestFile.of(result, rows=rows)


def previous_manifest(stores: Stores, record: Record) -> str | None:
    """Return the SHA-256 of the manifest of the feed's batch before this one, when it was sealed."""
    for key, sequence in read_sequences(stores, record.id).items():
        if sequence == record.sequence - 1:
            name = f"{record.id.partner}/{record.id.feed}/{key}/{MANIFEST}"
            try:
                return hashlib.sha256(stores.encrypted.download_blob(name).readall()).hexdigest()
            except ResourceNotFoundError:
                return None
    return None


def _write_once(stores: Stores, batch: BatchId, name: str, data: bytes) -> bytes:
    """Write a blob, or return what another call wrote first."""
    blob = stores.encrypted.get_blob_client(f"{batch.folder}/{name}")
    try:
        blob.upload_blob(data, match_condition=MatchConditions.IfMissing)
    except (ResourceExistsError, ResourceModifiedError):
        return blob.download_blob().readall()
    return data
