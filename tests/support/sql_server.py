"""A SQL Server for tests: that of SEALIFT_TEST_SQLSERVER, or the test server beside the checkout; else they are skipped.

The driver is an extra: import this module after `pytest.importorskip("pytds")`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

PROGRAM = Path(__file__).parents[3] / "shared/tools/tds_server/tds_server"
SETTING = "SEALIFT_TEST_SQLSERVER"  # host=.. port=.. user=.. password=.. database=..

Server = dict[str, str]


def parts(text: str) -> Server:
    """Return the words `name=value` of a text by name."""
    pairs = (word.partition("=") for word in shlex.split(text))
    return {name: value for name, _, value in pairs}


@contextmanager
def running_server() -> Iterator[Server]:
    """Yield where a SQL Server is; one that is not named is started, and stopped at the end."""
    if given := os.environ.get(SETTING):
        yield parts(given)
        return
    if not PROGRAM.exists():
        pytest.skip(f"no SQL Server: set {SETTING}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        environment = os.environ | {"TDS_SERVER_PROGRAMS": f"{tempfile.gettempdir()}/tds-server-programs"}
        command = [str(PROGRAM), "start", f"{folder}/server"]
        started = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if started.returncode:
            pytest.skip(f"the test server does not start here: {started.stderr.strip()}")
        try:
            yield parts(started.stdout)
        finally:
            subprocess.run([str(PROGRAM), "stop", f"{folder}/server"], env=environment, check=True, capture_output=True)


class Sql:
    """A connection that runs batches and returns rows, under the isolation that a feed's Copy asks for."""

    def __init__(self, server: Server) -> None:
        from adf_runner.stores import tds

        address = tds.Address(
            host=server["host"], port=int(server["port"]), database=server["database"], user=server["user"],
            password=server["password"], trust=True,
        )  # fmt: skip
        self._tds = tds
        self._connection = tds.open_connection(address, 600, autocommit=True)

    def __call__(self, statement: str, values: tuple[Any, ...] = ()) -> list[list[Any]]:
        """Run a batch; with values every %s is one of them. Returns the rows of its first set."""
        cursor = self._connection.cursor()
        cursor.execute(statement, values) if values else cursor.execute(statement)
        while cursor.description is None and self._tds.next_result(cursor):
            pass
        return list(cursor.fetchall()) if cursor.description else []

    def clear(self) -> None:
        """Drop the tables of a test before."""
        for name in ("t.x", "t.totals"):
            self(f"drop table if exists {name}")

    def skip_on_the_test_server(self, why: str) -> None:
        """Skip, by name, what the test server is known to answer otherwise than SQL Server."""
        if "Babelfish" in str(self("select @@version")[0][0]):
            pytest.skip(f"the test server differs from SQL Server: {why}")

    def close(self) -> None:
        self._tds.hang_up(self._connection)
        self._connection.close()


@contextmanager
def connected(server: Server) -> Iterator[Sql]:
    sql = Sql(server)
    try:
        sql("if schema_id(N't') is null exec(N'create schema t')")
        sql("set transaction isolation level snapshot")
        sql.clear()
        yield sql
    finally:
        sql.close()


class CuttingProxy:
    """Passes bytes on to a server, and cuts its first connection after `limit` bytes of answers."""

    def __init__(self, host: str, port: int, limit: int) -> None:
        self._target, self._limit = (host, port), limit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._ports: list[int] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            upstream = socket.create_connection(self._target)
            self._ports.append(upstream.getsockname()[1])
            limit = self._limit if self.connections == 1 else 10**12
            pairs = ((client, upstream, 10**12), (upstream, client, limit))
            for thread in [threading.Thread(target=self._pass, args=pair) for pair in pairs]:
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, target: socket.socket, limit: int) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while (piece := source.recv(16384)) and passed < limit:
                target.sendall(piece)
                passed += len(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        target.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        self._end_sessions()

    def _end_sessions(self) -> None:
        """End what was cut: the test server goes on with such a statement, and takes half a processor until it stops."""
        clients = [f"({port})" for port in self._ports]  # a session's process is named for its client's port
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                name = " ".join(process.cmdline())
                if "babelfish" in name and any(client in name for client in clients):
                    process.terminate()
