"""The partner's SFTP server for demo and tests: a real SSH server in its own process, with faults on request."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization.ssh import SSHPublicKeyTypes

from local.wire.certificates import write_private
from local.wire.processes import Process, ProcessService

HINT = "run ./sealift again; if it stays so, read the log named above"


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpFaults:
    """What the server does wrong. Byte counts start when the faults are set, over all files and connections."""

    refuse_rename: bool = False
    rename_answers_error: bool = False  # once: the file is renamed, and the answer says that it was not
    read_only: bool = False
    full_after_bytes: int | None = None  # "no space left on device" from then on
    stall_after_bytes: int | None = None  # no answer any more, and no error
    drop_after_bytes: int | None = None  # the connection is cut; the count then starts again
    drops: int | None = 1  # so many times; None is for ever
    fail_write_at: int | None = None  # once: the write that holds this offset is refused
    sweep: bool = False  # a file is taken away (to `swept`) as soon as it has been renamed


class PartnerSftp(ProcessService):
    """One SFTP server with one user, chrooted to `root`; a context manager. Restarts keep port, host key and files."""

    host = "127.0.0.1"

    def __init__(
        self, folder: Path, *, user: str = "sealift", password: str | None = None, posix_rename: bool = True
    ) -> None:
        self.folder = folder
        self.user = user
        self.password = password
        self.port = 0
        self.root = folder / "files"
        self.swept = folder / "swept"
        self.log = folder / "operations.jsonl"
        self.host_key_line = ""
        self._posix_rename = posix_rename

    def start(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.folder / "authorized_keys").touch()
        self._make_host_key()
        settings = {
            "user": self.user,
            "password": self.password,
            "port": self.port,
            "posix_rename": self._posix_rename,
        }
        write_private(self.folder / "server.json", json.dumps(settings).encode())
        process = Process(
            "the partner's SFTP server",
            [sys.executable, "-m", "local.sftp_server", str(self.folder.resolve())],
            log=self.folder / "server.log",
            grace_seconds=2,
        )
        self.port = self._begin(process, self._announced_port, seconds=30, hint=HINT)
        return self

    def add_key(self, public_key: str | SSHPublicKeyTypes) -> None:
        """Let this public key log in: an OpenSSH line, or a key of `cryptography`. Takes effect at the next login."""
        line = public_key if isinstance(public_key, str) else _openssh(public_key)
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(line.strip() + "\n")

    def set_faults(self, faults: SftpFaults | None = None) -> None:
        """Put these faults in force from the next operation on; None ends all faults."""
        path = self.folder / "faults.json"
        new = self.folder / "faults.json.new"
        new.write_text(json.dumps(asdict(faults or SftpFaults())))
        new.replace(path)

    def operations(self) -> list[dict[str, Any]]:
        """Return the log: time, operation, path and status of everything that clients did so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    @property
    def host_key_sha256(self) -> str:
        """The fingerprint as OpenSSH prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self._host_key_blob()).digest()).rstrip(b"=").decode()

    @property
    def host_key_md5(self) -> str:
        """The fingerprint in the form that Data Factory's SFTP connector compares."""
        digest = hashlib.md5(self._host_key_blob(), usedforsecurity=False).hexdigest()
        return "ssh-rsa 3072 " + ":".join(digest[at : at + 2] for at in range(0, 32, 2))

    def _host_key_blob(self) -> bytes:
        return base64.b64decode(self.host_key_line.split()[1])

    def _make_host_key(self) -> None:
        path = self.folder / "host_key"
        if not path.exists():
            key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
            write_private(path, pem)
        private_key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
        assert isinstance(private_key, rsa.RSAPrivateKey)
        self.host_key_line = _openssh(private_key.public_key())

    @staticmethod
    def _announced_port(process: Process) -> int | None:
        for line in process.output().splitlines():
            if line.startswith('{"port": '):
                return int(json.loads(line)["port"])
        return None


def _openssh(key: SSHPublicKeyTypes) -> str:
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
