"""Open sealed files on this machine: one file, or a whole batch after its manifest was verified.

This is the company's own opener, on the code of `encryption/`; the partner's are in partner_kit/ and share nothing with it.
Every file goes to NAME.part and is renamed when its last byte was authenticated.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from cli.console import CommandFailed
from encryption import (
    Manifest,
    ManifestFile,
    WrappedKey,
    open_cms,
    open_detached,
    open_sealed,
    open_smime,
    read_header,
    read_keys_json,
    verify_signature,
)
from encryption.errors import MalformedHeader, MalformedManifest
from encryption.manifest import MAX_BYTES, MAX_SIGNATURE_BYTES

READ_BYTES = 64 * 1024
SUFFIX = "manifest.json"

Watch = Callable[[Path, Iterable[bytes]], Iterable[bytes]]


class FileProblem(CommandFailed):
    """A file is missing, in the way, or not the one that is meant; `kind` names the class of refusal."""

    status = 422

    def __init__(self, message: str, hint: str, kind: str = "usage") -> None:
        super().__init__(message, hint)
        self.kind = kind


def unwatched(_: Path, chunks: Iterable[bytes]) -> Iterable[bytes]:
    """Show no progress."""
    return chunks


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's content in pieces."""
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece


@contextmanager
def writing(target: Path) -> Iterator[BinaryIO]:
    """Write NAME.part and rename it at the end; on any error nothing stays behind. An existing file is never replaced."""
    with _writing_part(target) as file:
        yield file
    _rename([target])


@contextmanager
def _writing_part(target: Path) -> Iterator[BinaryIO]:
    """Write NAME.part, which is made anew: it keeps a second run away, and no link leads the plaintext elsewhere."""
    part = _part_of(target)
    try:
        file = part.open("xb")
    except FileExistsError:
        raise FileProblem(
            f"{part} is there: another run writes it, or a killed one left it", "then delete it"
        ) from None
    try:
        with file:
            _refuse_existing(target)
            yield file
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _rename(targets: Sequence[Path]) -> None:
    """Give every NAME.part its name; what an error leaves is deleted."""
    try:
        for target in targets:
            _refuse_existing(target)
            _part_of(target).replace(target)
    finally:
        for target in targets:
            _part_of(target).unlink(missing_ok=True)


def _part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise FileProblem(f"{target} is already there", "choose another --out, or move the file away")


def open_one(path: Path, private_key: RSAPrivateKey, out: Path, watch: Watch = unwatched) -> Path:
    """Open a native or cms file by itself, without a manifest: it proves nothing about who sent it."""
    chunks = watch(path, read_chunks(path))
    if path.suffix == ".cms":
        target, pieces = _target(out, path.stem), open_cms(chunks, private_key)
    elif path.suffix in (".pgp", ".gpg", ".asc"):
        raise FileProblem(
            f"{path.name} is an OpenPGP file", f"gpg --decrypt opens it: gpg -o {path.stem} -d {path.name}"
        )
    elif path.suffix == ".p7m":
        raise FileProblem(
            f"{path.name} is an S/MIME file: nothing in it shows a change", "open the batch's manifest.json"
        )
    elif path.suffix in (".enc", ".key"):
        raise FileProblem(
            f"{path.name} is a detached file: its nonce is in the manifest", "open the batch's manifest.json"
        )
    else:
        target, pieces = _target(out, read_header(read_chunks(path)).file.name), open_sealed(chunks, private_key)
    with writing(target) as file:
        file.writelines(pieces)
    return target


