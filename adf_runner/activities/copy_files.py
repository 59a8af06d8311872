"""Which files a source names, and under which names they arrive: as they are, flat, or merged into one.

Where Data Factory makes names up (FlattenHierarchy, MergeFiles without a name), these do too: nothing may rely on them.
"""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from adf_runner.errors import ActivityFailed
from adf_runner.stores.delimited import is_true
from adf_runner.stores.opening import open_store
from adf_runner.stores.store import Entry, Sink, Store, folder_of, path_of

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a copy counts as it goes."""

    rows_read: int = 0
    rows_copied: int = 0
    data_read: int = 0
    data_written: int = 0
    files_read: int = 0
    files_written: int = 0
    written: list[tuple[str, int]] = field(default_factory=list)


def copy_files(call: Call, origin: Data, target: Data, tally: Tally) -> None:
    """Copy one file, or all that the folder and wildcards of the source name."""
    source, sink = call.properties["source"], call.properties["sink"]
    settings = sink.get("storeSettings", {})
    with ExitStack() as stack:
        reading = stack.enter_context(open_store(call, origin))
        writing = stack.enter_context(open_store(call, target))
        base, entries = files_of(reading, origin, source.get("storeSettings", {}))
        for path, group in targets(base, entries, target, settings):
            _copy_into(call, reading, group, writing, path, tally)
        if is_true(source.get("storeSettings", {}).get("deleteFilesAfterCompletion", False)):
            for entry in entries:
                reading.delete(entry.path)


def targets(
    base: str, entries: list[Entry], target: Data, settings: Mapping[str, Any]
) -> Iterator[tuple[str, list[Entry]]]:
    """Yield each path to write with the files that go into it. Raises ActivityFailed where several would share one name."""
    folder, name = folder_of(target), str(target.location.get("fileName") or "")
    behavior = settings.get("copyBehavior") or "PreserveHierarchy"
    if behavior == "MergeFiles" and entries:
        yield posixpath.join(folder, name or made_up(entries[0])), entries
        return
    if name and len(entries) > 1:
        raise ActivityFailed(
            f"{len(entries)} files would all be written to {name}",
            "leave fileName out of the sink's dataset, or set copyBehavior to MergeFiles",
            code="UserErrorInvalidCopyBehavior",
            retriable=False,
        )
    for entry in entries:
        relative = entry.path.removeprefix(f"{base}/") if base else entry.path
        written = name or (made_up(entry) if behavior == "FlattenHierarchy" else relative)
        yield posixpath.join(folder, written), [entry]


def made_up(entry: Entry) -> str:
    """Return a name of this run's making with the file's extension."""
    return f"data_{uuid.uuid4()}{posixpath.splitext(entry.name)[1]}"


def files_of(store: Store, data: Data, settings: Mapping[str, Any]) -> tuple[str, list[Entry]]:
    """Return the folder that relative names start from, and the files to read."""
    if settings.get("fileListPath"):
        return folder_of(data), listed_files(store, data, settings)
    if settings.get("prefix"):
        return _by_prefix(store, settings)
    wildcard = settings.get("wildcardFileName")
    if data.location.get("fileName") and not wildcard:
        found = store.find(path_of(data))
        if found is None or found.is_folder:
            raise ActivityFailed(
                f"there is no file {path_of(data)}", "was it written before?", code="UserErrorFileNotFound"
            )
        return folder_of(data), [found]
    if not wildcard and data.service.type == "HttpServer":
        found = store.find("")
        return "", [found] if found else []
    pattern = str(settings.get("wildcardFolderPath") or folder_of(data)).strip("/") if wildcard else folder_of(data)
    folder = fixed_part(pattern)
    recursive = is_true(settings.get("recursive", True))
    files = [
        entry for entry in store.list(folder, recursive=recursive or folder != pattern)
        if not entry.is_folder and fnmatchcase(entry.name, str(wildcard or "*"))
        and _is_in(entry, pattern, recursive=recursive) and _is_between(entry, settings)
    ]  # fmt: skip
    if not files and wildcard is None and store.find(folder) is None:
        raise ActivityFailed(f"there is no folder {folder}", code="UserErrorFileNotFound")
    return folder, files


def listed_files(store: Store, data: Data, settings: Mapping[str, Any]) -> list[Entry]:
    """Return the files that a text file names, one a line, relative to the dataset's folder."""
    path = str(settings["fileListPath"])
    if data.location.get("fileName") or settings.get("wildcardFileName"):
        raise ActivityFailed(
            "fileListPath goes with a folder: neither the dataset nor a wildcard may name files",
            code="BadRequest",
            retriable=False,
        )
    container, _, inside = path.partition("/")
    if container != data.location.get("container", container) or not inside:
        raise ActivityFailed(
            f"fileListPath {path!r} is not in the dataset's container",
            "write it as container/folder/list.txt",
            code="BadRequest",
            retriable=False,
        )
    names = b"".join(store.read(inside)).decode("utf-8-sig").split("\n")
    entries = []
    for name in filter(None, (line.rstrip("\r") for line in names)):
        found = store.find(posixpath.join(folder_of(data), name))
        if found is None or found.is_folder:
            raise ActivityFailed(f"there is no file {name}, which {path} names", code="UserErrorFileNotFound")
        entries.append(found)
    return entries


