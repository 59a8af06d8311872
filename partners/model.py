"""A partner as its YAML file states it: validated once, then trusted. A field that is not named here is refused."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

import delivery
from delivery import Policy
from partners.calendars import Calendar
from partners.checking import Fault, layout_faults, unknown_name
from partners.late import Late
from partners.layout import AnyLayout, Column, Identifier, Layout, ShortForm
from partners.naming import BatchFacts, name_faults, name_file
from partners.schedule import DAYS, Covers, Day, Hours, Paused, Schedule, Timetable, check_time_zone
from partners.sources import NAME as SOURCES
from partners.sources import WAREHOUSE, Name

SecretName = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z-]{1,127}$")]
TABLE = r"^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$"
RemoteFolder = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]*$")]
# The ends of the calendar would make a deadline that no clock can show.
PlainDate = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2199, 12, 31))]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@contextmanager
def _as_delivery_judges() -> Iterator[None]:
    """Refuse, when the file is read, what `delivery` would refuse at night."""
    try:
        yield
    except delivery.Unusable as error:
        raise ValueError(f"{error}; {error.hint}") from None


def _check_host_key(line: str) -> str:
    with _as_delivery_judges():
        delivery.parse_host_key(line)
    return line


class Sftp(_Model):
    """How the partner's server is reached. Secrets are named, never written."""

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$")] = Field(
        description="The server's name or address."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=22, description="Its port.")
    user: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\s:@/]+$")] = Field(
        description="The name to log in with."
    )
    private_key: SecretName | None = Field(default=None, description="The secret with our private key.")
    password: SecretName | None = Field(default=None, description="The secret with our password.")
    legacy: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9@.-]{1,64}$")]] = Field(
        default=[], description="Old algorithms that this server needs."
    )
    host_keys: Annotated[list[Annotated[str, AfterValidator(_check_host_key)]], Field(min_length=1, max_length=4)] = (
        Field(description="The server's public keys: no other server is trusted.")
    )

    @model_validator(mode="after")
    def _check_secrets(self) -> Sftp:
        if not self.private_key and not self.password:
            raise ValueError("name the secret of a private_key or of a password")
        if unknown := set(self.legacy) - set(delivery.LEGACY):
            raise ValueError(
                f"legacy: {', '.join(sorted(unknown))} is not offered; it may name {', '.join(delivery.LEGACY)}"
            )
        return self

    def connection(self, secret: Callable[[str], str]) -> delivery.ConnectionSettings:
        """Return how the server is reached; `secret` gives the value of a secret that this file names."""
        return delivery.ConnectionSettings(
            host=self.host,
            port=self.port,
            user=self.user,
            host_keys=tuple(self.host_keys),
            private_key=secret(self.private_key) if self.private_key else None,
            password=secret(self.password) if self.password else None,
            legacy=tuple(self.legacy),
        )

    @property
    def adf_host_key(self) -> str:
        """The first pinned host key as Data Factory wants it: `ssh-rsa 2048 xx:xx:...` (MD5 of the key)."""
        return delivery.parse_host_key(self.host_keys[0]).adf_fingerprint


class Numbering(_Model):
    """The numbers of a feed's files: gap-free, and the same each time a batch is made."""

    scope: Literal["feed", "partner"] = Field(
        default="feed",
        description="Whether the feed counts alone or shares its numbers with the partner's other feeds.",
    )
    first: Annotated[int, Field(ge=0, le=10**15)] = Field(default=1, alias="from", description="The first number.")
    last: Annotated[int, Field(ge=1, le=10**15)] = Field(default=10**15, alias="to", description="The last number.")
    when_full: Literal["refuse", "restart"] = Field(
        default="refuse", description="After the last number: refuse, or begin again with the first."
    )

    @model_validator(mode="after")
    def _check_range(self) -> Numbering:
        if self.first >= self.last:
            raise ValueError("from must be less than to")
        return self


class ControlTotals(_Model):
    """The mart's own totals of a batch: read in the same statement as the rows, they must equal what it counts."""

    table: Annotated[str, StringConstraints(pattern=TABLE)] = Field(
        description="A table with one row for a partner and business date; the feed's `where` and `business_date` choose it."
    )
    rows: Identifier = Field(description="The column that counts the rows.")
    sums: dict[Identifier, Identifier] = Field(
        default={}, description="The column of the total, by column of the feed."
    )


