from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from local.sftp import PartnerSftp, SftpFaults

KEY = rsa.generate_private_key(public_exponent=65537, key_size=3072)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartnerSftp]:
    with PartnerSftp(tmp_path_factory.mktemp("sftp"), user="northwind", password="secret") as running:
        running.add_key(KEY.public_key())
        (running.root / "inbox").mkdir()
        yield running


@pytest.fixture(autouse=True)
def no_faults(server: PartnerSftp) -> Iterator[None]:
    yield
    server.set_faults(None)


@contextmanager
def connected(server: PartnerSftp, **login: object) -> Iterator[paramiko.SFTPClient]:
    with paramiko.SSHClient() as client:
        blob = base64.b64decode(server.host_key_line.split()[1])
        client.get_host_keys().add(f"[{server.host}]:{server.port}", "ssh-rsa", paramiko.RSAKey(data=blob))
        how = login or {"pkey": paramiko.RSAKey(key=KEY)}
        client.connect(server.host, server.port, "northwind", allow_agent=False, look_for_keys=False, **how)  # type: ignore[arg-type]
        with client.open_sftp() as files:
            yield files


def test_file_is_uploaded_renamed_and_logged(server: PartnerSftp) -> None:
    with connected(server) as files:
        files.putfo(io.BytesIO(b"x" * 100_000), "inbox/a.tmp")
        files.rename("inbox/a.tmp", "inbox/a")

    assert (server.root / "inbox" / "a").read_bytes() == b"x" * 100_000
    operations = [(entry["operation"], entry["path"], entry["status"]) for entry in server.operations()]
    assert operations[-4:] == [
        ("login", "", "ok"),
        ("open", "inbox/a.tmp", "ok"),
        ("close", "inbox/a.tmp", "ok"),
        ("rename", "inbox/a.tmp", "ok"),
    ]
    assert server.operations()[-2]["written_bytes"] == 100_000


def test_password_logs_in_where_it_is_asked_for(server: PartnerSftp) -> None:
    with connected(server, password="secret") as files:
        assert "inbox" in files.listdir("/")


def test_stranger_is_refused_and_logged(server: PartnerSftp) -> None:
    other = paramiko.RSAKey(key=rsa.generate_private_key(public_exponent=65537, key_size=3072))

    with pytest.raises(paramiko.AuthenticationException), connected(server, pkey=other):
        pass

    assert server.operations()[-1]["status"] == "refused"


def test_fingerprints_are_those_that_ssh_and_data_factory_show(server: PartnerSftp) -> None:
    key = paramiko.RSAKey(data=base64.b64decode(server.host_key_line.split()[1]))

    assert server.host_key_sha256 == key.fingerprint
    assert server.host_key_md5.replace(":", "").endswith(key.get_fingerprint().hex())


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "inbox/../../../etc/passwd"])
def test_nothing_above_the_root_is_reached(server: PartnerSftp, path: str) -> None:
    with connected(server) as files, pytest.raises(FileNotFoundError):
        files.open(path)


def test_links_are_refused(server: PartnerSftp) -> None:
    with connected(server) as files, pytest.raises(OSError, match="links are not offered"):
        files.symlink("/etc/passwd", "inbox/link")


def test_rename_over_an_existing_file_is_refused(server: PartnerSftp) -> None:
    with connected(server) as files:
        for name in ("inbox/first", "inbox/second"):
            files.putfo(io.BytesIO(b"1"), name)
        with pytest.raises(OSError, match="exists"):
            files.rename("inbox/first", "inbox/second")


def test_full_disk_takes_so_many_bytes_and_no_more(server: PartnerSftp) -> None:
    server.set_faults(SftpFaults(full_after_bytes=100_000))
    with connected(server) as files, pytest.raises(OSError, match="size mismatch"):
        files.putfo(io.BytesIO(b"x" * 1_000_000), "inbox/full")

    assert (server.root / "inbox" / "full").stat().st_size <= 100_000


def test_dropped_connection_comes_back_once(server: PartnerSftp) -> None:
    server.set_faults(SftpFaults(drop_after_bytes=100_000))
    with pytest.raises((paramiko.SSHException, OSError, EOFError)), connected(server) as files:
        files.putfo(io.BytesIO(b"x" * 1_000_000), "inbox/dropped")
    with connected(server) as files:
        files.putfo(io.BytesIO(b"x" * 1_000_000), "inbox/dropped")

    assert (server.root / "inbox" / "dropped").stat().st_size == 1_000_000


def test_read_only_server_refuses_to_write_and_still_lists(server: PartnerSftp) -> None:
    server.set_faults(SftpFaults(read_only=True))
    with connected(server) as files:
        with pytest.raises(PermissionError):
            files.putfo(io.BytesIO(b"1"), "inbox/read-only")
        files.listdir("inbox")


def test_refused_rename_leaves_the_temporary_file(server: PartnerSftp) -> None:
    server.set_faults(SftpFaults(refuse_rename=True))
    with connected(server) as files:
        files.putfo(io.BytesIO(b"1"), "inbox/b.tmp")
        with pytest.raises(PermissionError):
            files.rename("inbox/b.tmp", "inbox/b")
        assert "b.tmp" in files.listdir("inbox")


def test_rename_may_happen_and_be_denied(server: PartnerSftp) -> None:
    with connected(server) as files:
        files.putfo(io.BytesIO(b"1"), "inbox/c.tmp")
        server.set_faults(SftpFaults(rename_answers_error=True))
        with pytest.raises(OSError, match="Failure"):
            files.rename("inbox/c.tmp", "inbox/c")
        assert files.stat("inbox/c").st_size == 1


def test_swept_file_is_gone_from_the_folder_at_once(server: PartnerSftp) -> None:
    server.set_faults(SftpFaults(sweep=True))
    with connected(server) as files:
        files.putfo(io.BytesIO(b"swept"), "inbox/d.tmp")
        files.rename("inbox/d.tmp", "inbox/d")
        assert "d" not in files.listdir("inbox")

    assert [path.read_bytes() for path in server.swept.iterdir()] == [b"swept"]


def test_stalled_server_gives_no_answer(server: PartnerSftp) -> None:
    server.set_faults(SftpFaults(stall_after_bytes=0))
    with connected(server) as files:
        channel = files.get_channel()
        assert channel is not None
        channel.settimeout(0.5)
        file = files.open("inbox/stalled", "wb")
        with pytest.raises(TimeoutError):
            file.write(b"1")


def test_server_comes_back_on_the_same_port_with_the_same_key(tmp_path: Path) -> None:
    server = PartnerSftp(tmp_path).start()
    before = server.port, server.host_key_line
    server.stop()
    server.start()
    try:
        assert (server.port, server.host_key_line) == before
    finally:
        server.stop()


def test_server_starts_fast(tmp_path: Path) -> None:
    started = time.monotonic()
    with PartnerSftp(tmp_path):
        assert time.monotonic() - started < 15
