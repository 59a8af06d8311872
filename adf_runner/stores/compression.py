"""Packed files: gzip as a stream in both ways, and zip to read.

A zip's list of files is at its end, so a zip is held in memory while it is read, and refused above `ZIP_BYTES`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

from adf_runner.errors import ActivityFailed
from adf_runner.stores.store import Entry, Sink, Store

if TYPE_CHECKING:
    from types import TracebackType

    from adf_runner.run.linked_services import Data

GZIP_WINDOW = 31  # zlib's word for "with a gzip header"
ZIP_BYTES = 256 * 1024 * 1024
PIECE_BYTES = 1024 * 1024
LEVELS = {"Fastest": 1, "Optimal": 9}


def codec_of(data: Data) -> str:
    """Return `gzip`, `zipdeflate` or '' for what a dataset says of its files."""
    packed = data.properties.get("compression")
    written = packed.get("type") if isinstance(packed, Mapping) else data.properties.get("compressionCodec")
    codec = str(written or "none").lower()
    return "" if codec == "none" or data.type == "Parquet" else codec


def level_of(data: Data) -> int:
    """Return zlib's level for what a dataset says."""
    packed = data.properties.get("compression")
    written = packed.get("level") if isinstance(packed, Mapping) else data.properties.get("compressionLevel")
    return LEVELS.get(str(written), 6)


class PackedStore:
    """A store whose files are packed: what is read comes unpacked, what is written is packed on its way."""

    def __init__(self, store: Store, codec: str, level: int) -> None:
        self._store = store
        self._codec = codec
        self._level = level

    def __enter__(self) -> Self:
        self._store.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.__exit__(kind, error, trace)

    def find(self, path: str) -> Entry | None:
        return self._store.find(path)

    def list(self, folder: str, *, recursive: bool) -> Iterator[Entry]:
        return self._store.list(folder, recursive=recursive)

    def delete(self, path: str) -> None:
        self._store.delete(path)

    def read(self, path: str) -> Iterator[bytes]:
        """Yield the unpacked bytes; of a zip, those of all its files one after the other."""
        pieces = self._store.read(path)
        return _unzipped(pieces, path) if self._codec == "zipdeflate" else _gunzipped(pieces, path)

    def write(self, path: str, settings: Mapping[str, object], run_id: str) -> Sink:
        if self._codec == "zipdeflate":
            raise ActivityFailed("zip files are only read here", "write gzip", code="BadRequest", retriable=False)
        return _GzipSink(self._store.write(path, settings, run_id), self._level)


class _GzipSink:
    def __init__(self, sink: Sink, level: int) -> None:
        self._sink = sink
        self._packer = zlib.compressobj(level, zlib.DEFLATED, GZIP_WINDOW)

    def write(self, piece: bytes) -> None:
        self._sink.write(self._packer.compress(piece))

    def commit(self) -> None:
        self._sink.write(self._packer.flush())
        self._sink.commit()

    def abort(self) -> None:
        self._sink.abort()


def _gunzipped(pieces: Iterator[bytes], path: str) -> Iterator[bytes]:
    """Unpack gzip, also several members one after the other."""
    unpacker = zlib.decompressobj(GZIP_WINDOW)
    begun = False
    try:
        for piece in pieces:
            rest = piece
            while rest:
                begun = True
                unpacked = unpacker.decompress(rest, PIECE_BYTES)
                if unpacked:
                    yield unpacked
                rest = unpacker.unconsumed_tail or unpacker.unused_data
                if unpacker.eof:
                    unpacker, begun = zlib.decompressobj(GZIP_WINDOW), False
    except zlib.error as error:
        raise ActivityFailed(f"{path} is not gzip: {error}", code="UserErrorInvalidFormat") from error
    if begun:
        raise ActivityFailed(f"{path} ends in the middle of its gzip data", code="UserErrorInvalidFormat")


def _unzipped(pieces: Iterator[bytes], path: str) -> Iterator[bytes]:
    packed = io.BytesIO()
    for piece in pieces:
        packed.write(piece)
        if packed.tell() > ZIP_BYTES:
            raise ActivityFailed(
                f"{path} is larger than {ZIP_BYTES >> 20} MiB, which is held in memory here",
                "use gzip",
                code="BadRequest",
            )
    try:
        with zipfile.ZipFile(packed) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    while piece := file.read(PIECE_BYTES):
                        yield piece
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ActivityFailed(f"{path} cannot be unzipped: {error}", code="UserErrorInvalidFormat") from error
