"""What leaves: exactly what the signed manifest names, and before the first byte leaves, all of it is there.

A listing only shows whether a blob is there; what is sent is never taken from it.
"""

from __future__ import annotations

from batches import blobs
from batches.context import Context
from batches.errors import SealedMissing, Unreadable
from batches.manifest import KEYS, MANIFEST, SIGNATURE, result_of
from batches.record import Record, Stored, refuse_superseded
from batches.transfer import quoted
from encryption import EncryptionError, Manifest


class RemoteFile(Stored):
    """A blob of the encrypted container and its name at the partner; `sha256` where the manifest states it.

    `etag` is of the version that was looked at. `is_recorded`: its metadata carry the hash too, from the commit of its bytes.
    """

    folder: str
    name: str
    to: str
    bytes: int
    sha256: str | None = None
    etag: str
    is_recorded: bool = False


def remote_files(context: Context, record: Record) -> list[RemoteFile]:
    """Return what the partner receives, in order, the manifest last. Raises SealedMissing, Superseded.

    A partner that wants no side files receives the sealed files alone; all the same everything must be there.
    Sealed files keep their name; the batch's own files carry the batch id, since one inbox holds many batches.
    """
    refuse_superseded(record)
    manifest = read_manifest(context, record)
    prefix = f"{record.batch.folder}/"
    listed = context.stores.encrypted.list_blobs(name_starts_with=prefix, include=["metadata"])
    there = {blob.name.removeprefix(prefix): blob for blob in listed}
    hashes: dict[str, str | None] = {}
    sealed = {file.sealed_name for file in manifest.files}
    for file in manifest.files:
        blob = there.get(file.sealed_name)
        if blob is None:
            raise _missing(file.sealed_name, record.batch.folder)
        result = result_of(blob.name, blob.metadata or {})
        if (blob.size, result.sealed_sha256) != (file.sealed_bytes, file.sealed_sha256):
            raise _missing(file.sealed_name, record.batch.folder, "is not the one that the manifest names")
        hashes[file.sealed_name] = file.sealed_sha256
        if file.detached:
            hashes[file.detached.key_name] = file.detached.key_sha256
    hashes = dict(sorted(hashes.items())) | {KEYS: manifest.keys_sha256, SIGNATURE: None, MANIFEST: None}
    for name in hashes:
        if name not in there:
            raise _missing(name, record.batch.folder)
    own = {KEYS, SIGNATURE, MANIFEST}
    return [
        RemoteFile(
            folder=record.batch.folder,
            name=name,
            to=f"{record.batch}.{name}" if name in own else name,
            bytes=there[name].size,
            sha256=sha256,
            etag=quoted(there[name].etag),
            is_recorded=name in sealed,
        )
        for name, sha256 in hashes.items()
        if record.side_files == "all" or name not in own
    ]


def read_manifest(context: Context, record: Record) -> Manifest:
    """Return the batch's manifest as it is in the encrypted container. Raises SealedMissing, Unreadable."""
    name = f"{record.batch.folder}/{MANIFEST}"
    written = blobs.read(context.stores.encrypted, name)
    if written is None:
        raise _missing(MANIFEST, record.batch.folder)
    try:
        manifest = Manifest.from_bytes(written)
    except EncryptionError:
        raise Unreadable(f"encrypted/{name}") from None
    if manifest.batch != record.batch:
        raise _missing(MANIFEST, record.batch.folder, "is that of another batch")
    return manifest


def missing(file: RemoteFile, found: str = "is sealed but no longer in the encrypted container") -> SealedMissing:
    """Return the error about a file that was to leave."""
    return _missing(file.name, file.folder, found)


def _missing(
    name: str, folder: str, found: str = "is sealed but no longer in the encrypted container"
) -> SealedMissing:
    return SealedMissing(
        f"{name} of batch {folder.replace('/', '.')} {found}",
        "restore the blob's version in the storage account, or plan a correction with the next revision",
    )
