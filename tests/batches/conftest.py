"""Storage, queue and vault for the steps of a batch."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from app_world import App, app_folder, app_settings, make_storage, running
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy
from batch_world import PARTNER_KEY, World, use_certificate

from batches import Stores
from encryption.vault import Vault
from local.azurite import Azurite
from local.functions_host.host import FunctionHost
from local.key_vault.identity import IdentityEndpoint
from local.key_vault.server import KeyVault
from local.partner import self_signed
from local.sftp import PartnerSftp
from local.wire.certificates import CertificateAuthority


@pytest.fixture(scope="module")
def key_vault(authority: CertificateAuthority, identity: IdentityEndpoint) -> Iterator[KeyVault]:
    with KeyVault(authority, identity) as vault, pytest.MonkeyPatch.context() as patch:
        vault.allow("function-app", secrets=("*-certificate",), keys=("sealift-signing",))
        vault.create_key("sealift-signing")
        for name, value in (authority.environment | identity.environment("function-app")).items():
            patch.setenv(name, value)
        yield vault


@pytest.fixture
def world(azurite: Azurite, key_vault: KeyVault) -> Iterator[World]:
    mark = uuid.uuid4().hex[:8]
    accounts = {
        name: BlobServiceClient.from_connection_string(azurite.connection_string(name)) for name in azurite.accounts
    }
    queue = QueueClient.from_connection_string(
        azurite.connection_string("sealifthost"),
        f"seal-{mark}",
        message_encode_policy=TextBase64EncodePolicy(),
        message_decode_policy=TextBase64DecodePolicy(),
    )
    stores = Stores(
        raw=accounts["sealiftraw"].create_container(f"raw-{mark}"),
        encrypted=accounts["sealiftencrypted"].create_container(f"encrypted-{mark}"),
        batches=accounts["sealiftencrypted"].create_container(f"batches-{mark}"),
        seal_queue=queue,
        deliver_queue=queue,
    )
    queue.create_queue()
    use_certificate(key_vault, self_signed(PARTNER_KEY, "Northwind"))
    vault = Vault(key_vault.url, DefaultAzureCredential())
    yield World(stores, vault, key_vault, lambda: [blob.name for blob in stores.raw.list_blobs(include=["snapshots"])])
    vault.close()
    queue.close()
    for account in accounts.values():
        account.close()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartnerSftp]:
    """Cedarway's server, which nobody may log in to yet."""
    with PartnerSftp(tmp_path_factory.mktemp("cedarway")) as running_server:
        (running_server.root / "from-sealift" / "answers").mkdir(parents=True)
        yield running_server


@pytest.fixture(scope="session")
def app_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Azurite, Stores]]:
    """Storage of the hosted app: apart from the other tests', since the app names its containers and queues itself."""
    with Azurite(tmp_path_factory.mktemp("app-azurite"), in_memory=True) as storage:
        yield storage, make_storage(storage)


@pytest.fixture(scope="session")
def app_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return app_folder(tmp_path_factory.mktemp("app") / "code")


@pytest.fixture(scope="module")
def start_app(
    app_storage: tuple[Azurite, Stores],
    app_code: Path,
    key_vault: KeyVault,
    app_identity: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., App]]:
    """start_app(NAME="value") starts the app with these settings beside the usual ones."""
    use_certificate(key_vault, self_signed(PARTNER_KEY, "Northwind"))
    settings = app_settings(app_storage[0], key_vault.url) | app_identity
    with ExitStack() as stack:

        def start(**more: str) -> App:
            host = FunctionHost(app_code, settings | more, folder=tmp_path_factory.mktemp("host"))
            return stack.enter_context(running(host, app_storage[1]))

        yield start


@pytest.fixture(scope="module")
def app(start_app: Callable[..., App]) -> App:
    return start_app()


@pytest.fixture(scope="session")
def app_identity(authority: CertificateAuthority, identity: IdentityEndpoint) -> dict[str, str]:
    return authority.environment | identity.environment("function-app")
