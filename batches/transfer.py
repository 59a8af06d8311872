"""Moves one blob into another through a transformation, with constant memory and a single commit.

Reads are ordered ranges, two ahead, each pinned to one ETag: a source that changes midway is refused, never mixed. Writes are
uncommitted blocks, two at a time, under ids that carry the attempt; nothing is visible before the one commit, and the commit
succeeds only for the first attempt. What fits into one block is read and written by one call each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobClient

from batches.errors import ContentChanged
from batches.stores import BLOCK_BYTES

READ_AHEAD = 2
WRITES_AT_ONCE = 2


def quoted(etag: str) -> str:
    """Return an ETag as a blob's properties write it; a listing leaves the quotes out."""
    return etag if etag.startswith('"') else f'"{etag}"'


def read_range(blob: BlobClient, offset: int, length: int, etag: str) -> bytes:
    """Return `length` bytes from `offset` of one version. Raises ResourceModifiedError for another."""
    download = blob.download_blob(
        offset, length, etag=etag, match_condition=MatchConditions.IfNotModified, max_concurrency=1
    )
    return b"".join(download.chunks())  # the bytes as they were read; readall() would copy them


def read_blob(blob: BlobClient, size_bytes: int, etag: str) -> Iterator[bytes]:
    """Yield the blob's bytes in blocks, all of one version. Raises ContentChanged when it is another or gone."""

    def fetch(offset: int) -> bytes:
        return read_range(blob, offset, min(BLOCK_BYTES, size_bytes - offset), etag)

    try:
        if size_bytes <= BLOCK_BYTES:
            yield fetch(0) if size_bytes else b""
            return
        with ThreadPoolExecutor(READ_AHEAD) as pool:
            ahead: deque[Future[bytes]] = deque()
            for offset in range(0, size_bytes, BLOCK_BYTES):
                ahead.append(pool.submit(fetch, offset))
                if len(ahead) > READ_AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
    except (ResourceModifiedError, ResourceNotFoundError):
        raise ContentChanged(
            "the raw file changed or vanished while it was being sealed",
            "plan a new revision of the batch: what was accepted for sealing is never mixed with something else",
        ) from None


class BlockWriter:
    """Stages blocks of one attempt at one blob; `commit` makes them the blob, unless another attempt was first."""

    def __init__(self, blob: BlobClient, attempt: str) -> None:
        self._blob = blob
        self._attempt = attempt
        self._blocks: list[BlobBlock] = []
        self._whole = b""

    def stage(self, pieces: Iterable[bytes]) -> None:
        """Stage all pieces, cut anew into equal blocks; a blob of one block waits for its commit."""
        blocks = _rechunk(pieces)
        first, second = next(blocks, b""), next(blocks, None)
        if second is None:
            self._whole = first
            return
        with ThreadPoolExecutor(WRITES_AT_ONCE) as pool:
            running: deque[Future[None]] = deque()
            for data in chain([first, second], blocks):
                block = BlobBlock(f"{self._attempt}-{len(self._blocks):08d}")
                self._blocks.append(block)
                running.append(pool.submit(self._stage_block, block, data))
                if len(running) > WRITES_AT_ONCE:
                    running.popleft().result()
            while running:
                running.popleft().result()

    def _stage_block(self, block: BlobBlock, data: bytes) -> None:
        self._blob.stage_block(block.id, data, length=len(data))

    def commit(self, metadata: dict[str, str]) -> bool:
        """Return whether this attempt's bytes became the blob: False means that another attempt's are there already."""
        try:
            if self._blocks:
                self._blob.commit_block_list(self._blocks, metadata=metadata, match_condition=MatchConditions.IfMissing)
            else:
                self._blob.upload_blob(self._whole, metadata=metadata, match_condition=MatchConditions.IfMissing)
        except (ResourceExistsError, ResourceModifiedError):
            return False
        return True


def _rechunk(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join pieces to blocks of equal size; every byte is copied once."""
    waiting: list[bytes | memoryview] = []
    room = BLOCK_BYTES
    for piece in pieces:
        rest = memoryview(piece)
        while len(rest) >= room:
            yield b"".join([*waiting, rest[:room]])
            rest, waiting, room = rest[room:], [], BLOCK_BYTES
        if rest:
            waiting.append(rest)
            room -= len(rest)
    if waiting:
        yield b"".join(waiting)
