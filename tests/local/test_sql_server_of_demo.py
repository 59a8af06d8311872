"""Which SQL Server the demo reads, and what it says where there is none."""

from __future__ import annotations

import sys

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


@pytest.mark.parametrize("text", ["", "host=a", "host=a user=b", "host=a user=b password=c port=x"])
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


def test_without_the_driver_the_demo_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytds", None)

    with pytest.raises(NoSqlServer, match="driver python-tds is not installed") as caught:
        main(["--source", "sqlserver"])

    assert "requirements-sqlserver.txt" in caught.value.hint
