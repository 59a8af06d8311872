"""Open what sealing.py sealed: read the header, unwrap the file key, decrypt (docs/FORMAT.md, sections 4 to 7, 10 and 18).

`open_sealed` releases only authenticated bytes. `open_detached` and `open_cms` are single GCM messages whose tag comes
last: everything they yield is unauthenticated until they end without an error, so write it to a temporary name.
`open_smime` has no tag at all: what the manifest says of the file's bytes is its only proof. A wrong key, a changed and a cut
file raise the same CannotOpen. It does NOT look at the manifest: manifest.py does, and must have been asked before a detached
or an S/MIME file is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from encryption import cms, signed_data, smime
from encryption.asn1 import END, OCTETS, SEGMENT_BYTES, head
from encryption.errors import CannotOpen, MalformedHeader
from encryption.header import PREFIX_BYTES, Header, context, header_bytes, parse_header
from encryption.sealing import PIECE_BYTES
from encryption.smime_armour import Unarmoured
from encryption.wrapping import SCHEMES, WrappedKey, unwrap


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


_MAX_SIGNATURE_BYTES: Final = 65_536  # of a signed file: our certificate and the signature


def open_smime(
    chunks: Iterable[bytes],
    private_key: RSAPrivateKey,
    *,
    sealed_bytes: int,
    plaintext_bytes: int,
    algorithm: str | None = None,
) -> Iterator[bytes]:
    """Yield an S/MIME file's plaintext, which only its manifest authenticates; MalformedHeader is raised by the call.

    The caller has compared size and SHA-256 of the file with a verified manifest, which also says the sizes; `algorithm` is how
    keys.json says that the key is wrapped. A signature inside is taken off and not verified: the manifest is signed over more.
    """
    source = Unarmoured(_Reader(chunks).read, sealed_bytes)
    envelope = smime.read_smime_envelope(source.read)
    found = smime.Smime(key_transport=envelope.key_transport).algorithm
    if algorithm not in (None, found):
        raise MalformedHeader(f"the S/MIME file has its key wrapped as {found}, not {algorithm}")
    file_key = unwrap(envelope.wrapped_keys, private_key, SCHEMES[found])
    cipher = Cipher(algorithms.AES(file_key), modes.CBC(envelope.iv)).decryptor()
    content = _unpadded(cipher.update, _segments(source.read, is_last=True))
    if envelope.is_signed(source.file_bytes, plaintext_bytes):
        content = _signed_content(_Reader(content))
    return _exactly(content, plaintext_bytes)


def _segments(read: Callable[[int], bytes], *, is_last: bool) -> Iterator[bytes]:
    """Yield the segments up to their END, in whole; with `is_last` the stream ends with them."""
    before: int | None = None
    while (start := read(2)) != END:
        first = start[-1] if len(start) == 2 else 0x80
        length = read(first & 0x7F) if 0x80 < first < 0x84 else b""
        size = int.from_bytes(length, "big") if length else first
        # Each is whole but the last, and an empty one stands alone.
        fits = size <= SEGMENT_BYTES if before is None else 0 < size <= SEGMENT_BYTES == before
        if not fits or start + length != head(OCTETS, size):
            raise CannotOpen
        if len(piece := read(size)) != size:
            raise CannotOpen
        yield piece
        before = size
    if is_last and read(len(smime.TAIL)) != smime.TAIL[len(END) :]:
        raise CannotOpen


def _unpadded(decrypt: Callable[[bytes], bytes], segments: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of CBC segments without its padding."""
    last = b""
    for piece in segments:
        content = last + decrypt(piece)
        last = content[-smime.BLOCK_BYTES :]
        yield content[: -smime.BLOCK_BYTES]
        if len(piece) % smime.BLOCK_BYTES:
            raise CannotOpen
    count = last[-1] if len(last) == smime.BLOCK_BYTES else 0
    if not 1 <= count <= smime.BLOCK_BYTES or not last.endswith(bytes([count]) * count):
        raise CannotOpen
    yield last[:-count]


def _signed_content(source: _Reader) -> Iterator[bytes]:
    """Yield what a SignedData holds."""
    if source.read(len(signed_data.HEAD)) != signed_data.HEAD:
        raise CannotOpen
    yield from _segments(source.read, is_last=False)
    rest = source.read(_MAX_SIGNATURE_BYTES + 1)
    if len(rest) > _MAX_SIGNATURE_BYTES or not rest.startswith(END * 2) or not rest.endswith(END * 3):
        raise CannotOpen


def _exactly(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield the pieces, and refuse when they are more or fewer bytes than promised."""
    missing = count
    for piece in pieces:
        missing -= len(piece)
        if missing < 0:
            raise CannotOpen
        if piece:
            yield piece
    if missing:
        raise CannotOpen
