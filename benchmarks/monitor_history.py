"""A long history for `./sealift bench monitor`: 100,000 records put into Azurite's own files while it is stopped.

Through its endpoint they would take hours, because Azurite looks at all blobs for each one that it writes. Every record has the
content that Plan writes and is read as any other; only the way in is another. It knows the files of the pinned Azurite.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobServiceClient

from local.azurite import Azurite

ACCOUNT, CONTAINER = "sealiftencrypted", "batches"
_SAMPLE = "sample"

Feed = tuple[str, str]


def write_history(folder: Path, feeds: list[Feed], now: datetime, history: int) -> None:
    """Make the container with the records of so many batches, the newest of each feed for the day before `now`."""
    with (
        Azurite(folder) as azurite,
        BlobServiceClient.from_connection_string(azurite.connection_string(ACCOUNT)) as service,
    ):
        service.create_container(CONTAINER).upload_blob(_SAMPLE, b"x")
    database = folder / "data" / "__azurite_db_blob__.json"
    content = json.loads(database.read_bytes())
    [blobs] = [each for each in content["collections"] if each["name"] == "$BLOBS_COLLECTION$"]
    [sample] = [each for each in blobs["data"] if each["name"] == _SAMPLE]
    extent = sample["persistency"]["id"]
    offset = sample["persistency"]["count"]
    with (folder / "data" / "__blobstorage__" / extent).open("ab") as file:
        for number, (name, record) in enumerate(_records(feeds, now, history), len(blobs["data"]) + 1):
            file.write(record)
            blobs["data"].append(_row(sample, name, number, {"id": extent, "offset": offset, "count": len(record)}))
            offset += len(record)
    blobs["maxId"] = len(blobs["data"])
    for field, index in blobs["binaryIndices"].items():
        values = [str(row[field]) for row in blobs["data"]]
        index["values"] = sorted(range(len(values)), key=values.__getitem__)
    database.write_text(json.dumps(content))


def _row(sample: dict[str, Any], name: str, number: int, place: dict[str, object]) -> dict[str, Any]:
    """Return a blob as Azurite's index has it."""
    row = copy.deepcopy(sample)
    row["name"], row["persistency"], row["$loki"] = name, place, number
    row["properties"] |= {"contentLength": place["count"], "etag": f'"0x{number:015X}"'}
    row["properties"].pop("contentMD5", None)
    return row


def _records(feeds: list[Feed], now: datetime, history: int) -> Iterator[tuple[str, bytes]]:
    from batches import BatchId, Record

    for at in range(history):
        planned = now - timedelta(days=at // len(feeds))
        batch = BatchId.of(*feeds[at % len(feeds)], planned.date() - timedelta(days=1), 1)
        record = Record(
            batch=batch, sequence=1, window_start=planned, window_end=planned, planned_at=planned, files=["a.txt"],
            query="select 1", format="native", route="adf", folder="/inbox",
        )  # fmt: skip
        yield f"{batch.folder}/batch.json", record.model_dump_json().encode()
