"""Finish sealing: keys.json, the manifest and its signature, in that order, each written once. The signature is the commit mark:
a batch without one never happened. Any call that finds the batch complete may finish it; the first writer of each blob wins.

The signing key signs only what was built here: what another call wrote first must say the same, or nothing is signed.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from batches import blobs, ledger
from batches.context import Context
from batches.errors import ForeignContent
from batches.ledger import Note
from batches.log import log_event
from batches.numbering import read_sequences
from batches.record import BatchId, Record, StagedFile
from encryption import ColumnSum, EncryptionError, Manifest, ManifestFile, SealedFile, keys_json
from partners.figures import as_decimal

KEYS = "keys.json"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
WRITES_AT_ONCE = 16


def is_finished(context: Context, batch: BatchId) -> bool:
    """Return whether the batch is sealed as a whole."""
    return context.stores.encrypted.get_blob_client(f"{batch.folder}/{SIGNATURE}").exists()


def finish(context: Context, record: Record, sealed: Mapping[str, SealedFile]) -> bool:
    """Write keys.json, manifest and signature if every file is sealed; return whether the batch is finished.

    Raises ForeignContent.
    """
    results = [sealed[name] for name in map(record.sealed_name, record.files) if name in sealed]
    if len(results) < len(record.files):
        return False
    for name, result in zip(record.files, results, strict=True):
        if (result.batch, result.name, result.format) != (record.batch, name, record.format):
            raise ForeignContent(f"{record.sealed_name(name)} was not sealed for this batch")
    detached = [result for result in results if result.format == "detached"]
    with ThreadPoolExecutor(WRITES_AT_ONCE) as pool:
        deque(pool.map(lambda one: _write_own(context, record.batch, one.key_name, one.key_file), detached), maxlen=0)
    keys = _write_own(context, record.batch, KEYS, keys_json(record.batch, results))
    written = _write_manifest(context, record, results, hashlib.sha256(keys).hexdigest())
    # Before the signature, which is the commit mark: a batch that is sealed has its entry.
    details = {"files": len(results), "manifest_sha256": hashlib.sha256(written).hexdigest()}
    ledger.note(
        context, record.batch, Note("sealed", since=record.planned_at, who="function-app", details=details), once=True
    )
    signature = context.vault.sign(signing_key(), written)
    name = f"{record.batch.folder}/{SIGNATURE}"
    if blobs.write_once(context.stores.encrypted, name, signature) == signature:  # salted, so it is ours or another's
        log_event("batch.sealed", batch=record.batch, files=len(results), sequence=record.sequence)
    return True


def finish_if_sealed(context: Context, record: Record) -> bool:
    """Finish the batch if all its files are sealed; return whether it is finished."""
    if record.staged is None or len(sealed_names(context, record)) < len(record.files):
        return False
    return finish(context, record, list_sealed(context, record))


def list_sealed(context: Context, record: Record) -> dict[str, SealedFile]:
    """Return what is sealed so far, by sealed name, from the sealed blobs themselves. Raises ForeignContent."""
    wanted = {f"{record.batch.folder}/{record.sealed_name(name)}" for name in record.files}
    found = context.stores.encrypted.list_blobs(name_starts_with=f"{record.batch.folder}/", include=["metadata"])
    return {
        blob.name.rpartition("/")[2]: result_of(blob.name, blob.metadata or {}) for blob in found if blob.name in wanted
    }


def result_of(name: str, metadata: dict[str, str]) -> SealedFile:
    """Return the result of sealing that a sealed blob carries. Raises ForeignContent."""
    try:
        return SealedFile.from_metadata(metadata)
    except EncryptionError:
        raise ForeignContent(
            f"{name.rpartition('/')[2]} in the encrypted container was not written by sealing"
        ) from None


def sealed_names(context: Context, record: Record) -> set[str]:
    """Return which files are sealed so far, by sealed name: names only, since a batch may have 10,000 files."""
    prefix = f"{record.batch.folder}/"
    names = context.stores.encrypted.list_blob_names(name_starts_with=prefix)
    return {record.sealed_name(name) for name in record.files} & {name.removeprefix(prefix) for name in names}


def signing_key() -> str:
    """Return the name of the company's signing key in Key Vault."""
    return os.environ.get("SIGNING_KEY", "sealift-signing")


def previous_manifest(context: Context, record: Record) -> str | None:
    """Return the SHA-256 of the manifest of the feed's batch before this one, when it was sealed."""
    for key, sequence in read_sequences(context, record.batch).items():
        if sequence == record.sequence - 1:
            name = f"{record.batch.partner}/{record.batch.feed}/{key}/{MANIFEST}"
            written = blobs.read(context.stores.encrypted, name)
            return None if written is None else hashlib.sha256(written).hexdigest()
    return None


def _write_manifest(context: Context, record: Record, results: list[SealedFile], keys_sha256: str) -> bytes:
    """Write the manifest, or return the one that is there, when it says the same. Raises ForeignContent."""
    staged = {file.name: file for file in record.staged or []}
    manifest = Manifest(
        batch=record.batch,
        partner=record.batch.partner,
        feed=record.batch.feed,
        sequence=record.sequence,
        window_start=record.window_start,
        window_end=record.window_end,
        created=context.now(),
        files=tuple(
            ManifestFile.of(
                result,
                rows=staged[result.name].rows,
                sums=_sums_of(staged[result.name]) if record.manifest_totals else None,
            )
            for result in results
        ),
        keys_sha256=keys_sha256,
        previous_manifest_sha256=previous_manifest(context, record),
        record_head=ledger.head(context, record.batch),
        signing_key=context.vault.key_id(signing_key()),
    )
    mine = manifest.to_bytes()
    written = blobs.write_once(context.stores.encrypted, f"{record.batch.folder}/{MANIFEST}", mine)
    if written != mine and not _says_the_same(written, manifest):
        raise ForeignContent(f"{MANIFEST} of batch {record.batch} is not the one that was built: it is not signed")
    return written


def _sums_of(file: StagedFile) -> tuple[ColumnSum, ...]:
    """Return a file's sums as its manifest states them: those that the reader counted again while it was sealed."""
    if file.sums is None:
        raise ForeignContent(
            f"{file.name} was not made from the batch's rows, so its sums are not known",
            "plan a correction with the next revision: it is extracted and shaped anew",
        )
    return tuple(ColumnSum(column=name, sum=as_decimal(int(value))) for name, value in sorted(file.sums.items()))


def _says_the_same(written: bytes, manifest: Manifest) -> bool:
    """Compare with a manifest that an earlier attempt wrote: only what depends on the moment may differ."""
    try:
        found = Manifest.from_bytes(written)
    except EncryptionError:
        return False
    return manifest == replace(
        found,
        created=manifest.created,
        record_head=manifest.record_head,
        previous_manifest_sha256=manifest.previous_manifest_sha256,
    )


def _write_own(context: Context, batch: BatchId, name: str, content: bytes) -> bytes:
    """Write a blob whose content is determined by the sealed files. Raises ForeignContent when another's is there."""
    if blobs.write_once(context.stores.encrypted, f"{batch.folder}/{name}", content) != content:
        raise ForeignContent(f"{name} of batch {batch} differs from what sealing writes: the batch is not signed")
    return content
