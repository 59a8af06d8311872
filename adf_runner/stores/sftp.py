"""An SFTP server as a store of files, held to what Data Factory accepts.

The server's key is compared with the pinned fingerprint before any credential leaves this machine. Private keys are
base64 of classic PEM RSA, as ADF wants them; every other kind is refused with the command that makes the right one.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import posixpath
import socket
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import paramiko

from adf_runner.errors import ActivityFailed
from adf_runner.factory.subset import FINGERPRINT
from adf_runner.stores.store import Entry

if TYPE_CHECKING:
    from types import TracebackType

    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data

CONNECT_SECONDS = 30
PIECE_BYTES = 32 * 1024
RSA_BANNER = "-----BEGIN RSA PRIVATE KEY-----"
KEY_FIX = "ssh-keygen -t rsa -b 4096 -m PEM -f key, then store base64 -w0 key in Key Vault"
HOST_KEY_TYPES = ("rsa-sha2-512", "rsa-sha2-256", "ecdsa-sha2-nistp256", "ssh-ed25519")


@lru_cache(maxsize=16)
def load_private_key(text: str, passphrase: str | None) -> paramiko.RSAKey:
    """Read privateKeyContent; raises ActivityFailed with the fix for keys that Data Factory refuses. The last keys are kept."""
    try:
        pem = base64.b64decode("".join(text.split()), validate=True).decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ActivityFailed(
            "privateKeyContent is not base64 of a key file", KEY_FIX, code="UserErrorSftpKey", retriable=False
        ) from error
    if not pem.startswith(RSA_BANNER):
        banner = (
            pem.splitlines()[0].strip("-").removeprefix("BEGIN ").lower()
            if pem.startswith("-----BEGIN ")
            else "something else"
        )
        raise ActivityFailed(
            f"the SFTP key is {banner!r}; Data Factory takes classic PEM RSA only",
            KEY_FIX,
            code="UserErrorSftpKey",
            retriable=False,
        )
    try:
        return paramiko.RSAKey.from_private_key(io.StringIO(pem), password=passphrase)
    except paramiko.PasswordRequiredException as error:
        raise ActivityFailed(
            "the SFTP key is encrypted", "give its passPhrase", code="UserErrorSftpKey", retriable=False
        ) from error
    except (paramiko.SSHException, ValueError) as error:
        raise ActivityFailed(
            "the SFTP key cannot be read", KEY_FIX, code="UserErrorSftpKey", retriable=False
        ) from error


def fingerprints(key: paramiko.PKey) -> tuple[str, str]:
    """Return a host key's fingerprints as Data Factory writes them: MD5 and SHA-256."""
    blob = key.asbytes()
    md5 = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    colons = ":".join(md5[index : index + 2] for index in range(0, len(md5), 2))
    sha256 = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"{key.get_name()} {key.get_bits()} {colons}", f"SHA256:{sha256}"


def check_host_key(key: paramiko.PKey, pinned: str, server: str) -> None:
    """Raise unless the server's key has the pinned fingerprint."""
    found = FINGERPRINT.fullmatch(pinned)
    if found is None:
        raise ActivityFailed(
            f"hostKeyFingerprint {pinned!r} has no form that Data Factory knows", "'ssh-rsa 2048 aa:bb:..' or 'SHA256:...'",
            code="UserErrorSftpFingerprint", retriable=False,
        )  # fmt: skip
    md5, sha256 = fingerprints(key)
    hashed = found["md5"].lower() == md5.rsplit(" ", 1)[-1] if found["md5"] else f"SHA256:{found['sha256']}" == sha256
    typed = found["type"] is None or (found["type"], found["bits"]) == tuple(md5.split(" ")[:2])
    if not (hashed and typed):
        raise ActivityFailed(
            f"{server} shows the host key {md5} ({sha256}), not the pinned {pinned}",
            "ask the partner, over another channel, whether the key was changed; nothing was sent",
            code="UserErrorSftpHostKey",
            retriable=False,
        )


