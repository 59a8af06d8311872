"""What a partner finds after a delivery that met no fault."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncssh
import pytest
from delivery_servers import AsyncSsh, OpenSsh, policy_for

from delivery import (
    BytesSource,
    FileSource,
    MemoryJournal,
    NameTaken,
    Policy,
    TemporaryName,
    Unusable,
    VerificationFailed,
    deliver,
    wire,
)

Server = OpenSsh | AsyncSsh
SIZES = [0, 1, 32_767, 32_768, 228_899, 228_900, 1 << 20, (8 << 20) + 1]


def made(count: int, size: int = 5000) -> list[BytesSource]:
    return [BytesSource(f"file-{number:04d}.sealed", os.urandom(size)) for number in range(count)]


def found(server: Server) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in server.files.iterdir()}


def content(sources: list[BytesSource]) -> dict[str, bytes]:
    return {source.name: source.read(0, source.size) for source in sources}


def test_every_size_arrives_whole_under_its_final_name(server: Server, policy: Policy) -> None:
    sources = [BytesSource(f"{size}.sealed", os.urandom(size)) for size in SIZES]

    outcomes = deliver(sources, settings=server.settings(), policy=policy)

    assert found(server) == content(sources)
    assert [outcome.state for outcome in outcomes] == ["sent"] * len(SIZES)


def test_a_second_delivery_sends_nothing(server: Server, policy: Policy) -> None:
    sources = made(20)
    deliver(sources, settings=server.settings(), policy=policy)
    before = {path.name: path.stat().st_mtime_ns for path in server.files.iterdir()}

    outcomes = deliver(sources, settings=server.settings(), policy=policy)

    assert {outcome.state for outcome in outcomes} == {"already there"}
    assert {outcome.verified for outcome in outcomes} == {"sample"}
    assert {path.name: path.stat().st_mtime_ns for path in server.files.iterdir()} == before


def test_last_files_are_published_after_all_others_and_in_order(asyncssh_server: AsyncSsh) -> None:
    manifest = [BytesSource("keys.json", b"{}"), BytesSource("manifest.sig", b"x"), BytesSource("manifest.json", b"{}")]

    deliver(made(50), manifest, settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server))

    assert asyncssh_server.renamed[-3:] == ["/keys.json", "/manifest.sig", "/manifest.json"]
    assert len(asyncssh_server.renamed) == 53


def test_another_file_under_the_name_is_never_overwritten(server: Server, policy: Policy) -> None:
    (server.files / "file-0000.sealed").write_bytes(b"somebody else's")

    with pytest.raises(NameTaken, match="another file of 15 bytes") as caught:
        deliver(made(1), [BytesSource("manifest", b"x")], settings=server.settings(), policy=policy)

    assert found(server) == {"file-0000.sealed": b"somebody else's"}
    assert caught.value.status == 409


def test_another_file_of_the_same_size_is_told_apart(server: Server, policy: Policy) -> None:
    (server.files / "file-0000.sealed").write_bytes(b"z" * 5000)

    with pytest.raises(NameTaken):
        deliver(made(1), settings=server.settings(), policy=policy)


def test_replacing_puts_ours_in_its_place(server: Server) -> None:
    sources = made(1)
    (server.files / "file-0000.sealed").write_bytes(b"an older revision")

    deliver(sources, settings=server.settings(), policy=policy_for(server, overwrite="replace"))

    assert found(server) == content(sources)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (TemporaryName(), "/f.sealed.TAG.part"),
        (TemporaryName(text=".partial", tagged=False), "/f.sealed.partial"),
        (TemporaryName(kind="prefix", text="."), "/.f.sealed.TAG"),
        (TemporaryName(kind="folder", text="incoming"), "/incoming/f.sealed.TAG"),
        (TemporaryName(kind="none"), "/f.sealed"),
    ],
)
def test_the_temporary_name_follows_the_rule(asyncssh_server: AsyncSsh, rule: TemporaryName, expected: str) -> None:
    source = BytesSource("f.sealed", b"data")
    (asyncssh_server.files / "incoming").mkdir()

    (outcome,) = deliver(
        [source], settings=asyncssh_server.settings(), policy=policy_for(asyncssh_server, temporary=rule)
    )

    expected = expected.replace("TAG", source.sha256[:12])
    assert asyncssh_server.opened == [expected]
    assert outcome.temporary_name == ("" if rule.kind == "none" else expected)
    assert (asyncssh_server.files / "f.sealed").read_bytes() == b"data"


def test_reading_back_proves_every_byte(server: Server) -> None:
    sources = [BytesSource("a", os.urandom(3 << 20)), BytesSource("b", b"")]

    outcomes = deliver(sources, settings=server.settings(), policy=policy_for(server, verify="hash"))

    assert {outcome.verified for outcome in outcomes} == {"hash"}


@pytest.fixture(params=[b"", b"check-file"])
def hashing_server(
    request: pytest.FixtureRequest, asyncssh_server: AsyncSsh, monkeypatch: pytest.MonkeyPatch
) -> AsyncSsh:
    """Teach asyncssh the extension check-file, in both forms of answer that servers give."""

    async def check_file(handler: Any, packet: Any) -> Any:
        path, algorithms = packet.get_string(), packet.get_string()
        packet.get_uint64(), packet.get_uint64(), packet.get_uint32()
        assert algorithms == b"sha256"
        asyncssh_server.hashed.append(path.decode())
        digest = hashlib.sha256(Path(os.fsdecode(handler._server.map_path(path))).read_bytes()).digest()
        answer = (wire.blob(request.param) if request.param else b"") + wire.blob(b"sha256") + digest
        return SimpleNamespace(encode=lambda _version: answer)

    kind = asyncssh.sftp.SFTPServerHandler
    monkeypatch.setitem(kind._packet_handlers, b"check-file-name", check_file)
    monkeypatch.setitem(kind._return_types, b"check-file-name", asyncssh.constants.FXP_EXTENDED_REPLY)
    monkeypatch.setattr(kind, "_extensions", [*kind._extensions, (b"check-file", b"sha256")])
    return asyncssh_server


def test_a_server_that_hashes_is_asked_instead_of_read(hashing_server: AsyncSsh) -> None:
    hashing_server.faults.no_reading = True
    sources = made(3)

    outcomes = deliver(sources, settings=hashing_server.settings(), policy=policy_for(hashing_server, verify="hash"))

    assert {outcome.verified for outcome in outcomes} == {"hash"}
    assert len(hashing_server.hashed) == 3
    assert found(hashing_server) == content(sources)


def test_a_hash_of_the_server_that_differs_is_a_failure(hashing_server: AsyncSsh) -> None:
    hashing_server.faults.no_reading = True
    hashing_server.faults.flip_byte_at = 7

    with pytest.raises(VerificationFailed, match="other bytes"):
        deliver(made(1), settings=hashing_server.settings(), policy=policy_for(hashing_server, verify="hash"))


def test_permissions_and_markers_are_set(server: Server) -> None:
    deliver(made(2), settings=server.settings(), policy=policy_for(server, permissions=0o640, marker=".ok"))

    assert sorted(found(server)) == [
        "file-0000.sealed",
        "file-0000.sealed.ok",
        "file-0001.sealed",
        "file-0001.sealed.ok",
    ]
    assert (server.files / "file-0000.sealed").stat().st_mode & 0o777 == 0o640
    assert (server.files / "file-0000.sealed.ok").stat().st_size == 0


def test_a_file_on_disk_is_streamed(server: Server, policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(40 << 20))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    deliver([FileSource(path, sha256=digest)], settings=server.settings(), policy=policy)

    assert hashlib.sha256((server.files / "big").read_bytes()).hexdigest() == digest


def test_a_big_file_is_split_over_connections(server: Server) -> None:
    source = BytesSource("big", os.urandom(50 << 20))
    policy = policy_for(server, connections=4, split_bytes=1 << 20, verify="hash", permissions=0o600)

    (outcome,) = deliver([source], settings=server.settings(), policy=policy)

    assert outcome.verified == "hash"
    assert found(server) == content([source])


def test_what_the_record_calls_sent_is_not_sent_again(asyncssh_server: AsyncSsh) -> None:
    journal, sources = MemoryJournal(), made(3)
    settings, policy = asyncssh_server.settings(), policy_for(asyncssh_server)
    deliver(sources, settings=settings, policy=policy, journal=journal)
    for path in asyncssh_server.files.iterdir():
        path.unlink()  # the partner took them

    outcomes = deliver(sources, settings=settings, policy=policy, journal=journal)

    assert {outcome.verified for outcome in outcomes} == {"record"}
    assert found(asyncssh_server) == {}


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\0b"])
def test_names_that_leave_the_folder_are_refused(asyncssh_server: AsyncSsh, name: str) -> None:
    with pytest.raises(Unusable):
        deliver([BytesSource(name, b"")], settings=asyncssh_server.settings(), policy=Policy())


def test_a_name_that_comes_twice_is_refused(asyncssh_server: AsyncSsh) -> None:
    with pytest.raises(Unusable, match="two files"):
        deliver([BytesSource("a", b""), BytesSource("a", b"")], settings=asyncssh_server.settings(), policy=Policy())


def test_names_in_any_script_arrive(server: Server, policy: Policy) -> None:
    sources = [BytesSource("Prüfung 漢字.sealed", b"1")]

    deliver(sources, settings=server.settings(), policy=policy)

    assert found(server) == content(sources)