class Holidays(_Model):
    """Days on which no file is expected, beside the feed's week days; calendars are those of the library `holidays`."""

    country: Annotated[str, StringConstraints(pattern=r"^([A-Z]{2})?$")] = Field(
        default="", description="Public holidays of this country, such as GB."
    )
    subdivision: Annotated[str, StringConstraints(max_length=20)] = Field(
        default="", description="A part of the country, such as SCT."
    )
    market: Annotated[str, StringConstraints(max_length=20)] = Field(
        default="", description="A market's calendar, such as XNYS."
    )
    closed: dict[PlainDate, str] = Field(default={}, description="Further closed days, with their reason.")
    open: list[PlainDate] = Field(default=[], description="Days that are working days all the same.")

    @model_validator(mode="after")
    def _check_calendars(self) -> Holidays:
        with _as_delivery_judges():
            Calendar(country=self.country, subdivision=self.subdivision, market=self.market)
        return self


class Expected(_Model):
    """When a batch must be with the partner: `days_after` its business date, by a local time of the partner's zone."""

    by: Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(
        description="The local time at which a batch must be with the partner, such as 06:00."
    )
    days_after: Annotated[int, Field(ge=0, le=31)] = Field(
        default=1, description="How many days after the business date."
    )
    when_closed: Literal["next", "same"] = Field(
        default="same", description="When that day is closed: the next working day, or the same day."
    )
    warn_minutes: Annotated[int, Field(ge=0, le=1440)] = Field(
        default=60, description="How long before the deadline a warning is due."
    )
    grace_minutes: Annotated[int, Field(ge=0, le=10080)] = Field(
        default=120, description="How long after the deadline a batch counts as missing."
    )
    since: PlainDate | None = Field(default=None, description="The first business date that is expected.")


class FileAnswer(_Model):
    """An answer of the partner that is a file's name: accepted or rejected."""

    kind: Literal["file"] = Field(description="The answer is a file's name.")
    folder: RemoteFolder = Field(description="The folder in which answers appear.")
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=120)] = Field(
        description="The answer's name: {name} or {stem} of our file, and *."
    )
    says: Literal["accepted", "rejected"] = Field(description="What the answer means.")
    reason: Literal["content", "name"] = Field(
        default="name", description="Whether the reason is the answer's content or its name."
    )

    @model_validator(mode="after")
    def _check_rule(self) -> FileAnswer:
        self.rule()
        return self

    def rule(self) -> delivery.FileAnswer:
        """Return the answer in the words of `delivery`."""
        with _as_delivery_judges():
            return delivery.FileAnswer(**self.model_dump(exclude={"kind"}))


class ReceiptAnswer(_Model):
    """An answer of the partner that is a delimited file with a row for each of ours."""

    kind: Literal["receipt"] = Field(description="The answer is a delimited file with a row for each of ours.")
    folder: RemoteFolder = Field(description="The folder in which answers appear.")
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=120)] = Field(
        description="The answer's name, with *."
    )
    name_column: str = Field(description="The column, by title or number, that names our file.")
    status_column: str = Field(description="The column with the outcome.")
    accepted: Annotated[list[str], Field(min_length=1)] = Field(description="Its values that mean accepted.")
    rejected: list[str] = Field(default=[], description="Its values that mean rejected; default: every other.")
    reason_column: str = Field(default="", description="The column with the reason.")
    accepted_records_column: str = Field(default="", description="The column with the number of accepted records.")
    rejected_records_column: str = Field(default="", description="The column with the number of rejected records.")
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = Field(
        default=",", description="What stands between two values."
    )
    header: bool = Field(default=True, description="Whether the first row holds titles.")
    encoding: str = Field(default="utf-8-sig", description="The bytes of letters.")

    @model_validator(mode="after")
    def _check_rule(self) -> ReceiptAnswer:
        self.rule()
        return self

    def rule(self) -> delivery.ReceiptAnswer:
        """Return the answer in the words of `delivery`."""
        values = self.model_dump(exclude={"kind"})
        values |= {"accepted": frozenset(self.accepted), "rejected": frozenset(self.rejected)}
        with _as_delivery_judges():
            return delivery.ReceiptAnswer(**values)


class OpenPgpFiles(_Model):
    """How a partner wants OpenPGP files."""

    sign: bool = Field(default=True, description="Sign each file inside its encryption, with our OpenPGP key.")
    armour: bool = Field(default=False, description="Write text (ASCII armour) instead of bytes.")
    compress: bool = Field(default=False, description="Compress before encrypting.")
    extension: Literal[".pgp", ".gpg", ".asc", ""] = Field(
        default=".pgp", description="What the name at the partner has after file_name; empty: nothing."
    )


