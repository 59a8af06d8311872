"""Verify: what storage holds of a batch is held against its manifest, the manifest against its signature, and all of it
against the ledger. Reads only; a fault is a line of the answer, not an error.

Does not decrypt: only the partner can. The bytes of a file are read by `verify_file`, one file a call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from batches import blobs, ledger
from batches import record as records
from batches.context import Context
from batches.errors import InvalidRequest, NotRepeatable, Unreadable
from batches.ledger import Entry
from batches.manifest import KEYS, MANIFEST, SIGNATURE, previous_manifest, signing_key
from batches.receipts import read_receipt
from batches.record import BatchId, Record
from batches.transfer import read_blob
from encryption import EncryptionError, Manifest, SealedFile, read_keys_json, verify_signature
from encryption.vault import Vault

# One call must end within the platform's 230 seconds; a file that is larger is hashed where more time is.
FILE_LIMIT_BYTES = 8 * 1024**3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `found` says what is wrong, or how much was right."""

    what: str
    ok: bool
    found: str


def verify(context: Context, batch: BatchId) -> dict[str, Any]:
    """Return `{"batch", "ok", "checks", "files"}`; `files` are the sealed names to verify one by one. Raises UnknownBatch."""
    record = records.read(context.stores.batches, batch)
    entries = ledger.read_entries(context, batch)
    data = {name: _read(context, batch, name) for name in (MANIFEST, SIGNATURE, KEYS)}
    checks = [_check_chain(entries)]
    files: list[str] = []
    if missing := [name for name, content in data.items() if content is None]:
        checks.append(Check("sealed", False, f"there is no {', '.join(missing)}: the batch is not sealed"))
    else:
        written, signature, keys = (data[name] or b"" for name in (MANIFEST, SIGNATURE, KEYS))
        checks.append(_check_signature(context.vault, written, signature))
        if checks[-1].ok:
            manifest = Manifest.from_bytes(written)
            files = [file.sealed_name for file in manifest.files]
            checks += [
                _check_plan(record, manifest),
                _check_keys(keys, manifest),
                _check_files(context, record, manifest),
                _check_before(context, record, manifest),
                _check_head(entries, record, manifest, hashlib.sha256(written).hexdigest()),
            ]
    checks += _check_deliveries(context, record, entries)
    return {
        "batch": record.batch,
        "ok": all(check.ok for check in checks),
        "checks": [asdict(check) for check in checks],
        "files": files,
    }


def verify_file(context: Context, batch: BatchId, sealed_name: str) -> dict[str, Any]:
    """Read one sealed file and compare its SHA-256 with the manifest's. Raises UnknownBatch, InvalidRequest, NotRepeatable."""
    record = records.read(context.stores.batches, batch)
    written = _read(context, batch, MANIFEST)
    if written is None:
        raise NotRepeatable(f"batch {record.batch} has no manifest", "seal it first")
    try:
        listed = {file.sealed_name: file for file in Manifest.from_bytes(written).files}
    except EncryptionError:
        raise Unreadable(f"encrypted/{batch.folder}/{MANIFEST}") from None
    if sealed_name not in listed:
        raise InvalidRequest("the manifest names no such file", f"its files are: {', '.join(list(listed)[:5])}")
    blob = context.stores.encrypted.get_blob_client(f"{batch.folder}/{sealed_name}")
    if not blob.exists():
        return _file_answer(record, Check(sealed_name, False, "is gone from the encrypted container"))
    properties = blob.get_blob_properties()
    if properties.size > FILE_LIMIT_BYTES:
        return _file_answer(record, Check(sealed_name, False, f"not read: larger than {FILE_LIMIT_BYTES} bytes"))
    sha256 = hashlib.sha256()
    for piece in read_blob(blob, properties.size, properties.etag):
        sha256.update(piece)
    same = sha256.hexdigest() == listed[sealed_name].sealed_sha256
    if (detached := listed[sealed_name].detached) is not None:
        same = (
            same and hashlib.sha256(_read(context, batch, detached.key_name) or b"").hexdigest() == detached.key_sha256
        )
    found = f"{properties.size} bytes read, SHA-256 {'is' if same else 'is not'} the manifest's"
    return _file_answer(record, Check(sealed_name, same, found))


def _file_answer(record: Record, check: Check) -> dict[str, Any]:
    return {"batch": record.batch, "ok": check.ok, "checks": [asdict(check)], "files": [check.what]}


def _check_chain(entries: list[Entry]) -> Check:
    broken = ledger.find_break(entries)
    found = f"{len(entries)} entries, each names the one before" if broken is None else f"it breaks at entry {broken}"
    return Check("ledger chain", broken is None, found)


