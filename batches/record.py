"""The record of a batch: its plan and every step's outcome, one JSON blob that changes only under its ETag.

States are derived, never stored: see `batches.status`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContainerClient
from pydantic import AwareDatetime, BaseModel, ConfigDict

from batches.errors import InvalidRequest, UnknownBatch
from encryption import EXTENSIONS
from partners import ShortForm

# The staged rows of a batch, in its folder of the raw container.
ROWS = "rows.jsonl"

_BATCH_ID = re.compile(r"([a-z][a-z0-9-]{0,29})\.([a-z][a-z0-9-]{0,29})\.(\d{4}-\d{2}-\d{2})\.([1-9]\d{0,3})")


@dataclass(frozen=True, slots=True)
class BatchId:
    """`{partner}.{feed}.{business date}.{revision}`, such as northwind.accruals.2026-11-21.1."""

    partner: str
    feed: str
    business_date: date
    revision: int

    @classmethod
    def parse(cls, text: str) -> BatchId:
        """Raises InvalidRequest; whatever passes is safe in a blob name."""
        match = _BATCH_ID.fullmatch(text)
        try:
            if match:
                return cls(match[1], match[2], date.fromisoformat(match[3]), int(match[4]))
        except ValueError:
            pass
        raise InvalidRequest("that is not a batch id", "a batch id looks like northwind.accruals.2026-11-21.1")

    @classmethod
    def of_blob(cls, name: str) -> BatchId | None:
        """Return the batch in whose folder a blob lies, or None for somebody else's blob."""
        try:
            return cls.parse(name.rpartition("/")[0].replace("/", "."))
        except InvalidRequest:
            return None

    def __str__(self) -> str:
        return f"{self.partner}.{self.feed}.{self.business_date}.{self.revision}"

    @property
    def folder(self) -> str:
        """The batch's folder in every container, without a closing slash."""
        return f"{self.partner}/{self.feed}/{self.business_date}.{self.revision}"


class _Json(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StagedFile(_Json):
    """A plaintext file as it was accepted for sealing: nothing else is ever sealed for this batch.

    `sums` are the writer's, in units of 10^-12, by number column; a file that was not shaped here has none and is not read back.
    """

    name: str
    etag: str
    size_bytes: int
    rows: int | None = None
    part: int = 1
    sequence: int | None = None
    rows_before: int = 0
    lines: int | None = None
    sums: dict[str, str] | None = None


class StagedRows(_Json):
    """The rows of a batch as they were accepted for shaping: its files are made from no others."""

    etag: str
    size_bytes: int


class Failure(_Json):
    """Why the batch stands still, for people."""

    step: str
    cause: str
    hint: str
    at: AwareDatetime
    run_id: str | None = None


class Resend(_Json):
    """Somebody's wish to deliver the same bytes again, and why."""

    at: AwareDatetime
    who: str
    reason: str


class Record(_Json):
    """batch.json."""

    version: int = 1
    batch: str
    sequence: int
    window_start: AwareDatetime
    window_end: AwareDatetime
    planned_at: AwareDatetime
    run_id: str | None = None
    files: list[str]
    query: str
    layout: ShortForm | None = None  # of batches that were planned by versions before 0.2; now in layout.json
    format: str
    route: str
    folder: str
    rows: StagedRows | None = None
    staged: list[StagedFile] | None = None
    emptied_at: AwareDatetime | None = None
    failure: Failure | None = None
    failures_before: list[Failure] = []
    resends: list[Resend] = []
    delivering: int | None = None
    plaintext_purged_at: AwareDatetime | None = None

    @property
    def id(self) -> BatchId:
        return BatchId.parse(self.batch)

    @property
    def delivery(self) -> int:
        """The number of the delivery that is due or done: 1, and one more for each re-send."""
        return 1 + len(self.resends)

    def sealed_name(self, file: str) -> str:
        """Return the name that a file of the batch has once it is sealed."""
        return file + EXTENSIONS[self.format]


def create(container: ContainerClient, record: Record) -> Record:
    """Write a new record; when another call was first, return what it wrote."""
    blob = container.get_blob_client(f"{record.id.folder}/batch.json")
    try:
        blob.upload_blob(_to_bytes(record), match_condition=MatchConditions.IfMissing)
    except (ResourceExistsError, ResourceModifiedError):
        return read(container, record.id)
    return record


def read(container: ContainerClient, batch: BatchId) -> Record:
    """Raises UnknownBatch."""
    return _read(container, batch)[0]


def update(container: ContainerClient, batch: BatchId, change: Callable[[Record], Record]) -> Record:
    """Apply `change` to the newest record and write it, again from the start when somebody else wrote meanwhile."""
    while True:
        record, etag = _read(container, batch)
        changed = change(record)
        if changed == record:
            return record
        blob = container.get_blob_client(f"{batch.folder}/batch.json")
        try:
            blob.upload_blob(
                _to_bytes(changed), overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified
            )
        except ResourceModifiedError:
            continue
        return changed


def fail(record: Record, *, step: str, cause: str, hint: str, now: datetime, run_id: str | None) -> Record:
    """Return the record with its failure; the first cause stands, later ones are its consequences."""
    if record.failure:
        return record
    failure = Failure(step=step, cause=cause[:4000], hint=hint[:500], at=now, run_id=run_id)
    return record.model_copy(update={"failure": failure})


def resume(record: Record) -> Record:
    """Return the record without its failure, which is kept among those before: the batch is being worked on again."""
    if not record.failure:
        return record
    return record.model_copy(
        update={"failure": None, "failures_before": [*record.failures_before, record.failure][-20:]}
    )


def _read(container: ContainerClient, batch: BatchId) -> tuple[Record, str]:
    try:
        download = container.get_blob_client(f"{batch.folder}/batch.json").download_blob()
    except ResourceNotFoundError:
        raise UnknownBatch(f"batch {batch} was never planned", "plan it first: POST /api/batches") from None
    return Record.model_validate_json(download.readall()), download.properties.etag


def _to_bytes(record: Record) -> bytes:
    return record.model_dump_json(indent=1).encode()
