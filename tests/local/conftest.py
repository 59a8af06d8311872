"""What the tests of the stand-ins share: storage over TLS, a vault, and becoming a principal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.identity import DefaultAzureCredential
from queue_play import Play
from service_support import Become

from local.azurite import Azurite
from local.key_vault.identity import IdentityEndpoint
from local.key_vault.server import KeyVault
from local.wire.certificates import CertificateAuthority
from local.wire.fault_proxy import FaultProxy


@pytest.fixture(scope="session")
def secure_azurite(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Azurite]:
    """Storage as the demo has it: HTTPS, managed identity."""
    with Azurite(tmp_path_factory.mktemp("secure-azurite"), authority, in_memory=True) as storage:
        yield storage


@pytest.fixture
def vault(tmp_path: Path, authority: CertificateAuthority, identity: IdentityEndpoint) -> Iterator[KeyVault]:
    with KeyVault(authority, identity, folder=tmp_path) as running:
        yield running


@pytest.fixture
def become(
    monkeypatch: pytest.MonkeyPatch, authority: CertificateAuthority, identity: IdentityEndpoint
) -> Iterator[Become]:
    """Make this process a principal and return its credential."""
    credentials: list[DefaultAzureCredential] = []

    def become(principal: str) -> DefaultAzureCredential:
        for name, value in (authority.environment | identity.environment(principal)).items():
            monkeypatch.setenv(name, value)
        credentials.append(DefaultAzureCredential())
        return credentials[-1]

    yield become
    for credential in credentials:
        credential.close()


@pytest.fixture
def play(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """A queue of its own, whose listener reaches it through a proxy."""
    with FaultProxy(azurite.queue_url("sealifthost").rpartition("/")[0]) as proxy:
        monkeypatch.setenv("PROXIED", proxy.before(azurite.connection_string("sealifthost")))
        played = Play(azurite, proxy, f"q{time.monotonic_ns()}")
        yield played
        proxy.faults.clear()
        played.stop()


@pytest.fixture
def poison_play(play: Play) -> Play:
    """The same on a queue whose name ends in -poison."""
    play.name += "-poison"
    play.queue = play.client(play.name)
    play.queue.create_queue()
    return play
