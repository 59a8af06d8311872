"""A long history for `./sealift bench monitor`: 100,000 records put into Azurite's own files while it is stopped.

Through its endpoint they would take hours, because Azurite looks at all blobs for each one that it writes. Every record and
every feed's index has the content that the steps write and is read as any other; only the way in is another. It knows the
files of the pinned Azurite.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobServiceClient

from local.azurite import Azurite

ACCOUNT, CONTAINER = "sealiftencrypted", "batches"
_SAMPLE = "sample"

Feed = tuple[str, str]
Blob = tuple[str, bytes]  # name, content


def write_blobs(folder: Path, content: Iterable[Blob]) -> None:
    """Make the container with these blobs, in Azurite's files; it must not run."""
    with (
        Azurite(folder) as azurite,
        BlobServiceClient.from_connection_string(azurite.connection_string(ACCOUNT)) as service,
    ):
        service.create_container(CONTAINER).upload_blob(_SAMPLE, b"x")
    index = folder / "data" / "__azurite_db_blob__.json"
    database = json.loads(index.read_bytes())
    [blobs] = [each for each in database["collections"] if each["name"] == "$BLOBS_COLLECTION$"]
    [sample] = [each for each in blobs["data"] if each["name"] == _SAMPLE]
    extent, offset = sample["persistency"]["id"], sample["persistency"]["count"]
    with (folder / "data" / "__blobstorage__" / extent).open("ab") as file:
        for number, (name, found) in enumerate(content, len(blobs["data"]) + 1):
            file.write(found)
            blobs["data"].append(_row(sample, name, number, {"id": extent, "offset": offset, "count": len(found)}))
            offset += len(found)
    blobs["maxId"] = len(blobs["data"])
    for field, order in blobs["binaryIndices"].items():
        values = [str(row[field]) for row in blobs["data"]]
        order["values"] = sorted(range(len(values)), key=values.__getitem__)
    index.write_text(json.dumps(database))


def _row(sample: dict[str, Any], name: str, number: int, place: dict[str, object]) -> dict[str, Any]:
    """Return a blob as Azurite's index has it."""
    row = copy.deepcopy(sample)
    row["name"], row["persistency"], row["$loki"] = name, place, number
    row["properties"] |= {"contentLength": place["count"], "etag": f'"0x{number:015X}"'}
    row["properties"].pop("contentMD5", None)
    return row


def records(feeds: list[Feed], now: datetime, history: int) -> Iterator[Blob]:
    """Yield the records of so many batches, the newest of each feed for the day before `now`."""
    from batches import BatchId, Record

    for at in range(history):
        planned = now - timedelta(days=at // len(feeds))
        batch = BatchId.of(*feeds[at % len(feeds)], planned.date() - timedelta(days=1), 1)
        record = Record(
            batch=batch, sequence=1, window_start=planned, window_end=planned, planned_at=planned, files=["a.txt"],
            query="select 1", format="native", route="adf", folder="/inbox",
        )  # fmt: skip
        yield f"{batch.folder}/batch.json", record.model_dump_json().encode()


def indexes(feeds: list[Feed], now: datetime) -> Iterator[Blob]:
    """Yield what the steps of 100 nights leave in each feed's index, and a ledger."""
    from batches import BatchId
    from batches.recent import KEPT_DAYS, Recent, Seen, blob_name

    for feed in feeds:
        days = [now.replace(hour=2) - timedelta(days=back) for back in range(KEPT_DAYS)]
        batches = [(BatchId.of(*feed, day.date() - timedelta(days=1), 1), day) for day in days]
        seen = {
            batch: Seen(
                batch=batch, state="delivered", sequence=7, route="adf", format="native", planned_at=day,
                delivered_at=day + timedelta(minutes=9), files=1, rows=31_000, bytes=2_400_000,
            )
            for batch, day in batches
        }  # fmt: skip
        yield blob_name(*feed), Recent(seen=seen).model_dump_json(exclude_defaults=True).encode()
        entry = {"number": 1, "batch": batches[0][0], "step": "planned", "delivery": 1, "details": {}, "previous": None}
        yield f"{feed[0]}/{feed[1]}/ledger.jsonl", json.dumps(entry).encode() + b"\n"


def certificates(now: datetime) -> Iterator[Blob]:
    """Yield the certificates in use of every partner."""
    from batches.certificates import CertificatesInUse, InUse
    from partners import load_partners

    used = {
        partner.name: (InUse(purpose="partner", secret=partner.certificate, expires=now + timedelta(days=40)),)
        for partner in load_partners()
    }
    yield "_certificates.json", CertificatesInUse(partners=used).model_dump_json().encode()
