"""Sources that changed, remains of others, two workers: only what is on record is published, once."""

from __future__ import annotations

import os
import threading

import pytest
from delivery_servers import Relay
from fault_sources import Server, big, content, found, small

from delivery import (
    BytesSource,
    MemoryJournal,
    Policy,
    Record,
    SourceChanged,
    deliver,
)


def test_a_source_that_changed_since_it_was_recorded_is_not_published(server: Server, policy: Policy) -> None:
    class Changed(BytesSource):
        def read(self, offset: int, length: int) -> bytes:
            return b"\0" * len(super().read(offset, length))

    with pytest.raises(SourceChanged, match="not those on record"):
        deliver([Changed("a.sealed", os.urandom(1000))], settings=server.settings(), policy=policy)

    assert "a.sealed" not in found(server)


def test_a_changed_source_stays_refused_however_often_it_is_tried(server: Server, relay: Relay, policy: Policy) -> None:
    # Also when a broken connection is between its two halves, and after a retry that finds all of it there.
    right = big(12 << 20)

    class Changed(BytesSource):
        range_bytes = 1 << 20

        def read(self, offset: int, length: int) -> bytes:
            return bytes(byte ^ 1 for byte in super().read(offset, min(length, 10))) + super().read(
                offset + 10, length - 10
            )

    source, journal = Changed(right.name, right.read(0, right.size)), MemoryJournal()
    relay.cut_after, relay.cuts = 6 << 20, 1

    for _ in range(3):
        with pytest.raises(SourceChanged, match="not those on record"):
            deliver([source], settings=server.settings(port=relay.port), policy=policy, journal=journal)

    assert relay.cuts == 0
    assert found(server) == {}


def test_a_source_that_became_shorter_is_not_published(server: Server, policy: Policy) -> None:
    class Cut(BytesSource):
        def read(self, offset: int, length: int) -> bytes:
            return super().read(offset, length)[:-1]

    with pytest.raises(SourceChanged, match="999 bytes at 0 instead of 1000"):
        deliver([Cut("a.sealed", os.urandom(1000))], settings=server.settings(), policy=policy)

    assert "a.sealed" not in found(server)


def test_another_file_left_behind_is_never_continued(server: Server, policy: Policy) -> None:
    # An earlier worker recorded progress, but the temporary file does not hold those bytes (any more).
    source, journal = big(4 << 20), MemoryJournal()
    temporary = server.files / policy.temporary.path("", source.name, source.sha256)
    temporary.write_bytes(bytes(2 << 20))
    journal.records[source.name] = Record(sha256=source.sha256, acknowledged=((0, 2 << 20),))

    deliver([source], settings=server.settings(), policy=policy, journal=journal)

    assert found(server) == content([source])


def test_two_workers_at_once_leave_one_copy(server: Server, policy: Policy) -> None:
    sources = small(150)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            deliver(sources, settings=server.settings(), policy=policy)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert failures == []
    assert found(server) == content(sources)
