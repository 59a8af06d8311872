"""Seal one file: stream, encrypt, hash; five formats, one path (docs/FORMAT.md, sections 5 to 7, 17 and 18).

A `Sealing` is one attempt: it makes its own file key, which nothing else ever sees, so the data of one attempt can
never meet the key of another. Memory stays constant. SHA-256 costs more than AES on every CPU with AES instructions, so
the hash of a large file may run in a thread beside it. Only sealed bytes are hashed: the hash of a small plaintext confirms
a guess of it, and the result outlives the plaintext.

There is deliberately no parameter for randomness: an argument that can weaken a file is one that somebody sets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args

from cryptography.cobblestone import Cobblestone256Encryptor
from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher, algorithms, modes

from encryption import canonical, cms
from encryption.certificates import Recipient
from encryption.errors import FileTooLarge, InvalidValue, SizeMismatch
from encryption.hashing import InlineHash, ThreadedHash
from encryption.header import FileInfo, Header, context
from encryption.openpgp import Message, OpenPgp
from encryption.smime import EXTENSIONS as SMIME_EXTENSIONS
from encryption.smime import Smime, SmimeMessage, transport_of
from encryption.wrapping import (
    FILE_KEY_BYTES,
    OPENPGP,
    Receiver,
    WrappedKey,
    algorithms_of,
    read_recipients,
    wrap_for_all,
)

Format = Literal["native", "detached", "cms", "openpgp", "smime"]
FORMATS: Final[tuple[str, ...]] = get_args(Format)
EXTENSIONS: Final[dict[str, str]] = {
    "native": ".sealed", "detached": ".enc", "cms": ".cms", "openpgp": ".pgp", "smime": ".p7m",
}  # fmt: skip
OPENPGP_EXTENSIONS: Final = (".pgp", ".gpg", ".asc", "")
LARGEST: Final[dict[str, int]] = {
    "native": 2**52, "detached": 2**36 - 32, "cms": cms.MAX_PLAINTEXT_BYTES, "openpgp": 2**52,
    "smime": 2**52,
}  # fmt: skip
# AES is fastest while a piece fits the cache; and a piece of 128 KiB or more is no longer taken from the heap but mapped and
# given back by the system every time, which costs more than the encryption itself.
PIECE_BYTES: Final = 64 * 1024
MAX_KEYS_BYTES: Final = 6_144
THREADS_FROM_BYTES: Final = 4 * 1024 * 1024  # below this, starting threads costs more than they save
RESULT_KEY: Final = "sealift_result"  # the blob metadata that holds a whole result


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """What came out of one sealing; everything that the manifest and keys.json need."""

    batch: str
    name: str
    sealed_name: str
    format: str
    plaintext_bytes: int
    sealed_bytes: int
    sealed_sha256: str
    recipients: tuple[WrappedKey, ...]
    nonce: str | None = None
    tag: str | None = None

    def __post_init__(self) -> None:
        canonical.text(self.batch, canonical.BATCH, "batch")
        canonical.text(self.name, canonical.NAME, "name")
        canonical.text(self.sealed_name, canonical.NAME, "sealed_name")
        if self.format not in FORMATS:
            raise InvalidValue(f"format must be one of {', '.join(FORMATS)}")
        canonical.integer(self.plaintext_bytes, "plaintext_bytes")
        canonical.integer(self.sealed_bytes, "sealed_bytes")
        canonical.text(self.sealed_sha256, canonical.HASH, "sealed_sha256")
        if self.format == "detached":
            canonical.text(self.nonce, canonical.NONCE, "nonce")
            canonical.text(self.tag, canonical.TAG, "tag")
        elif self.nonce is not None or self.tag is not None:
            raise InvalidValue("only detached files carry nonce and tag outside")
        if len(ways := {each.alg for each in self.recipients}) > 1 or not ways <= set(algorithms_of(self.format)):
            wanted = " or ".join(algorithms_of(self.format))
            raise InvalidValue(f"a file of the format {self.format} has its key wrapped as {wanted}")

    @property
    def key_name(self) -> str:
        """Return the name of the file that holds a detached file's wrapped key."""
        return f"{self.name}.key"

    @property
    def key_file(self) -> bytes:
        """Return the content of a detached file's `.key`: the first recipient's wrapped key."""
        return self.recipients[0].wrapped_key

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads back."""
        return {
            "batch": self.batch,
            "format": self.format,
            "name": self.name,
            "nonce": self.nonce,
            "plaintext_bytes": self.plaintext_bytes,
            "recipients": [each.to_json() for each in self.recipients],
            "sealed_bytes": self.sealed_bytes,
            "sealed_name": self.sealed_name,
            "sealed_sha256": self.sealed_sha256,
            "tag": self.tag,
        }

    @classmethod
    def from_json(cls, value: object) -> SealedFile:
        """Read back what `to_json` wrote, strictly."""
        found = dict(canonical.members(value, _SEALED_MEMBERS, "the result of sealing"))
        found["recipients"] = read_recipients(found["recipients"], "recipients", algorithms_of(found["format"]))
        return cls(**found)

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> SealedFile:
        """Read the result back from a committed blob's metadata: a crash after the commit loses nothing."""
        try:
            return cls.from_json(json.loads(metadata[RESULT_KEY]))
        except (KeyError, ValueError) as error:
            raise InvalidValue("the blob's metadata holds no result of sealing") from error


