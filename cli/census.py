"""`./sealift census [CANARY]`: looks for a text, and for plaintext that is too old, in every place that the product writes.

Without options it looks at the services that `./sealift demo --keep` left up. It lists what it looked at and what it could
not look at; exit 1 means that it found something. It deletes nothing: `./sealift batch purge` does.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobProperties, BlobServiceClient, ContainerClient
from azure.storage.queue import QueueServiceClient

from cli import console
from cli.console import CommandFailed
from cli.login import logged_in

PEEK_LIMIT = 32  # the service shows no more messages at once
EVERY_COPY = ["snapshots", "versions", "deleted", "metadata", "uncommittedblobs"]

# Below the services' folder: the warehouse is where the data comes from, storage is looked at through its API (Azurite keeps
# the bytes of deleted blobs on disk for minutes), and what the partner opened is the partner's.
NOT_OURS = frozenset({"postgres", "azurite", "opened"})
NOT_LOOKED_AT = (
    "the warehouse: it is the source",
    "Key Vault's values: they are written by people, never by the product",
    "messages of a queue that are being worked on, or beyond the first 32",
    "on Azure: Log Analytics (search the workspace for the same text) and Data Factory's run history",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that was looked at; `finding` says what is wrong with it."""

    place: str
    name: str
    bytes: int
    finding: str | None = None


class CensusImpossible(CommandFailed):
    """A place cannot be looked at, so nothing can be said."""


