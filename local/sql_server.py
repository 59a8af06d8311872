"""A SQL Server for the demo: the one that SEALIFT_SQLSERVER names, or Microsoft's container where Docker is.

The driver is an extra (requirements-sqlserver.txt); nothing else of Sealift's own work needs it.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fault import Fault

SETTING = "SEALIFT_SQLSERVER"
IMAGE = "mcr.microsoft.com/mssql/server:2022-latest"
_START_SECONDS = 120


class NoSqlServer(Fault):
    """There is no SQL Server to read, or no driver for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlServer:
    """Where a SQL Server is, and a user who may make a schema there."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> SqlServer:
        """Read `host=.. port=.. user=.. password=.. database=..`. Raises NoSqlServer."""
        try:
            given = dict(word.split("=", 1) for word in shlex.split(text) if "=" in word)
            return cls(
                host=given["host"],
                port=int(given.get("port", "1433")),
                user=given["user"],
                password=given["password"],
                database=given.get("database", "master"),
            )
        except (KeyError, ValueError):
            raise NoSqlServer(
                f"{SETTING} is not an address of a SQL Server",
                f'write {SETTING}="host=127.0.0.1 port=1433 user=sa password=... database=master";'
                " a password with blanks or quotes in quotes, as for a shell",
            ) from None

    @property
    def linked_service(self) -> dict[str, Any]:
        """What replaces the properties of Data Factory's linked service on this machine."""
        return {
            "server": f"{self.host},{self.port}",
            "database": self.database,
            "authenticationType": "SQL",
            "userName": self.user,
            "password": self.password,
            "trustServerCertificate": True,
        }

    def run(self, *statements: str) -> None:
        """Run statements, each by itself, on one connection. Raises NoSqlServer."""
        pytds = driver()
        from adf_runner.stores import tds

        address = tds.Address(
            host=self.host,
            port=self.port,
            database=self.database,
            user=self.user,
            password=self.password,
            trust=True,
        )
        try:
            connection = tds.open_connection(address, 600, autocommit=True)
            for statement in statements:
                connection.cursor().execute(statement)
            connection.close()
        except (pytds.Error, OSError) as error:
            reason = getattr(error, "text", "") or str(error.__cause__ or error)
            raise NoSqlServer(
                f"SQL Server {self.host},{self.port}: {reason}", f"correct {SETTING}, or start that server"
            ) from error


def driver() -> Any:
    """Return the driver. Raises NoSqlServer where it is not installed."""
    try:
        import pytds
    except ImportError:
        raise NoSqlServer(
            "the driver python-tds is not installed",
            ".venv/bin/python -m pip install --require-hashes --requirement requirements-sqlserver.txt",
        ) from None
    return pytds


@contextmanager
def sql_server() -> Iterator[SqlServer]:
    """Yield a SQL Server; a container of ours is removed at the end. Raises NoSqlServer."""
    driver()
    if given := os.environ.get(SETTING):
        yield SqlServer.parse(given)
        return
    if shutil.which("docker") is None:
        raise NoSqlServer(
            f"there is no SQL Server: {SETTING} is not set, and Docker is not installed",
            f'set {SETTING}="host=... port=1433 user=... password=... database=..." to a server of yours',
        )
    password = f"Sealift-{secrets.token_hex(12)}"
    environment = os.environ | {"MSSQL_SA_PASSWORD": password}
    command = ["docker", "run", "--detach", "--rm", "--publish", "127.0.0.1::1433", "--env", "ACCEPT_EULA=Y"]
    container = _docker([*command, "--env", "MSSQL_SA_PASSWORD", IMAGE], environment)
    try:
        port = int(_docker(["docker", "port", container, "1433/tcp"], environment).splitlines()[0].rpartition(":")[2])
        server = SqlServer(host="127.0.0.1", port=port, user="sa", password=password, database="master")
        _wait(server)
        yield server
    finally:
        with suppress(NoSqlServer):
            _docker(["docker", "stop", "--time", "1", container], environment)


def _docker(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(("Run ", "See "))]
        reason = said[-1].removeprefix("docker: ") if said else "no reason given"
        raise NoSqlServer(f"Docker did not {command[1]} the SQL Server: {reason}", f"start Docker, or set {SETTING}")
    return done.stdout.strip()


def _wait(server: SqlServer) -> None:
    """Wait until a container takes connections."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.run("select 1")
        except NoSqlServer:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return
