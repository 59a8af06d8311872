"""A delivery in a process of its own, to be killed; its journal is a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from delivery import BytesSource, ConnectionSettings, FileSource, Policy, Record, Source, deliver


class FileJournal:
    """One JSON line a record, on disk before `keep` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[str, Record] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                if line.endswith("}}"):  # a line cut by the kill is not a record
                    for name, values in json.loads(line).items():
                        self._records[name] = Record.from_json(values)

    def recall(self, name: str) -> Record | None:
        return self._records.get(name)

    def keep(self, records: dict[str, Record]) -> None:
        self._records.update(records)
        with self._path.open("a") as file:
            file.write("\n" + json.dumps({name: record.to_json() for name, record in records.items()}) + "\n")
            file.flush()
            os.fsync(file.fileno())


def work(
    settings: ConnectionSettings, policy: Policy, folder: Path, hashes: dict[str, str], journal: Path | None
) -> None:
    files: list[Source] = [FileSource(folder / name, sha256=digest) for name, digest in sorted(hashes.items())]
    manifest = [BytesSource("manifest.json", b'{"all": true}')]
    deliver(files, manifest, settings=settings, policy=policy, journal=FileJournal(journal) if journal else None)
