"""Compresses a written file with fixed times and names: the same rows give the same bytes; and undoes it for the reader."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Final

# 1980 is the first year that a ZIP file can say.
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_PIECE_BYTES: Final = 1 << 20
# A window of 32 KiB, the format of gzip: its header says no name and no time.
_GZIP: Final = 31
_ZIP_HEAD_BYTES: Final = 30


class Compressor:
    """Compresses one file, `gzip` or `zip`; a ZIP file holds it under its name without .zip."""

    def __init__(self, kind: str, name: str) -> None:
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, _GZIP) if kind == "gzip" else None
        self._stream = _Stream()
        self._archive: zipfile.ZipFile | None = None
        self._member: IO[bytes] | None = None
        if self._gzip is None:
            inner = zipfile.ZipInfo(name[:-4] if name.lower().endswith(".zip") else name, _TIME)
            inner.compress_type = zipfile.ZIP_DEFLATED
            inner.external_attr = 0o600 << 16
            inner.create_system = 3
            self._archive = zipfile.ZipFile(self._stream, "w", zipfile.ZIP_DEFLATED)
            self._member = self._archive.open(inner, "w")

    def feed(self, data: bytes) -> bytes:
        """Return what is ready. Raises zipfile.LargeZipFile for more than 2 GiB in a ZIP file."""
        if self._gzip is not None:
            return self._gzip.compress(data)
        assert self._member is not None, "a ZIP file has its one member"
        self._member.write(data)
        return self._stream.take()

    def close(self) -> bytes:
        """Return the rest."""
        if self._gzip is not None:
            return self._gzip.flush()
        assert self._member is not None, "a ZIP file has its one member"
        assert self._archive is not None, "a ZIP file has its one member"
        self._member.close()
        self._archive.close()
        return self._stream.take()


class Decompressor:
    """Gives back the bytes of a file that `Compressor` made, with constant memory."""

    def __init__(self, kind: str) -> None:
        self._inner = zlib.decompressobj(_GZIP if kind == "gzip" else -zlib.MAX_WBITS)
        self._head: bytes | None = b"" if kind == "zip" else None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the bytes hold, in pieces of at most a mebibyte. Raises zlib.error for what is not compressed."""
        if self._head is not None:
            self._head += data
            if len(self._head) < _ZIP_HEAD_BYTES:
                return
            names = int.from_bytes(self._head[26:28], "little") + int.from_bytes(self._head[28:30], "little")
            if len(self._head) < _ZIP_HEAD_BYTES + names:
                return
            data, self._head = self._head[_ZIP_HEAD_BYTES + names :], None
        while data and not self._inner.eof:
            yield self._inner.decompress(data, _PIECE_BYTES)
            data = self._inner.unconsumed_tail


class _Stream(io.RawIOBase):
    """Takes what a ZIP file writes, to be handed on."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        taken = bytes(data)  # type: ignore[call-overload]
        self.data += taken
        return len(taken)

    def take(self) -> bytes:
        taken, self.data = bytes(self.data), bytearray()
        return taken
