"""Many files and a huge one, with flat memory. Sources are made up as they are read, so nothing big is stored."""

from __future__ import annotations

import hashlib
import resource
import sys

import pytest
from delivery_servers import AsyncSsh, OpenSsh, policy_for

from delivery import BytesSource, deliver

Server = OpenSsh | AsyncSsh
GIB = 1 << 30


class Sparse:
    """A file of zeros with a mark at each MiB, of any size."""

    name = "huge.sealed"
    sha256 = ""

    def __init__(self, size: int) -> None:
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(length)
        first = -(-offset // (1 << 20)) << 20
        for mark in range(first, offset + length - 8, 1 << 20):
            data[mark - offset : mark - offset + 8] = mark.to_bytes(8, "big")
        return bytes(data)


def peak_mib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> (20 if sys.platform == "darwin" else 10)


@pytest.mark.parametrize("count", [pytest.param(1000), pytest.param(5000, marks=pytest.mark.slow)])
def test_thousands_of_small_files_arrive(openssh_server: OpenSsh, count: int) -> None:
    sources = [
        BytesSource(f"f{number:05d}", hashlib.sha512(str(number).encode()).digest() * 20) for number in range(count)
    ]

    outcomes = deliver(
        sources, [BytesSource("manifest", b"{}")], settings=openssh_server.settings(), policy=policy_for(openssh_server)
    )

    assert len(outcomes) == count + 1
    arrived = {path.name: path.read_bytes() for path in openssh_server.files.iterdir()}
    assert arrived.pop("manifest") == b"{}"
    assert arrived == {source.name: source.read(0, source.size) for source in sources}


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("gib", [pytest.param(0.25), pytest.param(5, marks=pytest.mark.slow)])
def test_a_huge_file_needs_no_memory_of_its_size(openssh_server: OpenSsh, gib: float, connections: int) -> None:
    source = Sparse(int(gib * GIB))
    deliver([BytesSource("warm", b"up")], settings=openssh_server.settings(), policy=policy_for(openssh_server))
    before = peak_mib()

    deliver([source], settings=openssh_server.settings(), policy=policy_for(openssh_server, connections=connections))

    assert peak_mib() - before < 160
    path = openssh_server.files / source.name
    assert path.stat().st_size == source.size
    with path.open("rb") as file:
        for at in range(0, source.size, 8 << 20):
            assert file.read(8 << 20) == source.read(at, min(8 << 20, source.size - at))
    path.unlink()
