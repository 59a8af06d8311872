"""The record of a batch: its plan and every step's outcome, one JSON blob that changes only under its ETag.

States are derived, never stored: see `batches.status`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal, Self

from azure.storage.blob import ContainerClient
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from batches import blobs
from batches.errors import InvalidRequest, Superseded, UnknownBatch
from encryption import EXTENSIONS
from partners import ShortForm
from partners.model import FileWishes, OpenPgpFiles, SmimeFiles
from partners.schedule import Cover
from partners.sources import WAREHOUSE

# The staged rows of a batch, in its folder of the raw container: each run's extraction has a name of its own, `<run>.rows.jsonl`.
ROWS = "rows.jsonl"
_EXTRACT = re.compile(r"([A-Za-z0-9-]{1,100}\.)?rows\.jsonl", re.ASCII)

_PATTERN = r"([a-z][a-z0-9-]{0,29})\.([a-z][a-z0-9-]{0,29})\.((\d{4}-\d{2}-\d{2})(?:T\d{4})?)\.([1-9]\d{0,3})"
_BATCH_ID = re.compile(_PATTERN, re.ASCII)


class BatchId(str):
    """`{partner}.{feed}.{slot}.{revision}`, such as northwind.accruals.2026-11-21.1.

    The slot is the last day that the batch covers, its business date; for a block of hours with the local time at which that
    begins, such as 2026-11-21T0600.

    A text, so it is itself in JSON, log lines and messages; validated once, so it is safe in a blob name.
    """

    __slots__ = ("business_date", "feed", "partner", "revision", "slot")

    partner: str
    feed: str
    slot: str
    business_date: date
    revision: int

    def __new__(cls, text: str) -> Self:
        """Raise ValueError for a text that is not a batch id."""
        match = _BATCH_ID.fullmatch(text)
        if not match:
            raise ValueError("that is not a batch id")
        made = super().__new__(cls, text)
        made.partner, made.feed, made.slot = match[1], match[2], match[3]
        made.business_date, made.revision = date.fromisoformat(match[4]), int(match[5])
        return made

    @classmethod
    def of(cls, partner: str, feed: str, slot: date | str, revision: int) -> BatchId:
        return cls(f"{partner}.{feed}.{slot}.{revision}")

    @classmethod
    def parse(cls, text: str) -> BatchId:
        """Return a caller's text as an id. Raises InvalidRequest."""
        try:
            return cls(text)
        except ValueError:
            raise InvalidRequest(
                "that is not a batch id", "a batch id looks like northwind.accruals.2026-11-21.1"
            ) from None

    @classmethod
    def of_blob(cls, name: str) -> BatchId | None:
        """Return the batch in whose folder a blob is, or None for another's blob."""
        try:
            return cls(name.rpartition("/")[0].replace("/", "."))
        except ValueError:
            return None

    @property
    def folder(self) -> str:
        """The batch's folder in every container, without a closing slash."""
        return f"{self.partner}/{self.feed}/{self.slot}.{self.revision}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(max_length=90))

    def __reduce__(self) -> tuple[type[BatchId], tuple[str]]:
        return BatchId, (str(self),)


class Stored(BaseModel):
    """A value that is one of our JSON blobs or messages, or a part of one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StagedFile(Stored):
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


class StagedRows(Stored):
    """The rows of a batch as they were accepted for shaping: its files are made from no others."""

    name: str = ROWS
    etag: str
    size_bytes: int


def is_extract(name: str) -> bool:
    """Return whether a name in a batch's raw folder is one that extractions write."""
    return _EXTRACT.fullmatch(name) is not None


def shown(text: str) -> str:
    """Return a text without control characters, which a terminal would obey; line ends and tabs become blanks."""
    return "".join(character if character.isprintable() else " " for character in text)


class Failure(Stored):
    """Why the batch stands still, for people. Texts that are longer than a person reads are cut."""

    step: str
    cause: Annotated[str, BeforeValidator(lambda text: shown(text)[:4000])]
    hint: Annotated[str, BeforeValidator(lambda text: shown(text)[:500])]
    at: AwareDatetime
    run_id: str | None = None


class Work(Stored):
    """The run that works on a batch, since when."""

    run_id: str
    since: AwareDatetime


class Resend(Stored):
    """A request to deliver the same bytes again, and why."""

    at: AwareDatetime
    who: str
    reason: str


class Covered(Stored):
    """What the batch covers: days of the partner's zone, both included; the same as instants, the end excluded."""

    first: date
    last: date
    start: AwareDatetime
    end: AwareDatetime

    @classmethod
    def of(cls, cover: Cover) -> Covered:
        return cls(first=cover.first, last=cover.last, start=cover.start, end=cover.end)