class SmimeFiles(_Model):
    """How a partner wants S/MIME files."""

    key_transport: Literal["pkcs1v15", "oaep"] = Field(
        default="pkcs1v15", description="How the file key is wrapped: pkcs1v15 is what every program opens."
    )
    sign: bool = Field(default=False, description="Sign each file inside its encryption, with our S/MIME key.")
    armour: Literal["none", "pem", "mime"] = Field(
        default="none", description="Write text instead of bytes: PEM (BEGIN CMS), or a MIME message."
    )
    extension: Literal[".p7m", ""] = Field(
        default=".p7m", description="What the name at the partner has after file_name; empty: nothing."
    )


FileWishes = OpenPgpFiles | SmimeFiles


class Feed(_Model):
    """One kind of file for one partner."""

    title: str = Field(description="What the feed is, for people.")
    source: Name = Field(
        default=WAREHOUSE,
        description="The database that is read: warehouse (PostgreSQL), or a name of sources.yaml (Azure SQL, SQL Server).",
    )
    table: Annotated[str, StringConstraints(pattern=TABLE)] = Field(
        description="The table that is read, as schema.table."
    )
    where: dict[Identifier, str] = Field(default={}, description="Only rows whose columns have these texts.")
    business_date: Identifier = Field(description="The column with the business date: a batch holds the rows of one.")
    order_by: Annotated[list[Identifier], Field(min_length=1)] = Field(
        description="The columns that decide the order of all rows. Texts sort by their bytes, numbers by size."
    )
    columns: Annotated[list[Column], Field(min_length=1)] = Field(
        description="The only columns that may leave, in order."
    )
    layout: AnyLayout = Field(default=ShortForm(), description="The form of the file.")
    control: ControlTotals | None = Field(
        default=None, description="The mart's own totals of a batch, which must equal what is extracted."
    )
    sequence: Numbering = Field(default=Numbering(), description="The numbers of the feed's files.")
    file_name: str = Field(
        description="The name of a file: {date:%Y%m%d}, {made:%Y%m%d%H%M%S}, {sequence:06d}, {letter}, {part:02d}, {partner}."
    )
    folder: RemoteFolder = Field(default="/", description="The folder on the partner's server.")
    format: Literal["native", "detached", "cms", "openpgp", "smime"] = Field(
        default="native", description="How files are sealed; docs/partners.md says what opens which."
    )
    openpgp: OpenPgpFiles | None = Field(
        default=None, description="How the partner wants OpenPGP files; only with format: openpgp."
    )
    smime: SmimeFiles | None = Field(
        default=None, description="How the partner wants S/MIME files; only with format: smime."
    )
    side_files: Literal["all", "none"] = Field(
        default="all",
        description="none: only the files go to the partner, no manifest, signature and keys.json; for openpgp and smime.",
    )
    manifest_totals: bool = Field(
        default=False,
        description="Write the sum of every number column into the signed manifest, beside the rows; its version is then 2.",
    )
    route: Literal["adf", "function"] = Field(
        default="adf", description="Who delivers: Data Factory's Copy, or the function."
    )
    days: Annotated[list[Day], Field(min_length=1)] = Field(
        default=list(DAYS), description="The week days on which a file is expected."
    )
    holidays: Holidays = Field(default=Holidays(), description="The days on which none is.")
    schedule: Schedule | None = Field(
        default=None, description="When it runs; without it, every night at 02:00 UTC. See docs/calendars.md."
    )
    covers: Covers | Hours = Field(
        default="day", description="What one batch covers: day, since_last, week, month or {hours, column}."
    )
    since: PlainDate | None = Field(default=None, description="The first business date: nothing older is ever sent.")
    late: Late | None = Field(
        default=None,
        description="Rows that are loaded after the batch of their day was planned; see docs/calendars.md.",
    )
    paused: Paused | None = Field(default=None, description="No batch is due until that day; the reason is shown.")
    exposure: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")] | None = Field(
        default=None, description="The dbt exposure whose models must be green; <partner>_<feed> if left out."
    )
    expected: Expected | None = Field(default=None, description="The deadline.")
    answers: list[Annotated[FileAnswer | ReceiptAnswer, Field(discriminator="kind")]] = Field(
        default=[], description="How the partner answers."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone_is_a_text_column(cls, data: object) -> object:
        if isinstance(data, Mapping) and isinstance(data.get("columns"), list):
            columns = [{"name": column} if isinstance(column, str) else column for column in data["columns"]]
            return {**data, "columns": columns}
        return data

    @model_validator(mode="after")
    def _check_names(self) -> Feed:
        names = [column.name for column in self.columns]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"columns name {', '.join(sorted(doubled))} more than once")
        if any(part in ("..", ".") for part in self.folder.split("/")):
            raise ValueError("folder must be an absolute path without . and ..")
        return self

    @model_validator(mode="after")
    def _check_source(self) -> Feed:
        alien = [column.name for column in self.columns if column.stored or column.zone]
        if self.source == WAREHOUSE and alien:
            raise ValueError(
                f"column {alien[0]}: stored and zone are for sources of SQL Server; name the feed's source"
            )
        return self

    @model_validator(mode="after")
    def _check_file_wishes(self) -> Feed:
        for name in ("openpgp", "smime"):
            if self.format != name and getattr(self, name) is not None:
                raise ValueError(
                    f"{name} says how files of format: {name} are written; write that format, or leave it out"
                )
        if self.side_files == "none" and self.format not in ("openpgp", "smime"):
            raise ValueError(
                f"side_files: none needs format: openpgp or smime; a {self.format} file proves its sender by the manifest"
            )
        if self.side_files == "none" and self.format == "smime" and not (self.smime and self.smime.sign):
            raise ValueError(
                "side_files: none with format: smime needs smime: {sign: true}: without a manifest nothing else shows a change"
            )
        return self

    @model_validator(mode="after")
    def _check_manifest_totals(self) -> Feed:
        if not self.manifest_totals:
            return self
        if self.side_files == "none":
            raise ValueError("manifest_totals needs the manifest at the partner: leave out side_files: none")
        if not any(column.is_number for column in self.columns):
            raise ValueError("manifest_totals needs a number column: give one of columns a type, such as decimal")
        return self

    @model_validator(mode="after")
    def _check_layout(self) -> Feed:
        """Refuse what would else fail at night; every fault with its place, all in one round."""
        full = self.full_layout
        faults: list[Fault] = [
            (("file_name",), text) for text in name_faults(self.file_name, in_parts=bool(full.rows_per_file))
        ]
        if isinstance(self.layout, Layout):
            faults += [(("layout", *place), text) for place, text in layout_faults(full, self.columns, self.order_by)]
        faults += self._control_faults()
        if faults:
            raise ValidationError.from_exception_data(
                "Feed",
                [
                    InitErrorDetails(type=PydanticCustomError("feed", "{text}", {"text": text}), loc=place, input=None)
                    for place, text in faults
                ],
            )
        return self

    def _control_faults(self) -> list[Fault]:
        numbers = [column.name for column in self.columns if column.is_number]
        named = self.control.sums if self.control else {}
        return [
            (("control", "sums", name), unknown_name(name, numbers, "number column of this feed"))
            for name in named
            if name not in numbers
        ]

    @model_validator(mode="after")
    def _check_working_days(self) -> Feed:
        """Refuse closed days after which no working day comes: each deadline would fail, not this file."""
        if self.expected is not None and self.expected.when_closed == "next":
            closed, opened = self.holidays.closed, frozenset(self.holidays.open)
            calendar = Calendar(days=frozenset(self.days), closed=closed, open=opened)
            with _as_delivery_judges():
                for day in closed:
                    calendar.next_working_day(day)
        return self

    @model_validator(mode="after")
    def _check_covers(self) -> Feed:
        if self.covers == "since_last" and self.since is None:
            raise ValueError("covers: since_last needs since: the business date with which its first batch begins")
        if isinstance(self.covers, Hours) and self.schedule is None:
            raise ValueError("covers: {hours: ...} needs a schedule, such as {every_hours: 4}")
        if isinstance(self.covers, Hours) and self.expected is not None:
            raise ValueError("expected is a deadline of business dates; a feed that covers hours cannot have it")
        if isinstance(self.covers, Hours) and self.control is not None:
            raise ValueError("control has totals of business dates; a feed that covers hours cannot have it")
        if self.late is not None:
            self._check_late(self.late)
        if isinstance(self.covers, Hours) and not ("{sequence" in self.file_name or "{made" in self.file_name):
            raise ValueError("covers: {hours: ...} gives several batches a day: write {sequence} into file_name")
        return self

    def _check_late(self, late: Late) -> None:
        if late.rows == "ignore":
            return
        if late.column is None:
            raise ValueError(f"late: {{rows: {late.rows}}} needs column: the one that says when a row was loaded")
        if self.covers != "since_last":
            raise ValueError(f"late: {{rows: {late.rows}}} needs covers: since_last, whose batches follow each other")
        if late.rows == "next" and self.control is not None:
            raise ValueError(
                "control has totals of business dates, and with late: {rows: next} a batch has rows of others"
            )

    @property
    def wishes(self) -> FileWishes | None:
        """How the partner wants the files of a format that leaves a choice."""
        return self.openpgp or self.smime

    @property
    def calendar(self) -> Calendar:
        """The days on which the partner works."""
        return Calendar(
            days=frozenset(self.days),
            country=self.holidays.country,
            subdivision=self.holidays.subdivision,
            market=self.holidays.market,
            closed=self.holidays.closed,
            open=frozenset(self.holidays.open),
        )

    @property
    def full_layout(self) -> Layout:
        """The layout in full, also where the file has the short form."""
        return self.layout if isinstance(self.layout, Layout) else self.layout.in_full(self.columns)

    def name_file(self, facts: BatchFacts, sequence: int, part: int = 1) -> str:
        """Return the name of a file, such as NW_ACCRUALS_20261121_000001.txt. Raises ValueError."""
        return name_file(self.file_name, facts, sequence, part)


