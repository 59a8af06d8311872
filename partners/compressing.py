"""Compresses a written file with fixed times and names: the same rows give the same bytes; and undoes it for the reader."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

# 1980 is the first year that a ZIP file can say.
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_PIECE_BYTES: Final = 1 << 20
# A window of 32 KiB, the format of gzip: its header says no name and no time.
_GZIP: Final = 31


def compressed(kind: str, name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a file compressed as gzip or zip. Raises zipfile.LargeZipFile for more than 2 GiB in a ZIP file."""
    return _gzip(pieces) if kind == "gzip" else _zip(name, pieces)


def decompressed(kind: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file that `compressed` made."""
    inner = zlib.decompressobj(_GZIP) if kind == "gzip" else zlib.decompressobj(-zlib.MAX_WBITS)
    head = b"" if kind == "gzip" else None
    waiting = b""
    for piece in pieces:
        data = piece
        if head is None:
            waiting += piece
            if len(waiting) < 30:
                continue
            start = 30 + int.from_bytes(waiting[26:28], "little") + int.from_bytes(waiting[28:30], "little")
            if len(waiting) < start:
                continue
            data, head = waiting[start:], b""
        while data and not inner.eof:
            yield inner.decompress(data, _PIECE_BYTES)
            data = inner.unconsumed_tail
    yield inner.flush()


def _gzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


class _Stream(io.RawIOBase):
    """Takes what a ZIP file writes, to be yielded."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += bytes(data)  # type: ignore[call-overload]
        return len(bytes(data))  # type: ignore[call-overload]

    def take(self) -> bytes:
        taken, self.data = bytes(self.data), bytearray()
        return taken


def _zip(name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    stream = _Stream()
    inner = zipfile.ZipInfo(name[:-4] if name.lower().endswith(".zip") else name, _TIME)
    inner.compress_type = zipfile.ZIP_DEFLATED
    inner.external_attr = 0o600 << 16
    inner.create_system = 3
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(inner, "w") as member:
        for piece in pieces:
            member.write(piece)
            if len(stream.data) > _PIECE_BYTES:
                yield stream.take()
    yield stream.take()
