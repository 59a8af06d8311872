"""Partners that take files away at once: each is delivered once, and what vanished otherwise is red."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from delivery_servers import AsyncSsh, OpenSsh, policy_for
from fault_sources import Server, content, found, small

from delivery import (
    BytesSource,
    FolderMissing,
    MemoryJournal,
    Policy,
    Record,
    TemporaryName,
    Vanished,
    deliver,
)


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
