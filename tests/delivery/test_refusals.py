"""Servers that refuse a write or a rename: the delivery is red and names the cause, and nothing is half there."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from delivery_servers import AsyncSsh, OpenSsh, policy_for
from fault_sources import BIG, Counting, Server, big, content, found, small

from delivery import (
    BytesSource,
    FolderMissing,
    MemoryJournal,
    NameTaken,
    Policy,
    RemoteFull,
    RemoteReadOnly,
    RemoteRefused,
    RenameRefused,
    TemporaryName,
    Vanished,
    VerificationFailed,
    deliver,
)

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
    assert caught.value.outcomes  # what had arrived is reported


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


def test_a_hole_in_a_file_written_in_place_that_nobody_can_read_is_filled(asyncssh_server: AsyncSsh) -> None:
    source, journal = big(3_000_000), MemoryJournal()
    policy = policy_for(asyncssh_server, temporary=TemporaryName(kind="none"))
    asyncssh_server.faults.no_reading = True
    asyncssh_server.faults.refuse_write_at = 1_000_000
    with pytest.raises(RemoteRefused):
        deliver([source], settings=asyncssh_server.settings(), policy=policy, journal=journal)
    assert (asyncssh_server.files / source.name).stat().st_size == source.size, "its size says nothing"

    (outcome,) = deliver([source], settings=asyncssh_server.settings(), policy=policy, journal=journal)

    assert outcome.state == "sent"
    assert found(asyncssh_server) == content([source])


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
