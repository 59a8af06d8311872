"""The partner's side in the delivery tests: OpenSSH's sshd, an asyncssh server with faults, and a relay between."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import selectors
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import asyncssh
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from delivery import ConnectionSettings, Policy

SSHD = shutil.which("sshd") or next(
    (path for path in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if Path(path).exists()), None
)


def make_key() -> tuple[str, str]:
    """Return a private key (OpenSSH text) and its public line."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, public.decode()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class OpenSsh:
    """A real sshd on a free port; `files` is the folder that tests deliver into (an absolute path: no chroot)."""

    name = "openssh"

    def __init__(self, folder: Path, *, more: str = "", user_key: tuple[str, str] | None = None) -> None:
        assert SSHD is not None
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir(parents=True)
        self.port = free_port()
        self.user = os.environ.get("USER") or "root"
        with contextlib.suppress(ImportError):
            import pwd

            self.user = pwd.getpwuid(os.getuid()).pw_name
        self.private_key, public = user_key or make_key()
        self.has_sftp = True
        self.more = more
        (folder / "authorized_keys").write_text(public + "\n")
        (folder / "authorized_keys").chmod(0o600)
        self.new_host_key()
        self._process: subprocess.Popen[bytes] | None = None

    def new_host_key(self) -> None:
        private, self.host_key = make_key()
        path = self.folder / "host_key"
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_text(private)

    def start(self) -> Self:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where sshd separates its privileges
        config = self.folder / "sshd_config"
        lines = [
            f"ListenAddress 127.0.0.1:{self.port}",
            f"HostKey {self.folder}/host_key",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "LogLevel DEBUG",
            "Subsystem sftp internal-sftp" if self.has_sftp else "",
            self.more or "MaxStartups 100",
        ]
        config.write_text("\n".join(lines) + "\n")
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(SSHD), "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=log
            )
        wait_until(self._answers)
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "sshd.log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def sessions(self) -> list[int]:
        """Processes that serve a connection."""
        assert self._process is not None
        found = subprocess.run(["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True)
        return [int(line) for line in found.stdout.split()]

    def drop_connections(self) -> None:
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None:
            self.drop_connections()
            self._process.terminate()
            self._process.wait()
            self._process = None

    def settings(self, **changes: Any) -> ConnectionSettings:
        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "host_keys": (self.host_key,),
            "private_key": self.private_key,
            "stall_seconds": 10.0,
        }
        return ConnectionSettings(**(values | changes))


@dataclass
class Faults:
    """What the asyncssh server does wrong, and when; a test changes it at any time."""

    read_only: bool = False
    full_after: int | None = None
    quota: bool = False
    drop_after: int | None = None
    drops: int = 1
    stall_after: int | None = None
    refuse_write_at: int | None = None
    lose_writes: bool = False  # acknowledged, but not stored: the size comes out short
    flip_byte_at: int | None = None  # stored wrongly
    refuse_rename: bool = False
    rename_says_failure: bool = False  # although it was done
    drop_at_rename: bool = False
    sweep: bool = False
    no_reading: bool = False
    reject: bool = False  # renames what arrives to *_rejected
    scramble: bool = False  # answers out of order
    fstat_without_size: bool = False
    most_handles: int | None = None  # open files of one connection; one more is a bare "failure"
    drop_at_open: int | None = None  # the connection is cut at this many opens


class _Files(asyncssh.SFTPServer):
    def __init__(self, chan: Any, server: AsyncSsh) -> None:
        super().__init__(chan, chroot=os.fsencode(server.files))
        self._server = server
        self._opens = 0
        self._own: list[Any] = []

    @property
    def faults(self) -> Faults:
        return self._server.faults

    def open(self, path: bytes, pflags: int, attrs: Any) -> object:
        writes = bool(pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_CREAT))
        if writes and self.faults.read_only:
            raise asyncssh.SFTPPermissionDenied("read-only file system")
        if not writes and self.faults.no_reading:
            raise asyncssh.SFTPPermissionDenied("no reading here")
        self._opens += 1
        if self.faults.drop_at_open is not None and self._opens >= self.faults.drop_at_open:
            self.connection.abort()
        if self.faults.most_handles is not None and self._open_now() >= self.faults.most_handles:
            raise asyncssh.SFTPFailure("Failure")
        if writes:
            self._server.opened.append(path.decode())
        file = super().open(path, pflags, attrs)
        self._server.handles.append(file)
        self._own.append(file)
        return file

    def _open_now(self) -> int:
        self._own = [file for file in self._own if not file.closed]
        return len(self._own)

    def fstat(self, file_obj: Any) -> Any:
        found = super().fstat(file_obj)
        if self.faults.fstat_without_size:
            return asyncssh.SFTPAttrs(permissions=asyncssh.SFTPAttrs.from_local(found).permissions)  # type: ignore[arg-type]
        return found

    async def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        faults, server = self.faults, self._server
        end = server.written + len(data)
        if faults.full_after is not None and end > faults.full_after:
            if faults.quota:
                raise asyncssh.SFTPFailure("Disk quota exceeded")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if faults.refuse_write_at is not None and offset <= faults.refuse_write_at < offset + len(data):
            faults.refuse_write_at = None
            raise asyncssh.SFTPFailure("Failure")
        if faults.drop_after is not None and end > faults.drop_after and faults.drops > 0:
            faults.drops -= 1
            server.written = 0
            self.connection.abort()
            await asyncio.get_running_loop().create_future()
        if faults.stall_after is not None and end > faults.stall_after:
            await asyncio.get_running_loop().create_future()
        if faults.scramble:
            await asyncio.sleep(0.01 if (offset // len(data)) % 2 else 0)
        server.written += len(data)
        if faults.lose_writes:
            return len(data)
        if faults.flip_byte_at is not None and offset <= faults.flip_byte_at < offset + len(data):
            changed = bytearray(data)
            changed[faults.flip_byte_at - offset] ^= 1
            data = bytes(changed)
        file_obj.seek(offset)
        file_obj.write(data)
        return len(data)

    async def _renamed(self, old: bytes, new: bytes, rename: Callable[[bytes, bytes], Any]) -> None:
        faults = self.faults
        if faults.refuse_rename or faults.read_only:
            raise asyncssh.SFTPPermissionDenied("no renames here")
        self._server.renamed.append(new.decode())
        rename(old, new)
        arrived = Path(os.fsdecode(self.map_path(new)))
        if faults.sweep:
            self._server.swept.mkdir(exist_ok=True)
            arrived.rename(self._server.swept / f"{len(list(self._server.swept.iterdir())):06d}-{arrived.name}")
        if faults.reject:
            arrived.rename(arrived.with_name(arrived.stem + "_rejected" + arrived.suffix))
        if faults.drop_at_rename:
            faults.drop_at_rename = False
            self.connection.abort()
            await asyncio.get_running_loop().create_future()
        if faults.rename_says_failure:
            raise asyncssh.SFTPFailure("Failure")

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._renamed(oldpath, newpath, super().rename)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._renamed(oldpath, newpath, super().posix_rename)

    def lstat(self, path: bytes) -> Any:
        return super().lstat(path)


class _Login(asyncssh.SSHServer):
    def __init__(self, server: AsyncSsh) -> None:
        self._server = server

    def begin_auth(self, username: str) -> bool:
        self._server.logins.append(("begin", username))
        return True

    def connection_made(self, conn: Any) -> None:
        conn.set_extra_info(server=self._server)
        self._server.connections.append(conn)

    def public_key_auth_supported(self) -> bool:
        return "publickey" in self._server.methods

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._server.logins.append(("publickey", username))
        if self._server.hang_up_at_login:
            self._server.connections[-1].abort()
        return (
            username == "partner" and key.public_data == asyncssh.import_public_key(self._server.public_key).public_data
        )

    def password_auth_supported(self) -> bool:
        return "password" in self._server.methods

    def validate_password(self, username: str, password: str) -> bool:
        self._server.logins.append(("password", username))
        return (username, password) == ("partner", "open sesame")

    def kbdint_auth_supported(self) -> bool:
        return "keyboard-interactive" in self._server.methods

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return "", "", "", self._server.prompts

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        self._server.logins.append(("keyboard-interactive", username))
        return list(responses) == ["open sesame"]


class AsyncSsh:
    """An asyncssh server in a thread of the test, chrooted to `files`."""

    name = "asyncssh"

    def __init__(self, folder: Path, *, host_key_kind: str = "ssh-ed25519", **options: Any) -> None:
        self.files = folder / "files"
        self.files.mkdir(parents=True)
        self.swept = folder / "swept"
        self.faults = Faults()
        self.port = free_port()
        self.written = 0
        self.opened: list[str] = []
        self.renamed: list[str] = []
        self.hashed: list[str] = []
        self.logins: list[tuple[str, str]] = []
        self.connections: list[Any] = []
        self.handles: list[Any] = []
        self.methods = {"publickey"}
        self.hang_up_at_login = False
        self.prompts: list[tuple[str, bool]] = [("Password: ", False)]
        self.private_key, self.public_key = make_key()
        self._options = options
        self.new_host_key(host_key_kind)

    def new_host_key(self, kind: str = "ssh-ed25519") -> None:
        self._host_key = asyncssh.generate_private_key(kind)
        self.host_key = self._host_key.export_public_key().decode().strip()

    def start(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def listen() -> Any:
            return await asyncssh.listen(
                "127.0.0.1",
                self.port,
                server_factory=lambda: _Login(self),
                server_host_keys=[self._host_key],
                sftp_factory=lambda chan: _Files(chan, self),
                login_timeout=0,
                encoding=None,
                **self._options,
            )

        self._acceptor = asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)
        return self

    def drop_connections(self) -> None:
        def drop() -> None:
            for connection in self.connections:
                connection.abort()
            self.connections.clear()

        self._loop.call_soon_threadsafe(drop)

    def stop(self) -> None:
        async def close() -> None:
            for connection in self.connections:
                connection.abort()
            self._acceptor.close()
            await self._acceptor.wait_closed()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        for handle in self.handles:  # asyncssh leaves those of broken connections to the garbage collector
            handle.close()

    def settings(self, **changes: Any) -> ConnectionSettings:
        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "partner",
            "host_keys": (self.host_key,),
            "private_key": self.private_key,
            "stall_seconds": 10.0,
        }
        return ConnectionSettings(**(values | changes))


def policy_for(server: OpenSsh | AsyncSsh, **changes: Any) -> Policy:
    """Return the policy to deliver into the folder that the tests look at."""
    folder = os.fspath(server.files) if isinstance(server, OpenSsh) else "/"
    values: dict[str, Any] = {"folder": folder, "backoff_seconds": 0.05}
    return Policy(**(values | changes))


class Relay:
    """A TCP relay in front of a server: counts, cuts, stalls and limits what passes."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.cut_after: int | None = None  # bytes from the client, over one connection
        self.cuts = 10**9
        self.stall_after: int | None = None
        self.most_connections: int | None = None
        self.open = 0
        self.accepted = 0
        self.from_client = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._stopped = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.most_connections is not None and self.open >= self.most_connections:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self.open += 1
            self._pairs.append((client, server))
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError):
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while not self._stopped.is_set():
                for key, _ in selector.select(0.2):
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        raise OSError
                    if key.fileobj is client:
                        passed += len(data)
                        self.from_client += len(data)
                        if self.stall_after is not None and passed > self.stall_after:
                            self._stopped.wait()
                            raise OSError
                        if self.cut_after is not None and passed > self.cut_after and self.cuts > 0:
                            self.cuts -= 1
                            raise OSError
                    key.data.sendall(data)
        client.close()
        server.close()
        self.open -= 1

    def stop(self) -> None:
        self._stopped.set()
        self._listener.close()
        for pair in self._pairs:
            for sock in pair:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
