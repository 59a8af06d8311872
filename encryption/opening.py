"""Open what sealing.py sealed: read the header, unwrap the file key, decrypt (docs/FORMAT.md, sections 4 to 7 and 10).

`open_sealed` releases only authenticated bytes. `open_detached` and `open_cms` are single GCM messages whose tag comes
last: everything they yield is unauthenticated until they end without an error, so write it to a temporary name.
A wrong key, a changed and a cut file raise the same CannotOpen. It does NOT look at the manifest: manifest.py does, and
must have been asked before a detached file is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from encryption import cms
from encryption.errors import CannotOpen, MalformedHeader
from encryption.header import PREFIX_BYTES, Header, context, header_bytes, parse_header
from encryption.sealing import PIECE_BYTES
from encryption.wrapping import WrappedKey, unwrap


class _Reader:
    """Exact reads at the front of a stream of chunks, then the rest as it comes; what is not wanted yet is not copied."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._ahead = memoryview(b"")

    def read(self, count: int) -> bytes:
        """Return `count` bytes, or fewer when the stream ends before."""
        parts = [self._take(count)]
        missing = count - len(parts[0])
        while missing and (chunk := next(self._chunks, None)) is not None:
            self._ahead = memoryview(chunk)
            parts.append(self._take(missing))
            missing -= len(parts[-1])
        return b"".join(parts)

    def _take(self, count: int) -> memoryview:
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        return taken

    def rest(self) -> Iterator[memoryview]:
        """Yield what is left, in pieces that fit the cache."""
        while True:
            while piece := self._take(PIECE_BYTES):
                yield piece
            if (chunk := next(self._chunks, None)) is None:
                return
            self._ahead = memoryview(chunk)


def read_header(chunks: Iterable[bytes]) -> Header:
    """Return a native file's header without any key; raises MalformedHeader."""
    header, _ = _read_header(_Reader(chunks))
    return header


def _read_header(source: _Reader) -> tuple[Header, bytes]:
    prefix = source.read(PREFIX_BYTES)
    length = header_bytes(prefix)
    encoded = source.read(length)
    if len(encoded) != length:
        raise MalformedHeader(f"the file ends in its header: {len(encoded):,} of {length:,} bytes are there")
    return parse_header(encoded), prefix + encoded


def open_sealed(chunks: Iterable[bytes], private_key: RSAPrivateKey) -> Iterator[bytes]:
    """Yield a native file's plaintext, each byte after its chunk was authenticated.

    The header is read at once, so MalformedHeader is raised by the call. CannotOpen may come after some pieces: what
    came before is authentic, but the file is not whole. Write to a temporary name and rename at the end.
    """
    source = _Reader(chunks)
    header, head = _read_header(source)
    file_key = unwrap((each.wrapped_key for each in header.recipients), private_key)
    return _decrypt_native(source, Cobblestone256Decryptor(file_key, context(head)), header.file.plaintext_bytes)


def _decrypt_native(source: _Reader, body: Cobblestone256Decryptor, declared_bytes: int) -> Iterator[bytes]:
    missing = declared_bytes
    try:
        for piece in source.rest():
            plaintext = body.update(piece)
            missing -= len(plaintext)
            if missing < 0:
                raise CannotOpen
            if plaintext:
                yield plaintext
        plaintext = body.finalize()
    except InvalidTag:
        raise CannotOpen from None
    if missing != len(plaintext):
        raise CannotOpen
    if plaintext:
        yield plaintext


def open_detached(
    chunks: Iterable[bytes],
    private_key: RSAPrivateKey,
    recipients: Iterable[WrappedKey],
    *,
    nonce: str,
    tag: str,
    plaintext_bytes: int,
) -> Iterator[bytes]:
    """Yield a detached file's plaintext, unauthenticated until the end.

    Everything beside the chunks comes from a manifest whose signature was verified, and from its keys.json.
    """
    file_key = unwrap((each.wrapped_key for each in recipients), private_key)
    return _decrypt_message(_Reader(chunks), file_key, bytes.fromhex(nonce), plaintext_bytes, bytes.fromhex(tag))


def open_cms(
    chunks: Iterable[bytes], private_key: RSAPrivateKey, *, plaintext_bytes: int | None = None
) -> Iterator[bytes]:
    """Yield a CMS file's plaintext, unauthenticated until the end; MalformedHeader is raised by the call.

    `plaintext_bytes` is the size that a manifest promised; a file that claims another one is refused.
    """
    source = _Reader(chunks)
    envelope = cms.read_envelope(source.read)
    if plaintext_bytes not in (None, envelope.plaintext_bytes):
        raise MalformedHeader(
            f"the CMS file holds {envelope.plaintext_bytes:,} bytes, not the {plaintext_bytes:,} promised"
        )
    file_key = unwrap(envelope.wrapped_keys, private_key)
    return _decrypt_message(source, file_key, envelope.nonce, envelope.plaintext_bytes, None)


def _decrypt_message(
    source: _Reader, file_key: bytes, nonce: bytes, declared_bytes: int, tag: bytes | None
) -> Iterator[bytes]:
    """Decrypt one GCM message; without a tag, it follows the ciphertext as CMS writes it."""
    message = Cipher(algorithms.AES(file_key), modes.GCM(nonce)).decryptor()
    missing = declared_bytes
    while missing and (piece := source.read(min(missing, PIECE_BYTES))):
        missing -= len(piece)
        yield message.update(piece)
    expected_tail = b"" if tag else cms.MAC_HEAD
    tail = source.read(len(expected_tail) + cms.TAG_BYTES + 1)
    if missing or not tail.startswith(expected_tail) or len(tail) != len(expected_tail) + (0 if tag else cms.TAG_BYTES):
        raise CannotOpen
    try:
        message.finalize_with_tag(tag or tail[-cms.TAG_BYTES :])
    except InvalidTag:
        raise CannotOpen from None