def fixed_part(pattern: str) -> str:
    """Return the folders of a pattern before the first that has a wildcard."""
    parts = pattern.split("/")
    wild = next((index for index, part in enumerate(parts) if "*" in part or "?" in part), len(parts))
    return "/".join(parts[:wild])


def _is_in(entry: Entry, pattern: str, *, recursive: bool) -> bool:
    """Say whether a file is in a folder that the pattern names, or below one."""
    if fixed_part(pattern) == pattern:
        return True
    wanted, folders = pattern.split("/"), entry.path.split("/")[:-1]
    deep_enough = len(folders) >= len(wanted) if recursive else len(folders) == len(wanted)
    return deep_enough and all(map(fnmatchcase, folders, wanted))


def _by_prefix(store: Store, settings: Mapping[str, Any]) -> tuple[str, list[Entry]]:
    prefix = str(settings["prefix"])
    folder = prefix.rpartition("/")[0]
    recursive = is_true(settings.get("recursive", True))
    entries = store.list(folder, recursive=recursive)
    return folder, [
        entry for entry in entries
        if not entry.is_folder and entry.path.startswith(prefix) and _is_between(entry, settings)
    ]  # fmt: skip


def _is_between(entry: Entry, settings: Mapping[str, Any]) -> bool:
    """Say whether a file was modified at or after the start, and before the end, that the settings name."""
    start, end = (_moment(settings.get(key)) for key in ("modifiedDatetimeStart", "modifiedDatetimeEnd"))
    if entry.modified is None:
        return start is None and end is None
    modified = entry.modified.astimezone(UTC)
    return (start is None or modified >= start) and (end is None or modified < end)


def _moment(text: Any) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise ActivityFailed(f"{text!r} is not a date-time", code="InvalidTemplate", retriable=False) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _copy_into(call: Call, reading: Store, entries: list[Entry], writing: Store, path: str, tally: Tally) -> None:
    """Copy files byte by byte into one; nothing is visible under its name before all of it is written."""
    output: Sink = writing.write(path, call.properties["sink"].get("storeSettings", {}), call.record.run_id)
    try:
        written = 0
        for entry in entries:
            call.check_time()
            for piece in reading.read(entry.path):
                output.write(piece)
                written += len(piece)
        output.commit()
    except BaseException:
        output.abort()
        raise
    tally.files_read += len(entries)
    tally.files_written += 1
    tally.written.append((path, written))
    tally.data_read += written
    tally.data_written += written
