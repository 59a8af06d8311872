"""Where a batch's blobs and messages live. Addresses come from app settings in the form that Functions uses itself:

`NAME` holds a connection string, or `NAME__blobServiceUri` / `NAME__queueServiceUri` hold an address that is opened with the
app's own identity. The encrypted and the batches container share an account; raw has its own, because plaintext must really go.
What dbt says of its models is in the host's account, and only read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from azure.core.credentials import TokenCredential
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient, QueueServiceClient, TextBase64EncodePolicy

# The read range equals the staged block: a range that crosses blocks costs the service twice.
BLOCK_BYTES = 8 * 1024 * 1024

# One read of the connection brings a whole range: the SDK would join it from small pieces, at three times the CPU.
RANGES: dict[str, Any] = {
    "max_single_get_size": BLOCK_BYTES,
    "max_chunk_get_size": BLOCK_BYTES,
    "connection_data_block_size": BLOCK_BYTES,
}

# The SDK's own waits begin at 15 seconds, which an HTTP endpoint does not have. These tries end after about 20 seconds; beyond
# that the queue tries again, or Data Factory does.
PATIENCE: dict[str, Any] = {
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
    "retry_total": 4,
    "connection_timeout": 10,
    "read_timeout": 60,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The clients of one function app. They hold connections, never a batch's state."""

    raw: ContainerClient
    encrypted: ContainerClient
    batches: ContainerClient
    seal_queue: QueueClient
    deliver_queue: QueueClient
    dbt: ContainerClient | None = None


@cache
def credential() -> TokenCredential:
    """Return the app's own identity: a managed identity on Azure."""
    from azure.identity import DefaultAzureCredential  # a tenth of the app's start; only the first call needs it

    return DefaultAzureCredential()


@cache
def open_stores() -> Stores:
    """Return the stores that the app settings name. Raises KeyError when one is missing."""
    encrypted = _blob_service("EncryptedStorage")
    return Stores(
        raw=_blob_service("RawStorage").get_container_client("raw"),
        encrypted=encrypted.get_container_client("encrypted"),
        batches=encrypted.get_container_client("batches"),
        seal_queue=open_queue("seal"),
        deliver_queue=open_queue("deliver"),
        dbt=_blob_service("AzureWebJobsStorage").get_container_client("dbt"),
    )


def _blob_service(setting: str) -> BlobServiceClient:
    options = RANGES | PATIENCE
    if connection_string := os.environ.get(setting):
        return BlobServiceClient.from_connection_string(connection_string, **options)
    return BlobServiceClient(os.environ[f"{setting}__blobServiceUri"], credential(), **options)


def open_queue(name: str) -> QueueClient:
    """Return a queue of the host's account. Raises KeyError when the app settings name no account."""
    # The host reads messages as base64 (host.json: messageEncoding), so they are written as base64.
    policy = TextBase64EncodePolicy()
    if connection_string := os.environ.get("AzureWebJobsStorage"):
        return QueueClient.from_connection_string(connection_string, name, message_encode_policy=policy, **PATIENCE)
    service = QueueServiceClient(os.environ["AzureWebJobsStorage__queueServiceUri"], credential(), **PATIENCE)
    return service.get_queue_client(name, message_encode_policy=policy)