_SEALED_MEMBERS: Final = frozenset(SealedFile.__dataclass_fields__)


def seal(
    chunks: Iterable[bytes],
    *,
    file: FileInfo,
    recipients: Sequence[Receiver],
    format: str | OpenPgp | Smime = "native",  # noqa: A002  # the field's word; nothing here formats text
    hash_threads: bool = True,
) -> Sealing:
    """Return an iterator over the sealed bytes of `chunks`; errors show at once, except a wrong plaintext size.

    `format` is a format's name; an `OpenPgp` or `Smime` says in detail how that format is wished, and who signs.
    `hash_threads` hashes a large file in a thread of its own: faster where a core is idle, at the price of more CPU.
    Raises InvalidValue, FileTooLarge; while iterating, SizeMismatch and, at the end, what a file's signer raises.
    """
    return Sealing(chunks, file, recipients, format, hash_threads)


class Sealing(Iterator[bytes]):
    """One attempt to seal one file: iterate it once, then read `result` and `metadata`."""

    def __init__(
        self,
        chunks: Iterable[bytes],
        file: FileInfo,
        recipients: Sequence[Receiver],
        format: str | OpenPgp | Smime,  # noqa: A002
        hash_threads: bool,
    ) -> None:
        options, format = _wish(format)  # noqa: A001
        if format not in FORMATS:
            raise InvalidValue(f"there is no format {format!r}", hint=f"choose one of {', '.join(FORMATS)}")
        if file.plaintext_bytes > LARGEST[format]:
            raise FileTooLarge(f"{file.name} has {file.plaintext_bytes:,} bytes; {format} holds {LARGEST[format]:,}")
        recipients = _fitting(recipients, format, options)
        file_key = os.urandom(FILE_KEY_BYTES)
        wrapped = wrap_for_all(file_key, recipients)
        unique = {each.thumbprint: each for each in recipients}
        # The result travels as metadata of a blob, which holds 8 KiB; it is better to know before than after sealing.
        keys_bytes = len(canonical.write({"recipients": [each.to_json() for each in wrapped]}))
        if keys_bytes > MAX_KEYS_BYTES:
            raise InvalidValue(
                f"the wrapped keys of {len(wrapped)} recipients take {keys_bytes:,} bytes; {MAX_KEYS_BYTES:,} are the most",
                hint="seal for fewer recipients, or for shorter keys: 3072 bits are enough",
            )
        self.file = file
        self.format = format
        self.recipients = wrapped
        self.sealed_name = file.name + (options.extension if options else EXTENSIONS[format])
        attempt = _Attempt(file, file_key, wrapped, [unique[each.thumbprint] for each in wrapped], options)
        self._body = _BODIES[format](attempt)
        self._hash = ThreadedHash if hash_threads and file.plaintext_bytes >= THREADS_FROM_BYTES else InlineHash
        self._result: SealedFile | None = None
        self._pieces = self._run(chunks)

    def __repr__(self) -> str:
        return f"<Sealing {self.file.name} {self.format}>"

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Give up: stop the thread of an attempt that is not read to its end."""
        self._pieces.close()

    @property
    def result(self) -> SealedFile:
        """Return what was sealed; only after the last piece."""
        assert self._result is not None, "a sealing has a result when it was read to its end"
        return self._result

    @property
    def metadata(self) -> dict[str, str]:
        """Return what belongs into the blob's metadata, in the same commit as the data.

        Before the end: format, batch, file and, for detached, nonce and wrapped keys. After the last piece also the
        whole result, which `SealedFile.from_metadata` reads back. So read it when you commit.
        """
        known = {"sealift_format": self.format, "sealift_batch": self.file.batch, "sealift_file": self.file.name}
        if self._result:
            known[RESULT_KEY] = canonical.write(self._result.to_json()).decode()
        elif self._body.nonce:
            known["sealift_nonce"] = self._body.nonce.hex()
            known["sealift_keys"] = canonical.write(
                {"recipients": [each.to_json() for each in self.recipients]}
            ).decode()
        return known

    def _run(self, chunks: Iterable[bytes]) -> Generator[bytes]:
        sealed_hash = self._hash()
        try:
            plaintext_bytes = sealed_bytes = 0
            for plaintext, sealed in self._steps(chunks):
                plaintext_bytes += len(plaintext)
                sealed_bytes += len(sealed)
                if plaintext_bytes > self.file.plaintext_bytes:
                    break
                if sealed:
                    sealed_hash.update(sealed)
                    yield sealed
            if plaintext_bytes != self.file.plaintext_bytes:
                more = "more" if plaintext_bytes > self.file.plaintext_bytes else f"{plaintext_bytes:,}"
                raise SizeMismatch(
                    f"{self.file.name} was declared with {self.file.plaintext_bytes:,} bytes and has {more}"
                )
            self._result = SealedFile(
                batch=self.file.batch,
                name=self.file.name,
                sealed_name=self.sealed_name,
                format=self.format,
                plaintext_bytes=plaintext_bytes,
                sealed_bytes=sealed_bytes,
                sealed_sha256=sealed_hash.hexdigest(),
                recipients=self.recipients,
                nonce=self._body.nonce.hex() if self._body.nonce else None,
                tag=self._body.tag().hex() if self._body.nonce else None,
            )
        finally:
            sealed_hash.close()

    def _steps(self, chunks: Iterable[bytes]) -> Iterator[tuple[bytes | memoryview, bytes]]:
        yield b"", self._body.head
        for piece in _pieces(chunks):
            yield piece, self._body.update(piece)
        yield b"", self._body.finish()


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """Cut large chunks (without copying) and join small ones: every piece but the last has PIECE_BYTES."""
    waiting: list[memoryview] = []
    waiting_bytes = 0
    for chunk in chunks:
        view = memoryview(chunk)
        start = 0
        while waiting_bytes + len(view) - start >= PIECE_BYTES:
            end = start + PIECE_BYTES - waiting_bytes
            yield b"".join([*waiting, view[start:end]]) if waiting else view[start:end]
            waiting, waiting_bytes, start = [], 0, end
        if start < len(view):
            waiting.append(view[start:])
            waiting_bytes += len(view) - start
    if waiting:
        yield b"".join(waiting)


def _wish(format: str | OpenPgp | Smime) -> tuple[OpenPgp | Smime | None, str]:  # noqa: A002
    """Return how the files of a format are wished, and its name. Raises InvalidValue for a name that nobody can have wished."""
    if isinstance(format, str):
        return OpenPgp() if format == "openpgp" else Smime() if format == "smime" else None, format
    name, allowed = ("openpgp", OPENPGP_EXTENSIONS) if isinstance(format, OpenPgp) else ("smime", SMIME_EXTENSIONS)
    if format.extension not in allowed:
        raise InvalidValue(f"the name of an {name} file ends in {', '.join(filter(None, allowed))} or in nothing more")
    return format, name


def _fitting(
    recipients: Sequence[Receiver],
    format: str,  # noqa: A002
    options: OpenPgp | Smime | None,
) -> list[Receiver]:
    """Return the recipients as the format wraps for them; refuse a certificate of the other kind before anything is written."""
    for each in recipients:
        if (each.algorithm == OPENPGP) != (format == "openpgp"):
            found, wanted = ("an OpenPGP", "an X.509") if format != "openpgp" else ("an X.509", "an OpenPGP")
            raise InvalidValue(
                f"'{each.key_id}' is {found} certificate; the format {format} needs {wanted} one",
                hint="ask the partner for that kind of certificate, or choose the format that fits the one they have",
            )
    if not isinstance(options, Smime):
        return list(recipients)
    return [replace(each, algorithm=options.algorithm) for each in recipients if isinstance(each, Recipient)]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What a body is made from."""

    file: FileInfo
    file_key: bytes = field(repr=False)
    wrapped: tuple[WrappedKey, ...]
    recipients: list[Receiver]
    options: OpenPgp | Smime | None

    def recipient_infos(self) -> list[bytes]:
        """Return the wrapped keys as CMS carries them."""
        certificates = [each.certificate for each in self.recipients if isinstance(each, Recipient)]
        return [
            cms.recipient_info(each, key.wrapped_key, transport_of(key.alg))
            for each, key in zip(certificates, self.wrapped, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Body:
    """What the formats differ in; `nonce` only when it travels outside the file."""

    head: bytes
    update: Callable[[bytes | memoryview], bytes]
    finish: Callable[[], bytes]
    nonce: bytes | None = None
    tag: Callable[[], bytes] = bytes


def _native(attempt: _Attempt) -> _Body:
    head = Header(file=attempt.file, recipients=attempt.wrapped).to_bytes()
    body = Cobblestone256Encryptor(attempt.file_key, context(head))
    return _Body(head, body.update, body.finalize)


def _gcm(file_key: bytes) -> tuple[bytes, AEADEncryptionContext]:
    nonce = os.urandom(cms.NONCE_BYTES)
    return nonce, Cipher(algorithms.AES(file_key), modes.GCM(nonce)).encryptor()


def _detached(attempt: _Attempt) -> _Body:
    nonce, message = _gcm(attempt.file_key)
    return _Body(b"", message.update, message.finalize, nonce, lambda: message.tag)


def _cms(attempt: _Attempt) -> _Body:
    nonce, message = _gcm(attempt.file_key)

    def finish() -> bytes:
        assert message.finalize() == b"", "GCM is a stream: nothing is held back"
        return cms.MAC_HEAD + message.tag

    return _Body(
        cms.envelope_head(attempt.recipient_infos(), nonce, attempt.file.plaintext_bytes), message.update, finish
    )


def _openpgp(attempt: _Attempt) -> _Body:
    assert isinstance(attempt.options, OpenPgp), "the options belong to the format"
    wrapped = [each.wrapped_key for each in attempt.wrapped]
    message = Message(attempt.file_key, wrapped, attempt.file.name, attempt.file.created, attempt.options)
    return _Body(message.head, message.update, message.finish)


def _smime(attempt: _Attempt) -> _Body:
    assert isinstance(attempt.options, Smime), "the options belong to the format"
    made = SmimeMessage(attempt.file_key, attempt.recipient_infos(), attempt.file.created, attempt.options)
    return _Body(made.head, made.update, made.finish)


_BODIES: Final = {"native": _native, "detached": _detached, "cms": _cms, "openpgp": _openpgp, "smime": _smime}
