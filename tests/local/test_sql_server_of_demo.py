"""Which SQL Server the demo reads, and what it says where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cli.demo import main
from local import sql_server
from local.sql_server import NoSqlServer, SqlServer

ADDRESS = "host=db.example port=1434 user=sa password='a b' database=shop"


def test_address_is_read_and_its_password_is_not_shown() -> None:
    server = SqlServer.parse(ADDRESS)

    assert (server.host, server.port, server.user, server.password, server.database) == (
        "db.example",
        1434,
        "sa",
        "a b",
        "shop",
    )
    assert "a b" not in repr(server)
    assert server.linked_service["server"] == "db.example,1434"


@pytest.mark.parametrize(
    "text", ["", "host=a", "host=a user=b", "host=a user=b password=c port=x", "host=a user=b password=it's"]
)
def test_address_without_host_user_or_password_is_refused(text: str) -> None:
    with pytest.raises(NoSqlServer) as caught:
        SqlServer.parse(text)

    assert "SEALIFT_SQLSERVER=" in caught.value.hint


def test_without_a_server_and_without_docker_the_demo_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEALIFT_SQLSERVER", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sql_server, "driver", lambda: None)

    with pytest.raises(NoSqlServer, match="SEALIFT_SQLSERVER is not set, and Docker is not installed") as caught:
        main(["--source", "sqlserver"])

    assert "SEALIFT_SQLSERVER=" in caught.value.hint


def test_docker_that_does_not_run_is_named_and_not_its_usage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        "#!/bin/sh\nprintf 'docker: Cannot connect to the Docker daemon.\\n\\n' >&2\n"
        "echo \"Run 'docker run --help' for more information\" >&2\nexit 125\n"
    )
    docker.chmod(0o755)
    monkeypatch.delenv("SEALIFT_SQLSERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(sql_server, "driver", lambda: None)

    with pytest.raises(NoSqlServer, match=r"did not run the SQL Server: Cannot connect to the Docker daemon\.$"):
        main(["--source", "sqlserver"])


def test_without_the_driver_the_demo_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytds", None)

    with pytest.raises(NoSqlServer, match="driver python-tds is not installed") as caught:
        main(["--source", "sqlserver"])

    assert "requirements-sqlserver.txt" in caught.value.hint