class Canary:
    """A text, and the ways in which it may be written: UTF-8, UTF-16, hexadecimal and base64."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        plain = (text or "").encode()
        ways = [
            plain,
            (text or "").encode("utf-16-le"),
            plain.hex().encode(),
            *map(_base64_core, range(3), [plain] * 3),
        ]
        self._needles = [way for way in ways if way] if text else []
        self._overlap = max(map(len, self._needles), default=1) - 1

    def is_in(self, chunks: Iterable[bytes]) -> bool:
        """Return whether the text is there, also across two chunks."""
        if not self._needles:
            return False
        tail = b""
        for chunk in chunks:
            window = tail + chunk
            if any(needle in window for needle in self._needles):
                return True
            tail = window[-self._overlap :] if self._overlap else b""
        return False


def main(argv: list[str]) -> int:
    """Look everywhere; exit 1 when the canary or overdue plaintext was found."""
    parser = argparse.ArgumentParser("sealift census", description=__doc__)
    parser.add_argument(
        "canary", nargs="?", metavar="CANARY", help="a text that only the warehouse and the partner hold"
    )
    parser.add_argument("--hours", type=_hours, default=72.0, help="how old plaintext may be (72)")
    parser.add_argument(
        "--account", action="append", default=[], metavar="URL", help="a storage account's blob address"
    )
    parser.add_argument("--folder", action="append", default=[], type=Path, help="a folder: logs, a partner's inbox")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every item that was looked at")
    arguments = parser.parse_args(argv)
    accounts, folders, skipped = list(arguments.account), list(arguments.folder), frozenset[str]()
    if not accounts and not folders:
        accounts, folders = _kept()
        skipped = NOT_OURS
    canary = Canary(arguments.canary)
    age = timedelta(hours=arguments.hours)
    items = list(census(accounts, folders, canary, older_than=age, now=datetime.now(UTC), skipped=skipped))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(item) for item in items], indent=1))
    return _tell(items, canary, arguments.hours)


def census(
    accounts: Iterable[str],
    folders: Iterable[Path],
    canary: Canary,
    *,
    older_than: timedelta,
    now: datetime,
    skipped: frozenset[str] = frozenset(),
) -> Iterator[Item]:
    """Yield every item of these storage accounts (blob addresses or connection strings) and folders.

    Folders called as one of `skipped` are left out. Raises CensusImpossible for a place that cannot be looked at.
    """
    for account in accounts:
        blobs, queues = _open(account)
        with blobs, queues:
            for container in blobs.list_containers():
                limit = now - older_than if container.name == "raw" else None
                yield from _look_at_container(blobs.get_container_client(container.name), canary, limit)
            yield from _look_at_queues(queues, canary)
    for folder in folders:
        yield from _look_at_folder(folder, canary, skipped)


def _look_at_container(container: ContainerClient, canary: Canary, limit: datetime | None) -> Iterator[Item]:
    place = f"container {container.container_name}"
    for blob in container.list_blobs(include=EVERY_COPY):
        copy = " (deleted)" if blob.deleted else f" (snapshot {blob.snapshot})" if blob.snapshot else ""
        copy = copy or (f" (version {blob.version_id})" if blob.version_id and not blob.is_current_version else "")
        finding = _judge_blob(container, blob, canary)
        if finding is None and limit is not None and blob.last_modified < limit:
            finding = f"plaintext since {blob.last_modified:%Y-%m-%d %H:%M} UTC"
        yield Item(place=place, name=f"{blob.name}{copy}", bytes=blob.size or 0, finding=finding)


def _judge_blob(container: ContainerClient, blob: BlobProperties, canary: Canary) -> str | None:
    if blob.deleted:
        # It cannot be read as it is, and in the raw account it must not be there at all.
        return "deleted plaintext can be recovered" if container.container_name == "raw" else None
    if canary.is_in([f"{blob.name} {blob.metadata}".encode()]):
        return "the canary, in name or metadata"
    client = container.get_blob_client(blob.name, snapshot=blob.snapshot, version_id=blob.version_id)
    try:
        return "the canary" if canary.text and canary.is_in(client.download_blob().chunks()) else None
    except ResourceNotFoundError:
        return None  # only uncommitted blocks, which nobody can read and storage drops after a week; or gone by now


def _look_at_queues(service: QueueServiceClient, canary: Canary) -> Iterator[Item]:
    for queue in service.list_queues():
        with service.get_queue_client(queue.name) as client:
            messages = client.peek_messages(max_messages=PEEK_LIMIT)
        texts = [str(message.content).encode() for message in messages]
        found = any(canary.is_in([text]) for text in texts)
        size = sum(map(len, texts))
        name = f"{len(texts)} messages"
        yield Item(place=f"queue {queue.name}", name=name, bytes=size, finding="the canary" if found else None)


def _look_at_folder(folder: Path, canary: Canary, skipped: frozenset[str]) -> Iterator[Item]:
    try:
        for path in _files(folder, skipped):
            parts = path.relative_to(folder).parts
            found = canary.is_in([os.fsencode(path.relative_to(folder))]) or canary.is_in(_chunks(path))
            place = f"folder {folder.name}/{parts[0]}" if len(parts) > 1 else f"folder {folder.name}"
            yield Item(place=place, name=str(path), bytes=path.stat().st_size, finding="the canary" if found else None)
    except OSError as error:
        raise CensusImpossible(
            f"{error.filename or folder} cannot be looked at: {error.strerror}", "name a folder that you may read"
        ) from None


def _files(folder: Path, skipped: frozenset[str]) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if name not in skipped)
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file():
                yield path


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            yield data


def _open(account: str) -> tuple[BlobServiceClient, QueueServiceClient]:
    """Open an account by its blob address, with the identity of this process, or by a connection string."""
    if "AccountKey=" in account:
        return BlobServiceClient.from_connection_string(account), QueueServiceClient.from_connection_string(account)
    blob, _, queue = account.partition(" ")
    credential = logged_in()
    queue = queue or blob.replace(".blob.", ".queue.", 1)
    return BlobServiceClient(blob, credential), QueueServiceClient(queue, credential)


def _kept() -> tuple[list[str], list[Path]]:
    from local.kept import kept_services

    kept = kept_services()
    if kept is None:
        raise CensusImpossible(
            "there is nothing to look at", "./sealift demo --keep leaves services up; or give --account and --folder"
        )
    os.environ.update(kept.operator)
    return kept.accounts, [Path(kept.folder)]


def _tell(items: list[Item], canary: Canary, hours: float) -> int:
    places: dict[str, list[Item]] = {}
    for item in items:
        places.setdefault(item.place, []).append(item)
    rows: list[tuple[str, ...]] = []
    for place, found in sorted(places.items()):
        findings = sum(1 for item in found if item.finding)
        rows.append((place, str(len(found)), console.size(sum(item.bytes for item in found)), str(findings or "")))
    console.table([("looked at", "left"), ("items", "right"), ("bytes", "right"), ("found", "right")], rows)
    for item in items:
        if item.finding:
            console.say(f"  x {item.place}: {item.name}: {item.finding}")
    console.say("Not looked at: " + "; ".join(NOT_LOOKED_AT) + ".")
    wanted = "the canary or " if canary.text else ""
    bad = sum(1 for item in items if item.finding)
    result = f"FOUND: {bad} of" if bad else "Nothing found:"
    console.say(f"{result} {len(items)} items, looked for {wanted}plaintext older than {hours:g} h.")
    return 1 if bad else 0


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 <= hours <= 1_000_000:
        raise argparse.ArgumentTypeError("0 or more")
    return hours


def _base64_core(offset: int, data: bytes) -> bytes:
    """Return the middle of `data` in base64, which is the same whatever stands around it at this offset."""
    start, end = -(-offset * 8 // 6), (offset + len(data)) * 8 // 6
    return base64.b64encode(b"\0" * offset + data)[start:end]
