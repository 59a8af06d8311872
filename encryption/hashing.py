"""SHA-256 beside sealing: in the caller's thread for small files, in one of its own for large ones.

The hash of a file costs several times what AES costs, on every CPU that has AES instructions.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from typing import Final

# Measured: smaller batches wake the threads too often; more that waits falls out of the caches and makes the heap breathe.
HASH_BATCH_BYTES: Final = 512 * 1024
MOST_WAITING: Final = 2


class InlineHash:
    """SHA-256 in the caller's thread."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.update = self._hash.update
        self.hexdigest = self._hash.hexdigest

    def close(self) -> None:
        """Nothing to stop."""


class ThreadedHash:
    """SHA-256 in a thread of its own, a megabyte or so behind; hashlib lets the others run while it works.

    Pieces are handed over in batches: waking a thread for each would cost more than it saves.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._batch: list[bytes | memoryview] = []
        self._batch_bytes = 0
        self._waiting: queue.Queue[list[bytes | memoryview]] = queue.Queue(maxsize=MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="sealift-sha256", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while batch := self._waiting.get():
            for piece in batch:
                self._hash.update(piece)

    def update(self, piece: bytes | memoryview) -> None:
        """Take a piece that nobody changes any more."""
        self._batch.append(piece)
        self._batch_bytes += len(piece)
        if self._batch_bytes >= HASH_BATCH_BYTES:
            self._waiting.put(self._batch)
            self._batch, self._batch_bytes = [], 0

    def hexdigest(self) -> str:
        """Wait for what is left, end the thread and return the hash."""
        if self._batch:
            self._waiting.put(self._batch)
        self.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread: an empty batch makes it end."""
        if self._thread.is_alive():
            self._waiting.put([])
            self._thread.join()
