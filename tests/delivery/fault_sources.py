"""Files to deliver to servers that misbehave, and what arrived of them."""

from __future__ import annotations

import os
import threading

from delivery_servers import AsyncSsh, OpenSsh

from delivery import (
    BytesSource,
)

Server = OpenSsh | AsyncSsh
BIG = 24 << 20


def small(count: int = 20, size: int = 20_000) -> list[BytesSource]:
    return [BytesSource(f"file-{number:04d}.sealed", os.urandom(size)) for number in range(count)]


def big(size: int = BIG) -> BytesSource:
    return BytesSource("big.sealed", os.urandom(size))


def found(server: Server) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in server.files.iterdir() if path.is_file()}


def content(sources: list[BytesSource]) -> dict[str, bytes]:
    return {source.name: source.read(0, source.size) for source in sources}


class Counting(BytesSource):
    """A source that counts how much of it was read."""

    def __init__(self, source: BytesSource) -> None:
        super().__init__(source.name, source.read(0, source.size))
        self.read_bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        self.read_bytes += length
        return super().read(offset, length)


class HeldBack(BytesSource):
    """Gives what is behind its first range only once `go_on` is set."""

    def __init__(self, source: BytesSource) -> None:
        super().__init__(source.name, source.read(0, source.size))
        self.go_on = threading.Event()

    def read(self, offset: int, length: int) -> bytes:
        if offset:
            assert self.go_on.wait(30)
        return super().read(offset, length)
