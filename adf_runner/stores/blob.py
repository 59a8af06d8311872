"""Azure Blob Storage as a store of files, with the factory's own identity or what the linked service names.

Data Lake Gen2 is reached by the same account's blob endpoint: folders are names with '/', there are no ACLs.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from adf_runner.errors import ActivityFailed
from adf_runner.stores.store import Entry

if TYPE_CHECKING:
    from types import TracebackType

    from azure.storage.blob import BlobClient

    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data

BLOCK_BYTES = 4 * 1024 * 1024
UPLOADS_AT_ONCE = 2


@contextmanager
def blob_errors(what: str) -> Iterator[None]:
    """Turn the SDK's errors into activity errors with Azure's own error code."""
    from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

    try:
        yield
    except ResourceNotFoundError as error:
        code = getattr(error, "error_code", None) or "NotFound"
        raise ActivityFailed(
            f"{what}: {code}", "is the path right, and was it written before?", code="UserErrorFileNotFound"
        ) from error
    except HttpResponseError as error:
        code = getattr(error, "error_code", None) or error.reason or "error"
        hint = "may the factory's identity read and write blobs there?" if error.status_code in {401, 403} else ""
        raise ActivityFailed(f"{what}: {error.status_code} {code}", hint, code="UserErrorBlobStorage") from error
    except AzureError as error:
        raise ActivityFailed(
            f"{what}: {type(error).__name__}", "is the storage account reachable?", code="BlobStorage"
        ) from error


class BlobStore:
    """One container."""

    def __init__(self, call: Call, data: Data) -> None:
        self._call = call
        self.container = str(data.location.get("container") or data.location["fileSystem"])
        self._client = call.engine.services.blobs(call, data.service).get_container_client(self.container)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass  # the account's client is shared by the run and closed with it

    def _shown(self, path: str) -> str:
        return f"blob {self.container}/{path}"

    def find(self, path: str) -> Entry | None:
        """Return the blob at a path, or the virtual folder there, or None."""
        from azure.core.exceptions import ResourceNotFoundError

        with blob_errors(self._shown(path)):
            if not path:
                return Entry(path=self.container, is_folder=True) if self._client.exists() else None
            try:
                found = self._client.get_blob_client(path).get_blob_properties()
            except ResourceNotFoundError:
                inside = (
                    next(iter(self._client.list_blob_names(name_starts_with=f"{path}/")), None)
                    if self._client.exists()
                    else None
                )
                return None if inside is None else Entry(path=path, is_folder=True)
            return self._entry(found)

    def _entry(self, found: Any) -> Entry:
        md5 = found.content_settings.content_md5
        return Entry(
            path=found.name,
            size=found.size,
            modified=found.last_modified,
            md5=base64.b64encode(bytes(md5)).decode() if md5 else None,
        )

    def list(self, folder: str, *, recursive: bool) -> Iterator[Entry]:
        prefix = f"{folder}/" if folder else ""
        with blob_errors(self._shown(prefix)):
            if recursive:
                for found in self._client.list_blobs(name_starts_with=prefix):
                    yield self._entry(found)
                return
            for item in self._client.walk_blobs(name_starts_with=prefix, delimiter="/"):
                folder_item = not hasattr(item, "blob_type")
                yield Entry(path=item.name.rstrip("/"), is_folder=True) if folder_item else self._entry(item)

    def read(self, path: str) -> Iterator[bytes]:
        """Yield a blob's bytes; it is pinned to its ETag, so that a change while reading is an error."""
        with blob_errors(self._shown(path)):
            for piece in self._client.download_blob(path, max_concurrency=1).chunks():
                self._call.check_time()
                yield piece

    def write(self, path: str, settings: Mapping[str, Any], run_id: str) -> BlobSink:
        metadata = {str(pair["name"]): str(pair["value"]) for pair in settings.get("metadata", [])}
        block_bytes = int(settings["blockSizeInMB"]) * 1024 * 1024 if "blockSizeInMB" in settings else BLOCK_BYTES
        return BlobSink(self._client.get_blob_client(path), self._shown(path), metadata, block_bytes, run_id)

    def delete(self, path: str) -> None:
        with blob_errors(self._shown(path)):
            self._client.delete_blob(path)


class BlobSink:
    """A block blob being staged: blocks go up beside the writer, and one commit makes them the blob."""

    def __init__(
        self, client: BlobClient, shown: str, metadata: Mapping[str, str], block_bytes: int, run_id: str
    ) -> None:
        self._client = client
        self._shown = shown
        self._metadata = dict(metadata)
        self._block_bytes = block_bytes
        self._attempt = run_id.replace("-", "")[:16]
        self._pieces: list[bytes] = []
        self._size = 0
        self._blocks: list[str] = []
        self._pool = ThreadPoolExecutor(UPLOADS_AT_ONCE, thread_name_prefix="stage")
        self._slots = threading.Semaphore(UPLOADS_AT_ONCE)
        self._uploads: list[Future[None]] = []

    def write(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        while self._size >= self._block_bytes:
            joined = b"".join(self._pieces)
            self._stage(joined[: self._block_bytes])
            rest = joined[self._block_bytes :]
            self._pieces, self._size = ([rest], len(rest)) if rest else ([], 0)

    def _stage(self, block: bytes) -> None:
        self._raise_failed()
        name = base64.b64encode(f"{self._attempt}{len(self._blocks):08d}".encode()).decode()
        self._blocks.append(name)
        self._slots.acquire()

        def upload() -> None:
            try:
                with blob_errors(self._shown):
                    self._client.stage_block(name, block)
            finally:
                self._slots.release()

        self._uploads.append(self._pool.submit(upload))

    def _raise_failed(self) -> None:
        done = [upload for upload in self._uploads if upload.done()]
        self._uploads = [upload for upload in self._uploads if upload not in done]
        for upload in done:
            upload.result()

    def commit(self) -> None:
        from azure.storage.blob import BlobBlock

        if self._size:
            self._stage(b"".join(self._pieces))
        try:
            for upload in self._uploads:
                upload.result()
        finally:
            self._pool.shutdown()
        with blob_errors(self._shown):
            self._client.commit_block_list([BlobBlock(name) for name in self._blocks], metadata=self._metadata)

    def abort(self) -> None:
        """Forget what was staged; Azure drops uncommitted blocks by itself."""
        self._pool.shutdown(cancel_futures=True)