def _target(out: Path, name: str) -> Path:
    return out / name if out.is_dir() else out


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch whose signature, keys.json and files were all found to be right."""

    folder: Path
    manifest: Manifest
    recipients: dict[str, tuple[WrappedKey, ...]]
    unlisted: tuple[str, ...]


def verify_batch(path: Path, sender: RSAPublicKey, batch: str | None = None) -> Batch:
    """Find a batch by its manifest or folder and verify everything that needs no private key.

    Raises SignatureInvalid, MalformedManifest, FileProblem.
    """
    folder, prefix = _find(path, batch)
    signed = _read_small(folder / f"{prefix}{SUFFIX}", MAX_BYTES)
    verify_signature(signed, _read_small(folder / f"{prefix}{SUFFIX}.sig", MAX_SIGNATURE_BYTES), sender)
    manifest = Manifest.from_bytes(signed)
    if prefix not in ("", f"{manifest.batch}."):
        raise MalformedManifest(f"{prefix}{SUFFIX} is the manifest of batch {manifest.batch}")
    recipients = read_keys_json(_read_small(folder / f"{prefix}keys.json", MAX_BYTES), manifest)
    listed = {f"{prefix}{SUFFIX}", f"{prefix}{SUFFIX}.sig", f"{prefix}keys.json"}
    for file in manifest.files:
        listed.add(file.sealed_name)
        _check(folder / file.sealed_name, file.sealed_bytes, file.sealed_sha256)
        if file.detached:
            listed.add(file.detached.key_name)
            _check(folder / file.detached.key_name, None, file.detached.key_sha256)
    unlisted = tuple(sorted(each.name for each in folder.iterdir() if each.is_file() and each.name not in listed))
    return Batch(folder=folder, manifest=manifest, recipients=recipients, unlisted=unlisted)


def open_batch(batch: Batch, private_key: RSAPrivateKey, out: Path, watch: Watch = unwatched) -> list[Path]:
    """Open all files of a verified batch into the folder `out`, or none. Raises CannotOpen, MalformedHeader, FileProblem.

    A file may be replaced after it was verified: what is decrypted is hashed once more.
    """
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for file in batch.manifest.files:
            source = batch.folder / file.sealed_name
            digest = hashlib.sha256()
            chunks = watch(source, _hashed(read_chunks(source), digest))
            with _writing_part(out / file.name) as sink:
                sink.writelines(_open(batch, file, source, chunks, private_key))
                if digest.hexdigest() != file.sealed_sha256:
                    raise FileProblem(f"{file.sealed_name} was replaced while it was opened", "fetch it again", "file")
            written.append(out / file.name)
        _rename(written)
    finally:
        for target in written:
            _part_of(target).unlink(missing_ok=True)
    return written


def _hashed(chunks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _open(
    batch: Batch, file: ManifestFile, source: Path, chunks: Iterable[bytes], private_key: RSAPrivateKey
) -> Iterator[bytes]:
    recipients = batch.recipients[file.sealed_name]
    if file.detached:
        return open_detached(
            chunks,
            private_key,
            recipients,
            nonce=file.detached.nonce,
            tag=file.detached.tag,
            plaintext_bytes=file.plaintext_bytes,
        )
    if file.format == "openpgp":
        raise FileProblem(
            f"{file.sealed_name} is an OpenPGP file", "the batch is verified; open its files with gpg", "openpgp"
        )
    if file.format == "smime":
        return open_smime(
            chunks,
            private_key,
            sealed_bytes=file.sealed_bytes,
            plaintext_bytes=file.plaintext_bytes,
            algorithm=recipients[0].alg,
        )
    if file.format == "cms":
        return open_cms(chunks, private_key, plaintext_bytes=file.plaintext_bytes)
    header = read_header(read_chunks(source))
    mine = (header.file.batch, header.file.name, header.file.plaintext_bytes, header.recipients)
    if mine != (batch.manifest.batch, file.name, file.plaintext_bytes, recipients):
        raise MalformedHeader(f"{file.sealed_name} carries the header of another file, or other keys than keys.json")
    return open_sealed(chunks, private_key)


def _find(path: Path, batch: str | None) -> tuple[Path, str]:
    missing = FileProblem(
        "there is no manifest: the batch is not complete yet", "wait for the manifest, which comes last", "incomplete"
    )
    if path.name.endswith(SUFFIX):
        if not path.is_file():
            raise missing
        return path.parent, path.name.removesuffix(SUFFIX)
    names = sorted(each.name for each in path.iterdir() if each.name == SUFFIX or each.name.endswith(f".{SUFFIX}"))
    prefixes = [name.removesuffix(SUFFIX) for name in names if batch is None or name == f"{batch}.{SUFFIX}"]
    if not prefixes:
        raise missing
    if len(prefixes) > 1:
        raise FileProblem(f"{path} holds {len(prefixes)} batches", "choose one: give the path of its manifest.json")
    return path, prefixes[0]


def _read_small(path: Path, most_bytes: int) -> bytes:
    if not path.is_file():
        raise FileProblem(f"{path.name} is not there", "wait until the batch is complete", "incomplete")
    with path.open("rb") as file:
        return file.read(most_bytes + 1)


def _check(path: Path, size: int | None, sha256: str) -> None:
    if not path.is_file():
        raise FileProblem(f"{path.name} is in the manifest but not there", "fetch it again", "incomplete")
    digest = hashlib.sha256()
    if size is None or path.stat().st_size == size:
        for piece in read_chunks(path):
            digest.update(piece)
    if digest.hexdigest() != sha256 or (size is not None and path.stat().st_size != size):
        raise FileProblem(f"{path.name} is not the file that the manifest names", "fetch it again", "file")
