"""Storage, queue and vault for the steps of a batch."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy
from batch_world import PARTNER_KEY, World, use_certificate

from batches import Stores
from encryption.vault import Vault
from local.services.azurite import Azurite
from local.services.certificates import CertificateAuthority
from local.services.identity import IdentityEndpoint
from local.services.vault import KeyVault
from local.stack import self_signed


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
    )
    queue.create_queue()
    use_certificate(key_vault, self_signed(PARTNER_KEY, "Northwind"))
    vault = Vault(key_vault.url, DefaultAzureCredential())
    yield World(stores, vault, key_vault, lambda: [blob.name for blob in stores.raw.list_blobs(include=["snapshots"])])
    vault.close()
    queue.close()
    for account in accounts.values():
        account.close()
