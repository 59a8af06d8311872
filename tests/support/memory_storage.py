"""A blob container in memory, for simulated years: conditions and append blobs as Azure answers them, nothing else.

What one call does is tested against Azurite; here are thousands of nights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError


@dataclass
class _Found:
    content: bytes
    etag: str

    @property
    def properties(self) -> _Found:
        return self

    def readall(self) -> bytes:
        return self.content


class MemoryContainer:
    """The part of ContainerClient that records, numbers and ledgers use."""

    def __init__(self) -> None:
        self.blobs: dict[str, _Found] = {}
        self._count = 0

    def download_blob(self, name: str) -> _Found:
        if name not in self.blobs:
            raise ResourceNotFoundError(name)
        return self.blobs[name]

    def upload_blob(self, name: str, content: bytes, **conditions: Any) -> None:
        found, condition = self.blobs.get(name), conditions.get("match_condition")
        if condition is MatchConditions.IfMissing and found:
            raise ResourceExistsError(name)
        if condition is MatchConditions.IfNotModified and (not found or found.etag != conditions["etag"]):
            raise ResourceModifiedError(name)
        self._count += 1
        self.blobs[name] = _Found(bytes(content), f'"{self._count}"')

    def list_blob_names(self, name_starts_with: str = "") -> Iterator[str]:
        return iter(sorted(name for name in self.blobs if name.startswith(name_starts_with)))

    def get_blob_client(self, name: str) -> MemoryBlob:
        return MemoryBlob(self, name)


@dataclass
class MemoryBlob:
    """One blob of it."""

    container: MemoryContainer
    name: str

    def exists(self) -> bool:
        return self.name in self.container.blobs

    def create_append_blob(self, match_condition: MatchConditions) -> None:
        self.container.upload_blob(self.name, b"", match_condition=match_condition)

    def append_block(self, data: bytes, appendpos_condition: int) -> None:
        found = self.container.download_blob(self.name)
        if len(found.content) != appendpos_condition:
            error = HttpResponseError(self.name)
            error.status_code = 412
            raise error
        self.container.upload_blob(self.name, found.content + data)