def _check_signature(vault: Vault, written: bytes, signature: bytes) -> Check:
    """With the key that the manifest names, if it is one of ours: keys are rotated, and old batches stay provable."""
    name, version = signing_key(), None
    try:
        named = Manifest.from_bytes(written).signing_key
        if named.startswith(f"{vault.url}/keys/"):
            name, _, version = named.removeprefix(f"{vault.url}/keys/").partition("/")
        public_key = load_pem_public_key(vault.public_key_pem(name, version or None))
        assert isinstance(public_key, RSAPublicKey), "the vault refuses any other key"
        verify_signature(written, signature, public_key)
    except EncryptionError as error:
        return Check("signature", False, str(error))
    return Check("signature", True, f"{name} signed this manifest")


def _check_plan(record: Record, manifest: Manifest) -> Check:
    planned = (record.batch, record.sequence, record.window_start, record.window_end, set(record.files))
    names = {file.name for file in manifest.files}
    listed = (manifest.batch, manifest.sequence, manifest.window_start, manifest.window_end, names)
    return Check("plan", planned == listed, "batch, number, window and file names of plan and manifest")


def _check_keys(keys: bytes, manifest: Manifest) -> Check:
    try:
        wrapped = read_keys_json(keys, manifest)
    except EncryptionError as error:
        return Check("keys.json", False, str(error))
    return Check("keys.json", True, f"the wrapped keys of {len(wrapped)} files")


def _check_files(context: Context, record: Record, manifest: Manifest) -> Check:
    """Sizes, and the results that the sealed blobs carry themselves."""
    prefix = f"{record.batch.folder}/"
    blobs_there = {
        blob.name.removeprefix(prefix): blob
        for blob in context.stores.encrypted.list_blobs(name_starts_with=prefix, include=["metadata"])
    }
    wrong = []
    for file in manifest.files:
        blob = blobs_there.get(file.sealed_name)
        if blob is None:
            wrong.append(f"{file.sealed_name} is gone")
        elif blob.size != file.sealed_bytes or _sealed_sha256(blob.metadata) != file.sealed_sha256:
            wrong.append(f"{file.sealed_name} is not what the manifest says")
        if file.detached and file.detached.key_name not in blobs_there:
            wrong.append(f"{file.detached.key_name} is gone")
    return Check("sealed files", not wrong, "; ".join(wrong[:5]) or f"{len(manifest.files)} files, sizes and records")


def _check_before(context: Context, record: Record, manifest: Manifest) -> Check:
    expected = previous_manifest(context, record)
    # The batch before may have been sealed after this one: then this manifest names none.
    ok = manifest.previous_manifest_sha256 in (None, expected)
    return Check("manifest before", ok, manifest.previous_manifest_sha256 or "none was sealed before this one")


def _check_head(entries: list[Entry], record: Record, manifest: Manifest, manifest_sha256: str) -> Check:
    """The chain's head in the manifest is in the ledger, before the entry that names this manifest."""
    numbers = {entry.sha256: entry.content["number"] for entry in entries}
    sealed = [entry.content for entry in _about(entries, record, "sealed")]
    named = [entry["number"] for entry in sealed if entry["details"]["manifest_sha256"] == manifest_sha256]
    if not named:
        return Check("ledger and manifest", False, "no entry names this manifest")
    number = numbers.get(manifest.record_head or "", 0)
    if not 0 < number < named[0]:
        return Check("ledger and manifest", False, "the ledger does not hold the head that the manifest carries")
    return Check("ledger and manifest", True, f"the manifest carries entry {number}, entry {named[0]} the manifest")


def _check_deliveries(context: Context, record: Record, entries: list[Entry]) -> Iterator[Check]:
    named = {entry.content["delivery"]: entry.content["details"] for entry in _about(entries, record, "delivered")}
    for delivery in range(1, record.delivery + 1):
        what = f"delivery {delivery}"
        try:
            receipt = read_receipt(context, record, delivery=delivery)
        except Unreadable as error:
            yield Check(what, False, error.message)
            continue
        if receipt is None:
            ok = delivery == record.delivery and delivery not in named
            yield Check(what, ok, "has not happened yet" if ok else "the receipt is gone")
        else:
            ok = named.get(delivery, {}).get("receipt_sha256") == receipt.digest
            yield Check(
                what, ok, f"at {receipt.delivered_at.isoformat()}" if ok else "the ledger does not name this receipt"
            )
    if record.plaintext_purged_at is not None:
        left = sum(1 for _ in context.stores.raw.list_blob_names(name_starts_with=f"{record.batch.folder}/"))
        yield Check("plaintext", not left, f"{left} raw files" if left else f"purged at {record.plaintext_purged_at}")


def _about(entries: list[Entry], record: Record, step: str) -> list[Entry]:
    return [e for e in entries if (e.content["batch"], e.content["step"]) == (record.batch, step)]


def _sealed_sha256(metadata: dict[str, str] | None) -> str | None:
    try:
        return SealedFile.from_metadata(metadata or {}).sealed_sha256
    except EncryptionError:
        return None


def _read(context: Context, batch: BatchId, name: str) -> bytes | None:
    return blobs.read(context.stores.encrypted, f"{batch.folder}/{name}")