class Loads(Stored):
    """Which rows a batch takes by the time of their load, as `partners.late.Loaded`; `rows` is the feed's rule for late ones."""

    column: str
    rows: Literal["next", "refuse"]
    since: date
    until: AwareDatetime
    before: date | None = None
    seen: AwareDatetime | None = None


class Record(Stored):
    """batch.json. `superseded_by` names the later batch that took the days of this one, which never left.

    `force` is the reason to plan what is refused otherwise.
    """

    version: int = 1
    batch: BatchId
    sequence: int
    window_start: AwareDatetime
    window_end: AwareDatetime
    planned_at: AwareDatetime
    cover: Covered | None = None  # of batches that were planned by versions before 0.3: their business date
    loads: Loads | None = None
    force: str | None = None
    superseded_by: BatchId | None = None
    run_id: str | None = None
    files: list[str]
    source: str = WAREHOUSE
    query: str
    layout: ShortForm | None = None  # of batches that were planned by versions before 0.2; now in layout.json
    format: str
    openpgp: OpenPgpFiles | None = None
    smime: SmimeFiles | None = None
    side_files: Literal["all", "none"] = "all"
    manifest_totals: bool = False
    route: str
    folder: str
    rows: StagedRows | None = None
    staged: list[StagedFile] | None = None
    emptied_at: AwareDatetime | None = None
    worked_by: Work | None = None
    failure: Failure | None = None
    failures_before: list[Failure] = []
    resends: list[Resend] = []
    delivering: int | None = None
    plaintext_purged_at: AwareDatetime | None = None

    @property
    def delivery(self) -> int:
        """The number of the delivery that is due or done: 1, and one more for each re-send."""
        return 1 + len(self.resends)

    def sealed_name(self, file: str) -> str:
        """Return the name that a file of the batch has once it is sealed."""
        return sealed_name(file, self.format, self.openpgp or self.smime)

    def of_delivery(self, stem: str, delivery: int | None = None) -> str:
        """Return the blob name of what belongs to one delivery: `receipt.json`, `receipt.2.json`, ..."""
        number = delivery or self.delivery
        return f"{self.batch.folder}/{stem}.json" if number == 1 else f"{self.batch.folder}/{stem}.{number}.json"


def sealed_name(file: str, format: str, wished: FileWishes | None) -> str:  # noqa: A002  # the field's word
    """Return the name that a file has once it is sealed; OpenPGP and S/MIME files are called as their partner wishes."""
    return file + (wished.extension if wished else EXTENSIONS[format])


def create(container: ContainerClient, record: Record) -> Record:
    """Write a new record; when another call was first, return what it wrote."""
    name = _name(record.batch)
    return blobs.parse(blobs.write_once(container, name, _to_bytes(record)), name, Record)


def read(container: ContainerClient, batch: BatchId) -> Record:
    """Raises UnknownBatch, Unreadable."""
    return _parse(blobs.read(container, _name(batch)), batch)


def update(container: ContainerClient, batch: BatchId, change: Callable[[Record], Record]) -> Record:
    """Apply `change` to the newest record and write it, again from the start when another call wrote meanwhile."""
    changed: list[Record] = []

    def rewrite(content: bytes | None) -> bytes:
        record = _parse(content, batch)
        changed[:] = [change(record)]
        return content if content and changed[0] == record else _to_bytes(changed[0])

    blobs.update(container, _name(batch), rewrite)
    return changed[0]


def fail(record: Record, failure: Failure) -> Record:
    """Return the record with its failure; the first cause stands, later ones are its consequences."""
    return record if record.failure else record.model_copy(update={"failure": failure})


def refuse_superseded(record: Record) -> None:
    """Raise Superseded for a batch whose days leave, or have left, with a later one."""
    if record.superseded_by is not None:
        raise Superseded(
            f"the days of batch {record.batch} are in batch {record.superseded_by}",
            f"no action needed; look at ./sealift batch show {record.superseded_by}",
        )


def resume(record: Record) -> Record:
    """Return the record without its failure, which is kept among those before: the batch is being worked on again.

    Raises Superseded: a batch whose days are in a later one is never worked on again.
    """
    refuse_superseded(record)
    if not record.failure:
        return record
    return record.model_copy(
        update={"failure": None, "failures_before": [*record.failures_before, record.failure][-20:]}
    )


def _name(batch: BatchId) -> str:
    return f"{batch.folder}/batch.json"


def _parse(content: bytes | None, batch: BatchId) -> Record:
    if content is None:
        raise UnknownBatch(f"batch {batch} was never planned", "plan it first: POST /api/batches")
    return blobs.parse(content, _name(batch), Record)


def _to_bytes(record: Record) -> bytes:
    return record.model_dump_json(indent=1).encode()
