"""Where a file's bytes come from: a reader of ranges. Blobs live in batches/; here are bytes and local files.

`Prefetch` keeps the next ranges coming while the last one is being sent: a stream, or ranges read one after the other,
would halve the speed from a storage account.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, Self

from delivery.errors import SourceChanged

RANGE_BYTES = 8 << 20  # of a storage account: smaller ranges, or a plain stream, halve the speed
AHEAD = 2


class Source(Protocol):
    """One file to deliver; `sha256` in hex, or "" when nobody knows it; `read` is called from several threads.

    A source may also say by `range_bytes` in which pieces it is read best; RANGE_BYTES is for blobs.
    """

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    def read(self, offset: int, length: int) -> bytes: ...


class BytesSource:
    """A small file made in memory: a manifest, a signature, a marker."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.size = len(data)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class FileSource:
    """A file on this machine."""

    range_bytes = 2 << 20

    def __init__(self, path: Path, *, name: str | None = None, sha256: str = "") -> None:
        self.name = name or path.name
        self.size = path.stat().st_size
        self.sha256 = sha256
        self._path = path

    def read(self, offset: int, length: int) -> bytes:
        with self._path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length, offset)


class Prefetch:
    """Reads spans of a source in order, AHEAD pieces before they are asked for; leaving it drops pending reads."""

    def __init__(self, source: Source, spans: Iterable[tuple[int, int]], pool: ThreadPoolExecutor) -> None:
        self._source = source
        self._pool = pool
        self._wanted = _pieces(spans, range_bytes(source))
        self._coming: deque[tuple[int, int, Future[bytes]]] = deque()
        self._fill()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while self._coming:
            offset, length, future = self._coming.popleft()
            data = future.result()
            if len(data) != length:
                raise SourceChanged(
                    f"{self._source.name}: {len(data)} bytes at {offset} instead of {length}",
                    hint="the file was changed or cut after it was sealed; seal the batch again",
                )
            self._fill()
            yield offset, data

    def close(self) -> None:
        for _, _, future in self._coming:
            future.cancel()
        self._coming.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self) -> None:
        while len(self._coming) < AHEAD:
            span = next(self._wanted, None)
            if span is None:
                return
            start, end = span
            self._coming.append((start, end - start, self._pool.submit(self._source.read, start, end - start)))


class Checksum:
    """SHA-256 of a source, computed beside the sending; what an earlier attempt had sent is read for it once more."""

    def __init__(self, source: Source, pool: ThreadPoolExecutor) -> None:
        self._source = source
        self._pool = pool
        self._digest = hashlib.sha256()
        self._at = 0
        self._last: Future[None] | None = None

    def add(self, offset: int, data: bytes) -> None:
        """Take the next piece; pieces come in order, with gaps."""
        if not self._source.sha256:
            return
        self._settle()  # at most one piece behind: order and memory stay bounded
        if offset == self._at and len(data) < 1 << 16:
            self._digest.update(data)
        else:
            self._last = self._pool.submit(self._take, self._at, offset, data)
        self._at = offset + len(data)

    def is_right(self) -> bool:
        """Return whether the source is what its record says; True when there is no record."""
        if not self._source.sha256:
            return True
        self._settle()
        self._take(self._at, self._source.size, b"")
        return self._digest.hexdigest() == self._source.sha256

    def _take(self, start: int, offset: int, data: bytes) -> None:
        for at, end in _pieces([(start, offset)], range_bytes(self._source)):
            self._digest.update(self._source.read(at, end - at))
        self._digest.update(data)

    def _settle(self) -> None:
        if self._last is not None:
            self._last.result()
            self._last = None


def range_bytes(source: Source) -> int:
    """Return how many bytes a source wants to give at once."""
    return int(getattr(source, "range_bytes", RANGE_BYTES))


def _pieces(spans: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    for start, end in spans:
        for at in range(start, end, size):
            yield at, min(at + size, end)


@contextlib.contextmanager
def readers(workers: int = 8) -> Iterator[ThreadPoolExecutor]:
    """Threads for reading sources; pending reads are dropped at the end."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