class Partner(_Model):
    """One partner: its certificate, its server and its feeds."""

    name: Name = Field(description="The partner's name: that of this file.")
    title: str = Field(description="Its name for people.")
    time_zone: Annotated[str, AfterValidator(check_time_zone)] = Field(
        description="The IANA time zone of its business dates, file names and deadlines."
    )
    certificate: SecretName = Field(description="The Key Vault secret with its public certificate or certificates.")
    escrow_certificate: SecretName | None = Field(
        default=None, description="The secret of a certificate that opens every file as well, kept by the company."
    )
    sftp: Sftp = Field(description="How its server is reached.")
    delivery: Policy = Field(default=Policy(), description="How it wants files to arrive.")
    feeds: Annotated[dict[Name, Feed], Field(min_length=1)] = Field(description="The feeds: one kind of file each.")

    @model_validator(mode="after")
    def _check_routes(self) -> Partner:
        if self.delivery.folder != ".":
            raise ValueError("delivery.folder: the folder is each feed's own; write it there")
        if f"{self.name}.yaml" == SOURCES:
            raise ValueError(f"{SOURCES} is the file of the sources: give the partner another name")
        names: dict[str, str] = {}
        for name, feed in self.feeds.items():
            path = posixpath.normpath(posixpath.join(feed.folder, feed.name_file(_sample_facts(self), 1)))
            if path in names:
                raise ValueError(f"feeds {names[path]} and {name} write the same file_name into {feed.folder}")
            names[path] = name
        by_adf = [name for name, feed in self.feeds.items() if feed.route == "adf"]
        if by_adf and not self.sftp.private_key:
            raise ValueError(f"feed {by_adf[0]} takes the route adf, which logs in with sftp.private_key")
        changed = [
            rule.name for rule in fields(Policy) if getattr(self.delivery, rule.name) != getattr(Policy(), rule.name)
        ]
        if by_adf and (alien := [name for name in changed if name != "confirm"]):
            raise ValueError(
                f"feed {by_adf[0]} takes the route adf, which cannot keep delivery.{alien[0]}: use route: function"
            )
        return self

    def business_date(self, window_start: datetime) -> date:
        """Return the date on which the window starts, in the partner's time zone."""
        return window_start.astimezone(ZoneInfo(self.time_zone)).date()

    def timetable(self, feed: str) -> Timetable:
        """Return when a feed runs and what its runs cover."""
        found = self.feeds[feed]
        return Timetable(
            time_zone=self.time_zone,
            calendar=found.calendar,
            schedule=found.schedule,
            covers=found.covers,
            since=found.since,
            paused=found.paused,
        )

    def facts(self, feed: str, business_date: date, revision: int, made: datetime) -> BatchFacts:
        """Return what the files of a batch know besides their rows; `made` is the instant of planning, aware."""
        return BatchFacts(
            batch=f"{self.name}.{feed}.{business_date}.{revision}",
            partner=self.name,
            business_date=business_date,
            made=made,
            time_zone=self.time_zone,
            revision=revision,
        )


def _sample_facts(partner: Partner) -> BatchFacts:
    return partner.facts("sample", date(2000, 12, 31), 1, datetime(2000, 12, 31, 23, 59, 58, tzinfo=UTC))
