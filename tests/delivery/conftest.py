from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from delivery_servers import SSHD, AsyncSsh, OpenSsh, Relay, policy_for

from delivery import Policy


@pytest.fixture
def asyncssh_server(tmp_path: Path) -> Iterator[AsyncSsh]:
    server = AsyncSsh(tmp_path / "asyncssh").start()
    yield server
    server.stop()


@pytest.fixture
def openssh_server(tmp_path: Path) -> Iterator[OpenSsh]:
    if SSHD is None:
        pytest.skip("no OpenSSH sshd on this machine (apt-get install openssh-server)")
    server = OpenSsh(tmp_path / "openssh").start()
    yield server
    server.stop()


@pytest.fixture(params=["openssh", "asyncssh"])
def server(request: pytest.FixtureRequest) -> OpenSsh | AsyncSsh:
    return request.getfixturevalue(f"{request.param}_server")  # type: ignore[no-any-return]


@pytest.fixture
def relay(server: OpenSsh | AsyncSsh) -> Iterator[Relay]:
    between = Relay(server.port)
    yield between
    between.stop()


@pytest.fixture
def policy(server: OpenSsh | AsyncSsh) -> Policy:
    return policy_for(server)
