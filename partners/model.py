"""A partner as its YAML file states it: validated once, then trusted. A field that is not named here is refused."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

import delivery
from delivery import Policy
from partners.checking import Fault, layout_faults, unknown_name
from partners.deadlines import Calendar
from partners.layout import AnyLayout, Column, Identifier, Layout, ShortForm
from partners.naming import BatchFacts, name_faults, name_file

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,29}$")]
SecretName = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z-]{1,127}$")]
RemoteFolder = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]*$")]
# The ends of the calendar would make a deadline that no clock can show.
PlainDate = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2199, 12, 31))]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@contextmanager
def _as_delivery_judges() -> Iterator[None]:
    """Refuse, when the file is read, what `delivery` would refuse at night."""
    try:
        yield
    except delivery.Unusable as error:
        raise ValueError(f"{error}; {error.hint}") from None


def _check_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write an IANA name such as Europe/London") from None
    return name


def _check_host_key(line: str) -> str:
    with _as_delivery_judges():
        delivery.parse_host_key(line)
    return line


class Sftp(_Model):
    """How the partner's server is reached. Secrets are named, never written."""

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\s:@/]+$")]
    private_key: SecretName | None = None
    password: SecretName | None = None
    legacy: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9@.-]{1,64}$")]] = []
    host_keys: Annotated[list[Annotated[str, AfterValidator(_check_host_key)]], Field(min_length=1, max_length=4)]

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

    table: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$")] = Field(
        description="A table with one row for a partner and business date; the feed's `where` and `business_date` choose it."
    )
    rows: Identifier = Field(description="The column that counts the rows.")
    sums: dict[Identifier, Identifier] = Field(
        default={}, description="The column of the total, by column of the feed."
    )


class Holidays(_Model):
    """Days on which no file is expected, beside the feed's week days; calendars are those of the library `holidays`."""

    country: Annotated[str, StringConstraints(pattern=r"^([A-Z]{2})?$")] = ""
    subdivision: Annotated[str, StringConstraints(max_length=20)] = ""
    market: Annotated[str, StringConstraints(max_length=20)] = ""
    closed: dict[PlainDate, str] = {}
    open: list[PlainDate] = []

    @model_validator(mode="after")
    def _check_calendars(self) -> Holidays:
        with _as_delivery_judges():
            Calendar(country=self.country, subdivision=self.subdivision, market=self.market)
        return self


class Expected(_Model):
    """When a batch must be with the partner: `days_after` its business date, by a local time of the partner's zone."""

    by: Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    days_after: Annotated[int, Field(ge=0, le=31)] = 1
    when_closed: Literal["next", "same"] = "same"
    warn_minutes: Annotated[int, Field(ge=0, le=1440)] = 60
    grace_minutes: Annotated[int, Field(ge=0, le=10080)] = 120
    since: PlainDate | None = None


class FileAnswer(_Model):
    """An answer of the partner that is a file's name: accepted or rejected."""

    kind: Literal["file"]
    folder: RemoteFolder
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    says: Literal["accepted", "rejected"]
    reason: Literal["content", "name"] = "name"

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

    kind: Literal["receipt"]
    folder: RemoteFolder
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    name_column: str
    status_column: str
    accepted: Annotated[list[str], Field(min_length=1)]
    rejected: list[str] = []
    reason_column: str = ""
    accepted_records_column: str = ""
    rejected_records_column: str = ""
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    header: bool = True
    encoding: str = "utf-8-sig"

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


class Feed(_Model):
    """One kind of file for one partner."""

    title: str
    table: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$")]
    where: dict[Identifier, str] = {}
    business_date: Identifier
    order_by: Annotated[list[Identifier], Field(min_length=1)]
    columns: Annotated[list[Column], Field(min_length=1)]
    layout: AnyLayout = ShortForm()
    control: ControlTotals | None = None
    sequence: Numbering = Numbering()
    file_name: str
    folder: RemoteFolder = "/"
    format: Literal["native", "detached", "cms", "openpgp"] = "native"
    openpgp: OpenPgpFiles | None = Field(default=None, description="Only with format: openpgp.")
    side_files: Literal["all", "none"] = Field(
        default="all",
        description="none: only the files go to the partner, no manifest, signature and keys.json; with format: openpgp.",
    )
    route: Literal["adf", "function"] = "adf"
    days: Annotated[list[Day], Field(min_length=1)] = list(DAYS)
    holidays: Holidays = Holidays()
    expected: Expected | None = None
    answers: list[Annotated[FileAnswer | ReceiptAnswer, Field(discriminator="kind")]] = []

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
    def _check_openpgp(self) -> Feed:
        if self.format != "openpgp" and self.openpgp is not None:
            raise ValueError(
                "openpgp says how files of format: openpgp are written; write that format, or leave it out"
            )
        if self.format != "openpgp" and self.side_files == "none":
            raise ValueError(
                f"side_files: none needs format: openpgp; a {self.format} file proves its sender by the manifest"
            )
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

    @property
    def full_layout(self) -> Layout:
        """The layout in full, also where the file has the short form."""
        return self.layout if isinstance(self.layout, Layout) else self.layout.in_full(self.columns)

    def name_file(self, facts: BatchFacts, sequence: int, part: int = 1) -> str:
        """Return the name of a file, such as NW_ACCRUALS_20261121_000001.txt. Raises ValueError."""
        return name_file(self.file_name, facts, sequence, part)


class Partner(_Model):
    """One partner: its certificate, its server and its feeds."""

    name: Name
    title: str
    time_zone: Annotated[str, AfterValidator(_check_time_zone)]
    certificate: SecretName
    escrow_certificate: SecretName | None = None
    sftp: Sftp
    delivery: Policy = Policy()
    feeds: Annotated[dict[Name, Feed], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_routes(self) -> Partner:
        if self.delivery.folder != ".":
            raise ValueError("delivery.folder: the folder is each feed's own; write it there")
        names: dict[str, str] = {}
        for name, feed in self.feeds.items():
            path = posixpath.normpath(posixpath.join(feed.folder, feed.name_file(_sample_facts(self), 1)))
            if path in names:
                raise ValueError(f"feeds {names[path]} and {name} write the same file_name into {feed.folder}")
            names[path] = name
        by_adf = [name for name, feed in self.feeds.items() if feed.route == "adf"]
        if by_adf and not self.sftp.private_key:
            raise ValueError(f"feed {by_adf[0]} takes the route adf, which logs in with sftp.private_key")
        if by_adf and self.delivery != Policy():
            raise ValueError(
                f"feed {by_adf[0]} takes the route adf, which knows no delivery rules: use route: function"
            )
        return self

    def business_date(self, window_start: datetime) -> date:
        """Return the date on which the window starts, in the partner's time zone."""
        return window_start.astimezone(ZoneInfo(self.time_zone)).date()

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
