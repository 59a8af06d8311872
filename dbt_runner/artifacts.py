"""The blob container of a run: requests, claims, artifacts, and where the last good state is.

requests/<run id>.json    written by the caller that wants a run
runs/<run id>/claim.json  who took it, under a lease while the run lives
runs/<run id>/...         artifacts; summary.json is the verdict and comes last
state/current.json        which run's artifacts show the project as it was last built whole (guarded by its ETag)
state/runs.json           the last 100 runs in short, newest first: what the operators' pages list
state/last.json           which run ran last, well or not: what a retry goes on from
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ClientAuthenticationError, ResourceExistsError, ResourceNotFoundError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential
from azure.storage.blob import BlobLeaseClient, ContainerClient, ContentSettings, ExponentialRetry

IDENTITY_SECONDS = 60
LEASE_SECONDS = 60
RENEW_SECONDS = 20
SCOPE = "https://storage.azure.com/.default"
KEEP_REQUESTS = timedelta(days=1)
_TYPES = {".json": "application/json", ".html": "text/html; charset=utf-8", ".jsonl": "application/jsonl"}


class StorageError(Exception):
    """The container of artifacts cannot be used."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Artifacts:
    """One blob container, reached with the managed identity. The SDK's own retries cover passing faults."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._connect()
        self._lease: BlobLeaseClient | None = None
        self._over = threading.Event()

    def _connect(self) -> None:
        self._credential = DefaultAzureCredential()
        # The SDK's own pauses grow from 15 s, meant for a service under load; a run should hear soon.
        self._container = ContainerClient.from_container_url(
            self.url,
            credential=self._credential,
            retry_policy=ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=3),
            connection_timeout=10,
        )

    def wait_for_identity(self, seconds: float = IDENTITY_SECONDS) -> None:
        """Wait until a token can be had: the identity of a container may come up after the container does."""
        ends = time.monotonic() + seconds
        while True:
            try:
                self._credential.get_token(SCOPE)
            except (CredentialUnavailableError, ClientAuthenticationError, AzureError) as error:
                if time.monotonic() > ends:
                    raise StorageError(
                        f"no token for storage within {seconds:.0f} s: {str(error).splitlines()[0][:200]}",
                        "has the container group a user-assigned identity, and AZURE_CLIENT_ID its id?",
                    ) from None
                time.sleep(1)
                self._connect()  # the old credential remembers that there was nothing
            else:
                return

    def newest_request(self, waits: timedelta) -> str | None:
        """Return the run id of the newest request that somebody may still wait for; forget those of other days."""
        now = datetime.now(UTC)
        blobs = sorted(self._container.list_blobs(name_starts_with="requests/"), key=lambda blob: blob.last_modified)
        for blob in blobs:
            if now - blob.last_modified > KEEP_REQUESTS:
                self._delete(blob.name)
        if not blobs or now - blobs[-1].last_modified > waits:
            return None
        return str(blobs[-1].name).removeprefix("requests/").removesuffix(".json")

    def claim(self, run_id: str, content: dict[str, Any]) -> bool:
        """Take the run for this process and hold it; False when another start of it was first."""
        blob = self._container.get_blob_client(f"runs/{run_id}/claim.json")
        try:
            blob.upload_blob(json.dumps(content), content_settings=_settings(".json"))
        except ResourceExistsError:
            return False
        self._hold(blob.acquire_lease(LEASE_SECONDS))
        return True

    def take_over(self, run_id: str) -> bool:
        """Take a claimed run whose process is gone; False while that process lives."""
        blob = self._container.get_blob_client(f"runs/{run_id}/claim.json")
        try:
            self._hold(blob.acquire_lease(LEASE_SECONDS))
        except ResourceExistsError:
            return False
        return True

    def release(self) -> None:
        """Give the claim's lease back. Works any number of times."""
        self._over.set()
        lease, self._lease = self._lease, None
        if lease is not None:
            with contextlib.suppress(AzureError):  # it ends by itself within a minute
                lease.release()

    def _hold(self, lease: BlobLeaseClient) -> None:
        self._lease = lease
        threading.Thread(target=self._renew, args=[lease], name="lease", daemon=True).start()

    def _renew(self, lease: BlobLeaseClient) -> None:
        while not self._over.wait(RENEW_SECONDS):
            try:
                lease.renew()
            except AzureError:
                continue  # the next turn may work; a lost lease only makes a restart look later

    def read_text(self, name: str) -> str | None:
        """Return the text of a blob, or None when there is no such blob."""
        found = self._read(name)
        return None if found is None else found[0]

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return the JSON object of a blob that this runner wrote, or None when there is no such blob."""
        text = self.read_text(name)
        return None if text is None else dict(json.loads(text))

    def _read(self, name: str) -> tuple[str, str] | None:
        try:
            download = self._container.download_blob(name)
            return download.readall().decode("utf-8", "replace"), str(download.properties.etag)
        except ResourceNotFoundError:
            return None

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        text = json.dumps(content, ensure_ascii=False, indent=1)
        self._container.upload_blob(name, text, overwrite=True, content_settings=_settings(".json"))

    def restore(self, pointer: str, names: Iterable[str], folder: Path) -> tuple[str | None, str] | None:
        """Fetch artifacts of the run that a pointer names; return that run's id (None when they are gone) and the ETag."""
        found = self._read(pointer)
        if found is None:
            return None
        run_id = str(json.loads(found[0])["run_id"])
        return (run_id if self.fetch(run_id, names, folder) else None), found[1]

    def fetch(self, run_id: str, names: Iterable[str], folder: Path) -> bool:
        """Fetch artifacts of a run into a folder; False when one is missing."""
        folder.mkdir(parents=True, exist_ok=True)

        def one(name: str) -> None:
            (folder / name).write_bytes(self._container.download_blob(f"runs/{run_id}/{name}").readall())

        try:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(one, names))
        except ResourceNotFoundError:
            return False
        return True

    def upload(self, run_id: str, files: dict[str, Path | str]) -> None:
        """Upload files (by path) and texts under the run's prefix, several at once."""

        def one(item: tuple[str, Path | str]) -> None:
            name, source = item
            data = source.read_bytes() if isinstance(source, Path) else source.encode()
            self._container.upload_blob(
                f"runs/{run_id}/{name}", data, overwrite=True, content_settings=_settings(Path(name).suffix)
            )

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, files.items()))

    def point(self, pointer: str, run_id: str) -> None:
        """Let a pointer name this run, whatever it named before."""
        self.write_json(pointer, {"run_id": run_id})

    def promote(self, pointer: str, run_id: str, etag: str | None) -> bool:
        """Let a pointer name this run unless another run has moved it since it was read; False when one has."""
        blob = self._container.get_blob_client(pointer)
        content = json.dumps({"run_id": run_id})
        try:
            if etag is None:
                blob.upload_blob(content, content_settings=_settings(".json"))
            else:
                blob.upload_blob(
                    content,
                    overwrite=True,
                    etag=etag,
                    match_condition=MatchConditions.IfNotModified,
                    content_settings=_settings(".json"),
                )
        except (ResourceExistsError, AzureError) as error:
            if getattr(error, "status_code", None) in (409, 412):
                return False
            raise
        return True

    def _delete(self, name: str) -> None:
        with contextlib.suppress(ResourceNotFoundError):
            self._container.delete_blob(name)


def _settings(suffix: str) -> ContentSettings:
    return ContentSettings(content_type=_TYPES.get(suffix, "application/octet-stream"))
