"""Which store a dataset's location means. Sits above the stores, which know nothing of each other."""

from __future__ import annotations

from adf_runner.errors import ActivityFailed
from adf_runner.run.engine import Call
from adf_runner.run.linked_services import Data
from adf_runner.stores.blob import BlobStore
from adf_runner.stores.compression import PackedStore, codec_of, level_of
from adf_runner.stores.http import HttpStore
from adf_runner.stores.sftp import SftpStore
from adf_runner.stores.store import Store


def open_store(call: Call, data: Data) -> Store:
    """Open the store that a dataset's linked service and location name; packed files are unpacked on the way."""
    store, codec = _plain(call, data), codec_of(data)
    return PackedStore(store, codec, level_of(data)) if codec else store


def _plain(call: Call, data: Data) -> Store:
    kind = data.location.get("type")
    if kind in {"AzureBlobStorageLocation", "AzureBlobFSLocation"}:
        return BlobStore(call, data)
    if kind == "SftpLocation":
        return SftpStore(call, data)
    if kind == "HttpServerLocation":
        return HttpStore(call, data)
    raise ActivityFailed(f"dataset {data.name!r} has no file location", code="BadRequest", retriable=False)
