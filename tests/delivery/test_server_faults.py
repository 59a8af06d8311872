"""In the end each file is there once, whole, under its final name, or the delivery is red and names the cause."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from delivery_servers import AsyncSsh, OpenSsh, Relay, policy_for, wait_until

from delivery import (
    BytesSource,
    DeadlinePassed,
    DeliveryError,
    FolderMissing,
    MemoryJournal,
    NameTaken,
    Policy,
    Record,
    RemoteFull,
    RemoteReadOnly,
    RemoteRefused,
    RenameRefused,
    SourceChanged,
    Stalled,
    TemporaryName,
    Unreachable,
    Vanished,
    VerificationFailed,
    deliver,
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
    """A source that tells how much of it was read."""

    def __init__(self, source: BytesSource) -> None:
        super().__init__(source.name, source.read(0, source.size))
        self.read_bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        self.read_bytes += length
        return super().read(offset, length)


# --- dropped, stalled, killed ---


def test_a_dropped_connection_is_taken_up_where_it_stopped(server: Server, relay: Relay, policy: Policy) -> None:
    source = Counting(big())
    relay.cut_after, relay.cuts = BIG // 2 + 1000, 1

    deliver([source], settings=server.settings(port=relay.port), policy=policy)

    assert found(server) == content([source])
    assert relay.accepted == 2
    assert relay.from_client < BIG * 1.4  # a restart would send half of it twice


def test_many_drops_end_in_one_whole_file(server: Server, relay: Relay, policy: Policy) -> None:
    source = big()
    relay.cut_after = 6 << 20

    deliver([source], settings=server.settings(port=relay.port), policy=policy)

    assert found(server) == content([source])
    assert relay.accepted >= 4


def test_many_small_files_survive_drops(server: Server, relay: Relay, policy: Policy) -> None:
    sources, last = small(300), [BytesSource("manifest.json", b"{}")]
    relay.cut_after, relay.cuts = 1_500_000, 8

    outcomes = deliver(sources, last, settings=server.settings(port=relay.port), policy=policy)

    assert found(server) == content([*sources, *last])
    assert len(outcomes) == 301
    assert relay.cuts < 8


def test_a_server_that_drops_every_connection_at_once_is_given_up(server: Server, relay: Relay, policy: Policy) -> None:
    relay.cut_after = 0
    waits: list[float] = []

    with pytest.raises(DeliveryError) as caught:
        deliver(small(1), settings=server.settings(port=relay.port), policy=policy, sleep=waits.append)

    assert caught.value.transient
    assert len(waits) == policy.attempts - 1
    assert waits[-1] > waits[0]  # back-off
    assert found(server) == {}


def test_a_stalled_connection_is_cut_and_taken_up(server: Server, relay: Relay, policy: Policy) -> None:
    source = big()
    relay.stall_after = BIG // 3

    def unstall(_: float) -> None:
        relay.stall_after = None

    began = time.monotonic()
    deliver([source], settings=server.settings(port=relay.port, stall_seconds=0.5), policy=policy, sleep=unstall)

    assert found(server) == content([source])
    assert time.monotonic() - began < 60


def test_a_server_that_stops_reading_is_a_stall(openssh_server: OpenSsh) -> None:
    # SIGSTOP fills the TCP buffers: the case that no timeout of the channel covers.
    stopped: list[int] = []

    def stop_once_it_runs() -> None:
        wait_until(lambda: bool(found(openssh_server)))
        for pid in subprocess.run(
            ["pgrep", "-f", f"sshd: {openssh_server.user}"], capture_output=True, text=True
        ).stdout.split():
            if int(pid) in descendants(openssh_server):
                os.kill(int(pid), signal.SIGSTOP)
                stopped.append(int(pid))

    stopper = threading.Thread(target=stop_once_it_runs)
    stopper.start()
    try:
        with pytest.raises(Stalled):
            deliver(
                [big(400 << 20)],
                settings=openssh_server.settings(stall_seconds=1.0, connect_seconds=3.0),
                policy=policy_for(openssh_server, attempts=1),
            )
    finally:
        stopper.join()
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)
    assert stopped
    assert "big.sealed" not in found(openssh_server)


def descendants(server: OpenSsh) -> set[int]:
    todo, seen = server.sessions(), set()
    while todo:
        pid = todo.pop()
        seen.add(pid)
        listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
        todo += [int(line) for line in listed.split()]
    return seen


def test_a_server_that_is_restarted_gets_the_rest(server: Server, relay: Relay, policy: Policy) -> None:
    source = big()
    relay.cut_after, relay.cuts = BIG // 2, 1

    def restart(_: float) -> None:
        server.stop()
        server.start()

    deliver([source], settings=server.settings(port=relay.port), policy=policy, sleep=restart)

    assert found(server) == content([source])


def test_the_deadline_ends_a_slow_delivery(server: Server, relay: Relay) -> None:
    relay.stall_after = 1 << 20
    began = time.monotonic()

    with pytest.raises(DeadlinePassed) as caught:
        deliver(
            [big()],
            settings=server.settings(port=relay.port),
            policy=policy_for(server, deadline_seconds=1.0),
        )

    assert time.monotonic() - began < 30
    assert caught.value.status == 504


def test_a_host_that_comes_back_in_time_is_served(server: Server, policy: Policy) -> None:
    server.stop()
    sources = small(3)

    def start(_: float) -> None:
        server.start()

    deliver(sources, settings=server.settings(), policy=policy, sleep=start)

    assert found(server) == content(sources)


def test_a_host_that_stays_away_is_unreachable(server: Server, policy: Policy) -> None:
    settings = server.settings()
    server.stop()

    with pytest.raises(Unreachable):
        deliver(small(1), settings=settings, policy=policy, sleep=lambda _: None)

    server.start()


# --- refusals ---


def test_a_full_disk_is_named_and_later_continued(asyncssh_server: AsyncSsh) -> None:
    source = Counting(big())
    journal = MemoryJournal()
    asyncssh_server.faults.full_after = BIG // 2
    policy = policy_for(asyncssh_server)

    with pytest.raises(RemoteFull) as caught:
        deliver(
            [source],
            [BytesSource("manifest", b"")],
            settings=asyncssh_server.settings(),
            policy=policy,
            journal=journal,
        )

    assert caught.value.status == 507
    assert "big.sealed" not in found(asyncssh_server)
    assert "manifest" not in found(asyncssh_server)

    asyncssh_server.faults.full_after, asyncssh_server.written = None, 0
    deliver([source], settings=asyncssh_server.settings(), policy=policy, journal=journal)

    assert found(asyncssh_server) == content([source])
    assert asyncssh_server.written < BIG * 0.7


def test_a_quota_is_a_full_disk(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.full_after, asyncssh_server.faults.quota = 0, True

    with pytest.raises(RemoteFull, match="quota"):
        deliver(small(1), settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))


@pytest.fixture
def tiny_disk(openssh_server: OpenSsh) -> Iterator[Path]:
    """A file system of 8 MiB under the folder of a real sshd, which only root can make."""
    disk = openssh_server.files / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_really_full_disk_is_named(openssh_server: OpenSsh, tiny_disk: Path) -> None:
    # OpenSSH says no more than "Failure": the cause comes from statvfs.
    with pytest.raises(RemoteFull, match="bytes are free"):
        deliver([big()], settings=openssh_server.settings(), policy=policy_for(openssh_server, folder=str(tiny_disk)))

    assert not (tiny_disk / "big.sealed").exists()


def test_a_file_system_mounted_read_only_is_named(openssh_server: OpenSsh, tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)

    with pytest.raises(RemoteReadOnly):
        deliver(small(1), settings=openssh_server.settings(), policy=policy_for(openssh_server, folder=str(tiny_disk)))


def test_a_folder_without_the_right_to_write_is_named(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.read_only = True

    with pytest.raises(RemoteReadOnly, match="cannot create"):
        deliver(small(3), settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))


def test_a_missing_folder_is_named(server: Server, policy: Policy) -> None:
    with pytest.raises(FolderMissing, match="no such file"):
        deliver(small(1), settings=server.settings(), policy=policy_for(server, folder=policy.folder + "/gone"))


def test_a_folder_renamed_under_way_turns_the_delivery_red(server: Server, policy: Policy) -> None:
    folder = server.files / "in"
    folder.mkdir()
    sources, last = small(200), [BytesSource("manifest.json", b"{}")]
    moved = threading.Event()

    def move(_: object) -> None:
        if not moved.is_set():
            folder.rename(server.files / "elsewhere")
            moved.set()

    with pytest.raises((FolderMissing, RenameRefused, Vanished)) as caught:
        deliver(
            sources,
            last,
            settings=server.settings(),
            policy=policy_for(server, folder=policy.folder + "/in"),
            on_outcome=move,
        )

    assert not folder.exists()
    assert not (server.files / "elsewhere" / "manifest.json").exists()
    assert caught.value.outcomes  # what had arrived is told


def test_a_refused_write_leaves_no_file(asyncssh_server: AsyncSsh) -> None:
    # paramiko's own putfo() reports success here, with the right size and a hole in the file.
    asyncssh_server.faults.refuse_write_at = 1 << 20

    with pytest.raises(RemoteRefused, match="write refused"):
        deliver([big(3 << 20)], settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))

    assert "big.sealed" not in found(asyncssh_server)


def test_writes_that_are_lost_are_noticed(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.lose_writes = True

    with pytest.raises(VerificationFailed, match="the server shows 0 bytes"):
        deliver([big(1 << 20)], settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))

    assert "big.sealed" not in found(asyncssh_server)


def test_a_flipped_bit_is_noticed_when_reading_back(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.flip_byte_at = 777_777

    with pytest.raises(VerificationFailed, match="other bytes than were sent"):
        deliver([big(1 << 20)], settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server, verify="hash"))

    assert found(asyncssh_server) == {}


def test_a_server_that_lets_nobody_read_is_served_by_size(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.no_reading = True
    sources = small(3)
    settings, policy = asyncssh_server.settings(), policy_for(asyncssh_server)

    deliver(sources, settings=settings, policy=policy)
    again = deliver(sources, settings=settings, policy=policy)

    assert {(outcome.state, outcome.verified) for outcome in again} == {("already there", "size")}
    with pytest.raises(VerificationFailed, match="lets us read it back"):
        deliver([big(1000)], settings=settings, policy=policy_for(asyncssh_server, verify="hash"))


def test_answers_out_of_order_are_matched(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.scramble = True
    sources = [*small(50), big(5 << 20)]

    deliver(sources, settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))

    assert found(asyncssh_server) == content(sources)


# --- renames ---


def test_a_refused_rename_is_named_and_leaves_the_temporary_file(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.refuse_rename = True

    with pytest.raises(RenameRefused, match="no renames here") as caught:
        deliver(small(1), settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))

    assert "temporary" in caught.value.hint
    assert len(found(asyncssh_server)) == 1
    assert "file-0000.sealed" not in found(asyncssh_server)


def test_without_renames_the_rule_none_delivers(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.refuse_rename = True
    sources = small(3)

    deliver(
        sources,
        settings=asyncssh_server.settings(),
        policy=policy_for(asyncssh_server, temporary=TemporaryName(kind="none")),
    )

    assert found(asyncssh_server) == content(sources)


def test_a_rename_that_says_failure_but_happened_is_a_delivery(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.rename_says_failure = True
    sources = small(20)

    outcomes = deliver(sources, settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))

    assert {outcome.state for outcome in outcomes} == {"sent"}
    assert found(asyncssh_server) == content(sources)


def test_a_connection_lost_at_the_rename_delivers_once(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.drop_at_rename = True
    sources = small(5)

    deliver(sources, settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))

    assert found(asyncssh_server) == content(sources)
    assert sorted(asyncssh_server.renamed) == sorted(set(asyncssh_server.renamed))


def test_a_name_taken_under_way_is_not_overwritten(server: Server, policy: Policy) -> None:
    source = big(4 << 20)

    class Late(BytesSource):
        def read(self, offset: int, length: int) -> bytes:
            (server.files / "big.sealed").write_bytes(b"somebody was faster")
            return super().read(offset, length)

    with pytest.raises(NameTaken, match="took this name meanwhile"):
        deliver([Late("big.sealed", source.read(0, source.size))], settings=server.settings(), policy=policy)

    assert found(server)["big.sealed"] == b"somebody was faster"


def test_replacing_works_without_posix_rename(asyncssh_server: AsyncSsh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delivery.session.Session.offers", lambda _, name: not name.startswith("posix-rename"))
    (asyncssh_server.files / "file-0000.sealed").write_bytes(b"old")
    sources = small(1)

    deliver(sources, settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server, overwrite="replace"))

    assert found(asyncssh_server) == content(sources)


# --- servers that take files away ---


def test_a_swept_file_is_delivered_once_when_the_policy_says_so(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.sweep = True
    sources = small(100)

    outcomes = deliver(
        sources,
        [BytesSource("manifest", b"{}")],
        settings=asyncssh_server.settings(),
        policy=policy_for(asyncssh_server, confirm=False),
    )

    assert len(outcomes) == 101
    taken = sorted(path.name.split("-", 1)[1] for path in asyncssh_server.swept.iterdir())
    assert taken == sorted([*(source.name for source in sources), "manifest"])


def test_a_vanished_file_is_red_when_the_policy_does_not_say_so(asyncssh_server: AsyncSsh) -> None:
    asyncssh_server.faults.sweep = True

    with pytest.raises(Vanished) as caught:
        deliver(small(1), settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))

    assert "confirm: false" in caught.value.hint


def test_swept_and_dropped_at_the_rename_is_still_one_delivery(asyncssh_server: AsyncSsh) -> None:
    faults = asyncssh_server.faults
    faults.sweep = faults.drop_at_rename = True
    sources = small(10)

    deliver(sources, settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server, confirm=False))

    taken = sorted(path.name.split("-", 1)[1] for path in asyncssh_server.swept.iterdir())
    assert taken == [source.name for source in sources]


def test_swept_and_answered_with_an_error_is_a_delivery(asyncssh_server: AsyncSsh) -> None:
    faults = asyncssh_server.faults
    faults.sweep = faults.rename_says_failure = True

    (outcome,) = deliver(
        small(1), settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server, confirm=False)
    )

    assert outcome.state == "sent"


def test_a_sweeper_beside_a_real_sshd_gets_each_file_once(openssh_server: OpenSsh, tmp_path: Path) -> None:
    swept, stop = tmp_path / "swept", threading.Event()
    swept.mkdir()
    taken: list[str] = []

    def sweep() -> None:
        while not stop.is_set():
            for path in openssh_server.files.glob("*.sealed"):
                shutil.move(path, swept / f"{len(taken)}-{path.name}")
                taken.append(path.name)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    sources = small(300)
    try:
        deliver(sources, settings=openssh_server.settings(), policy=policy_for(openssh_server, confirm=False))
    finally:
        stop.set()
        sweeper.join()

    assert sorted([*taken, *found(openssh_server)]) == [source.name for source in sources]


def test_a_file_taken_while_written_in_place_is_recorded_before_it_is_closed(asyncssh_server: AsyncSsh) -> None:
    journal = MemoryJournal()
    intended: list[bool] = []
    keep = journal.keep

    def look(records: dict[str, Record]) -> None:
        intended.extend(record.intended and not record.sent for record in records.values())
        keep(records)

    journal.keep = look  # type: ignore[method-assign]
    policy = policy_for(asyncssh_server, temporary=TemporaryName(kind="none"), confirm=False)
    sources = small(1)
    deliver(sources, settings=asyncssh_server.settings(), policy=policy, journal=journal)
    (asyncssh_server.files / "file-0000.sealed").unlink()
    journal.records = {name: Record(sha256=record.sha256, intended=True) for name, record in journal.records.items()}

    (outcome,) = deliver(sources, settings=asyncssh_server.settings(), policy=policy, journal=journal)

    assert intended[0]
    assert outcome.state == "sent"
    assert found(asyncssh_server) == {}


def test_a_folder_renamed_beside_a_sweeper_is_no_delivery(server: Server, policy: Policy) -> None:
    # Both names are gone here too, but because the folder is: that must never count as "taken".
    folder = server.files / "in"
    folder.mkdir()

    class Moving(MemoryJournal):
        def keep(self, records: dict[str, Record]) -> None:
            super().keep(records)
            if folder.exists():
                folder.rename(server.files / "elsewhere")

    with pytest.raises(FolderMissing, match="is gone"):
        deliver(
            small(1),
            settings=server.settings(),
            policy=policy_for(server, folder=policy.folder.rstrip("/") + "/in", confirm=False),
            journal=Moving(),
        )


def test_a_temporary_file_that_was_cleaned_away_is_no_delivery(server: Server, policy: Policy) -> None:
    journal = MemoryJournal()
    keep = journal.keep

    def clean(records: dict[str, Record]) -> None:
        keep(records)
        for path in server.files.glob("*.part"):
            path.unlink()

    journal.keep = clean  # type: ignore[method-assign]
    sources = small(1)
    sweeps = policy_for(server, confirm=False)

    with pytest.raises(Vanished, match="gone before it could be renamed"):
        deliver(sources, settings=server.settings(), policy=sweeps, journal=journal)

    journal.keep = keep  # type: ignore[method-assign]
    (outcome,) = deliver(sources, settings=server.settings(), policy=sweeps, journal=journal)
    assert outcome.state == "sent"
    assert found(server) == content(sources)


# --- limits ---


def test_a_server_that_limits_connections_gets_fewer(server: Server, relay: Relay) -> None:
    relay.most_connections = 2
    source = big(60 << 20)

    deliver(
        [source],
        settings=server.settings(port=relay.port),
        policy=policy_for(server, connections=6, split_bytes=1 << 20),
    )

    assert found(server) == content([source])


def test_a_server_with_no_connection_left_is_busy_until_one_is_free(
    server: Server, relay: Relay, policy: Policy
) -> None:
    relay.most_connections = 0
    sources, waits = small(2), []

    def free(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            relay.most_connections = 1

    deliver(sources, settings=server.settings(port=relay.port), policy=policy, sleep=free)

    assert found(server) == content(sources)
    assert len(waits) == 3


def test_the_limit_of_a_real_sshd_is_respected(tmp_path: Path, openssh_server: OpenSsh) -> None:
    openssh_server.stop()
    openssh_server.more = "MaxStartups 1:100:1\nMaxSessions 1"
    openssh_server.start()
    source = big(60 << 20)

    deliver(
        [source],
        settings=openssh_server.settings(),
        policy=policy_for(openssh_server, connections=8, split_bytes=1 << 20),
    )

    assert found(openssh_server) == content([source])


def test_helpers_that_break_only_make_it_slower(server: Server, relay: Relay) -> None:
    relay.cut_after = 20 << 20
    source = big(100 << 20)
    policy = policy_for(server, connections=4, split_bytes=1 << 20, verify="hash")

    (outcome,) = deliver([source], settings=server.settings(port=relay.port), policy=policy)

    assert outcome.verified == "hash"
    assert found(server) == content([source])


# --- ourselves ---


def test_a_source_that_changed_since_it_was_recorded_is_not_published(server: Server, policy: Policy) -> None:
    class Changed(BytesSource):
        def read(self, offset: int, length: int) -> bytes:
            return b"\0" * len(super().read(offset, length))

    with pytest.raises(SourceChanged, match="not those on record"):
        deliver([Changed("a.sealed", os.urandom(1000))], settings=server.settings(), policy=policy)

    assert "a.sealed" not in found(server)


def test_a_changed_source_stays_refused_however_often_it_is_tried(server: Server, relay: Relay, policy: Policy) -> None:
    # Also when a broken connection lies between its two halves, and after a retry that finds all of it there.
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
