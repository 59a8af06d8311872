"""What a copy needs of a place where files lie; blob.py, sftp.py and http.py are the three there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

    from adf_runner.run.linked_services import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or folder: `path` is relative to the store's root (container, home folder), with '/' between."""

    path: str
    is_folder: bool = False
    size: int = 0
    modified: datetime | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rsplit("/", 1)[-1]


class Sink(Protocol):
    """A file being written: nothing of it is visible under its name before `commit`; `abort` leaves nothing behind."""

    def write(self, piece: bytes) -> None: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


class Store(Protocol):
    """A place where files lie. A store is used by one activity at a time and closed after it."""

    def find(self, path: str) -> Entry | None: ...
    def list(self, folder: str, *, recursive: bool) -> Iterator[Entry]: ...
    def read(self, path: str) -> Iterator[bytes]: ...
    def write(self, path: str, settings: Mapping[str, Any], run_id: str) -> Sink: ...
    def delete(self, path: str) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def folder_of(data: Data) -> str:
    """Return the folder that a dataset names, without slashes at its ends."""
    return str(data.location.get("folderPath") or "").strip("/") if data.service.type != "Sftp" else _sftp_folder(data)


def _sftp_folder(data: Data) -> str:
    return str(data.location.get("folderPath") or "").rstrip("/")


def path_of(data: Data) -> str:
    """Return folder and file name of a dataset as one path; without a file name, the folder."""
    name = str(data.location.get("fileName") or "")
    return "/".join(part for part in (folder_of(data), name) if part)
