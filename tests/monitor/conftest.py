"""The pages over real storage and a real vault, with batches in every state."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from azure.identity import DefaultAzureCredential
from monitor_world import Pages, certificate, pages_on

from encryption.vault import Vault
from local.azurite import Azurite
from local.key_vault.identity import IdentityEndpoint
from local.key_vault.server import KeyVault
from local.wire.certificates import CertificateAuthority
from partners import load_partners


@pytest.fixture(scope="session")
def vault(authority: CertificateAuthority, identity: IdentityEndpoint) -> Iterator[Vault]:
    with KeyVault(authority, identity) as server, pytest.MonkeyPatch.context() as patch:
        server.allow("function-app", secrets=("*-certificate",))
        for partner in load_partners():
            days = 20 if partner.name == "northwind" else 400
            server.set_secret(partner.certificate, certificate(days=days))
        for name, value in (authority.environment | identity.environment("function-app")).items():
            patch.setenv(name, value)
        opened = Vault(server.url, DefaultAzureCredential())
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def seeded(azurite: Azurite, vault: Vault) -> Iterator[Pages]:
    """Pages that every test of a module reads and none changes."""
    with pages_on(azurite, vault, uuid.uuid4().hex[:8]) as pages:
        pages.every_state()
        yield pages


@pytest.fixture
def pages(azurite: Azurite, vault: Vault) -> Iterator[Pages]:
    """Pages over empty containers."""
    with pages_on(azurite, vault, uuid.uuid4().hex[:8]) as pages:
        yield pages


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR", "on")