class SftpStore:
    """One SFTP session."""

    def __init__(self, call: Call, data: Data) -> None:
        self._call = call
        self._service = data.service
        properties = data.service.properties
        self.server = f"{properties['host']}:{data.service.whole('port', 22)}"
        self._transport: paramiko.Transport | None = None
        self._client: paramiko.SFTPClient | None = None

    def __enter__(self) -> Self:
        properties = self._service.properties
        pinned = str(properties["hostKeyFingerprint"])
        try:
            sock = socket.create_connection((str(properties["host"]), self._service.whole("port", 22)), CONNECT_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise ActivityFailed(
                f"{self.server} cannot be reached: {error.strerror or error}",
                code="UserErrorSftpConnection",
                failure_type="SystemError",
            ) from error
        try:
            self._transport = paramiko.Transport(sock)
            self._transport.get_security_options().key_types = HOST_KEY_TYPES
            self._transport.start_client(timeout=CONNECT_SECONDS)
            check_host_key(self._transport.get_remote_server_key(), pinned, self.server)
            self._authenticate(self._transport)
            self._client = paramiko.SFTPClient.from_transport(self._transport, window_size=8 << 20)
        except paramiko.SSHException as error:
            self.close()
            raise ActivityFailed(
                f"{self.server}: {error}", code="UserErrorSftpConnection", failure_type="SystemError"
            ) from error
        except (EOFError, OSError) as error:
            self.close()
            raise ActivityFailed(
                f"{self.server} closed the connection", code="UserErrorSftpConnection", failure_type="SystemError"
            ) from error
        except BaseException:
            self.close()
            raise
        return self

    def _authenticate(self, transport: paramiko.Transport) -> None:
        properties, services = self._service.properties, self._call.engine.services
        user, where = str(properties["userName"]), "linkedServiceName"
        try:
            if properties["authenticationType"] == "Basic":
                transport.auth_password(user, services.secret(self._call, properties["password"], f"{where}.password"))
                return
            phrase = properties.get("passPhrase")
            key = load_private_key(
                services.secret(self._call, properties["privateKeyContent"], f"{where}.privateKeyContent"),
                None if phrase is None else services.secret(self._call, phrase, f"{where}.passPhrase"),
            )
            transport.auth_publickey(user, key)
        except paramiko.AuthenticationException as error:
            raise ActivityFailed(
                f"{self.server} refused the login of {user!r}",
                "ask the partner whether it has this public key",
                code="UserErrorSftpLogin",
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        if self._transport is not None:
            self._transport.close()

    @property
    def client(self) -> paramiko.SFTPClient:
        assert self._client is not None, "the store is not open"
        return self._client

    def failure(self, path: str, error: Exception) -> ActivityFailed:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        code = "UserErrorFileNotFound" if isinstance(error, FileNotFoundError) else "UserErrorSftp"
        return ActivityFailed(f"{self.server} {path}: {reason}", code=code)

    def find(self, path: str) -> Entry | None:
        try:
            return self._entry(path, self.client.stat(path or "."))
        except FileNotFoundError:
            return None
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise self.failure(path, error) from error

    def _entry(self, path: str, found: paramiko.SFTPAttributes) -> Entry:
        return Entry(
            path=path,
            is_folder=stat.S_ISDIR(found.st_mode or 0),
            size=found.st_size or 0,
            modified=None if found.st_mtime is None else datetime.fromtimestamp(found.st_mtime, UTC),
        )

    def list(self, folder: str, *, recursive: bool) -> Iterator[Entry]:
        try:
            items = sorted(self.client.listdir_attr(folder or "."), key=lambda item: item.filename)
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise self.failure(folder, error) from error
        for item in items:
            entry = self._entry(posixpath.join(folder, item.filename), item)
            if recursive and entry.is_folder:
                yield from self.list(entry.path, recursive=True)
            else:
                yield entry

    def read(self, path: str) -> Iterator[bytes]:
        try:
            with self.client.open(path, "rb") as file:
                file.prefetch()
                while piece := file.read(PIECE_BYTES):
                    self._call.check_time()
                    yield piece
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise self.failure(path, error) from error

    def write(self, path: str, settings: Mapping[str, Any], run_id: str) -> SftpSink:
        temporary = f"{path}.{run_id}" if settings.get("useTempFileRename", True) else path
        return SftpSink(self, path, temporary)

    def delete(self, path: str) -> None:
        try:
            self.client.remove(path)
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise self.failure(path, error) from error

    def make_folders(self, folder: str) -> None:
        if folder in {"", "/", "."} or self.find(folder) is not None:
            return
        self.make_folders(posixpath.dirname(folder))
        try:
            self.client.mkdir(folder)
        except OSError as error:
            if self.find(folder) is None:
                raise self.failure(folder, error) from error


class SftpSink:
    """A remote file being written under a temporary name; commit checks its size and renames it."""

    def __init__(self, store: SftpStore, path: str, temporary: str) -> None:
        self._store = store
        self._path = path
        self._temporary = temporary
        self._size = 0
        store.make_folders(posixpath.dirname(path))
        try:
            self._file = store.client.open(temporary, "wb")
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise store.failure(temporary, error) from error
        # Not pipelined: paramiko then never looks at the answers of the last writes, and a refused one leaves a hole.
        self._file.set_pipelined(pipelined=False)

    def write(self, piece: bytes) -> None:
        try:
            for start in range(0, len(piece), PIECE_BYTES):
                self._file.write(piece[start : start + PIECE_BYTES])
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise self._store.failure(self._temporary, error) from error
        self._size += len(piece)

    def commit(self) -> None:
        try:
            self._file.close()
            written = self._store.client.stat(self._temporary).st_size
            if written != self._size:
                raise ActivityFailed(
                    f"{self._store.server} {self._temporary}: {written} bytes arrived of {self._size}",
                    code="UserErrorSftp",
                )
            if self._temporary != self._path:
                self._rename()
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise self._store.failure(self._path, error) from error

    def _rename(self) -> None:
        """Rename over what is there: at once where the server can, else by removing first."""
        try:
            self._store.client.posix_rename(self._temporary, self._path)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                self._store.client.remove(self._path)
            self._store.client.rename(self._temporary, self._path)

    def abort(self) -> None:
        with contextlib.suppress(OSError, paramiko.SSHException, EOFError, ActivityFailed):
            self._file.close()
            self._store.client.remove(self._temporary)
