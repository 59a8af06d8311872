"""The layout of a partner's file: its records, their fields and how each value is written; the grammar that YAML files use.

Says what a layout is, not how it is written (`shaping`), read back (`rereading`) or checked as a whole (`checking`). The
short form of a delimited file with a row of titles (`ShortForm`) means a titles record and one row record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WrapValidator, model_validator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
Text = Annotated[str, StringConstraints(max_length=1000)]
Filler = Annotated[str, StringConstraints(min_length=1, max_length=1, pattern=r"^[ -~]$")]
Condition = dict[Identifier, Text | list[Text]]
Place = Literal["start", "group", "row", "group_end", "end"]
# IANA's names of two of them are taken as well.
_ENCODING_NAMES = {"us-ascii": "ascii", "iso-8859-1": "latin-1"}
Encoding = Annotated[
    Literal["ascii", "latin-1", "cp1252", "utf-8", "utf-8-bom", "cp037", "cp500", "cp1140"],
    BeforeValidator(lambda name: _ENCODING_NAMES.get(name, name) if isinstance(name, str) else name),
]

LINE_ENDS = {"lf": "\n", "cr": "\r", "crlf": "\r\n", "none": ""}
SOURCES = ("constant", "blank", "column", "date", "number", "count", "sum", "guid", "letter")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Column(_Model):
    """One column of the feed's table that may leave, and the type of its values."""

    name: Identifier = Field(description="The column's name in the table.")
    type: Literal["text", "integer", "decimal", "date", "timestamp"] = Field(
        default="text", description="What its values are; a timestamp must have a time zone in the table."
    )
    scale: Annotated[int, Field(ge=0, le=12)] | None = Field(
        default=None, description="Decimals of a decimal; a value with more is refused, never rounded."
    )
    stored: Literal["float", "real", "time", "binary"] | None = Field(
        default=None,
        description="SQL Server: the column's type in the table, float or real (numbers), time or binary (texts).",
    )
    zone: Annotated[str, StringConstraints(pattern=r"^(UTC|[+-](0\d|1[0-4]):[0-5]\d)$")] | None = Field(
        default=None,
        description="SQL Server: the zone of a timestamp that has none in the table: UTC, or such as +02:00.",
    )

    @model_validator(mode="after")
    def _check_scale(self) -> Column:
        if (self.scale is not None) != (self.type == "decimal"):
            raise ValueError("scale belongs to type: decimal, and a decimal needs one")
        return self

    @model_validator(mode="after")
    def _check_stored(self) -> Column:
        if self.stored in ("float", "real") and not self.is_number:
            raise ValueError(f"stored: {self.stored} belongs to type: decimal or integer")
        if self.stored in ("time", "binary") and self.type != "text":
            raise ValueError(f"stored: {self.stored} belongs to type: text")
        if self.zone and self.type != "timestamp":
            raise ValueError("zone belongs to type: timestamp")
        return self

    @property
    def offset(self) -> str:
        """What stands after the text of a timestamp without a zone; nothing where the value has its own."""
        return {None: "", "UTC": "Z"}.get(self.zone, self.zone or "")

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers: those are summed by every witness."""
        return self.type in ("integer", "decimal")


class RecordField(_Model):
    """One field of a record: exactly one source, and the form in which its value is written."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=120)] = Field(
        default="",
        description="The field's name, as the partner calls it: in titles, messages and tables. Default: the column.",
    )
    constant: Text | None = Field(default=None, description="Source: this text.")
    blank: Literal[True] | None = Field(default=None, description="Source: nothing; a filler.")
    column: Identifier | None = Field(default=None, description="Source: the row's value of this column.")
    date: Literal["business", "made"] | None = Field(
        default=None, description="Source: the business date, or the instant at which the batch was planned."
    )
    number: Literal["sequence", "row", "row_in_group", "row_in_batch", "line", "group", "part", "parts"] | None = Field(
        default=None, description="Source: a number that the batch knows."
    )
    count: Literal["rows", "groups", "lines", "blocks"] | None = Field(
        default=None, description="Source: how many there are in the file, or in the group in a group record."
    )
    sum: Identifier | None = Field(default=None, description="Source: the sum of this column.")
    guid: Literal["file"] | None = Field(
        default=None, description="Source: a GUID that is the same each time this file of this batch is made."
    )
    letter: Literal["revision"] | None = Field(
        default=None, description="Source: A for the first revision of a business date, B for the second, up to Z."
    )
    where: Condition | None = Field(
        default=None,
        description="Only rows with these values are counted or summed; several keys are AND, a list is OR.",
    )
    digits: Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Sum the number that the characters from the first to the second position form."
    )
    modulo: Annotated[int, Field(ge=2, le=10**30)] | None = Field(
        default=None,
        description="A hash total: only the remainder by this number is written, such as the last ten digits.",
    )
    over: Literal["group", "file", "batch"] | None = Field(
        default=None, description="What a total spans. Default: the group in a group record, else the file."
    )
    length: Annotated[int, Field(ge=1, le=10000)] | None = Field(
        default=None, description="Exactly so long: shorter values are padded, longer ones refused."
    )
    max: Annotated[int, Field(ge=1, le=100000)] | None = Field(
        default=None, description="At most so long; longer values are refused."
    )
    align: Literal["left", "right"] | None = Field(
        default=None, description="Where a padded value stands. Default: text left, numbers right."
    )
    fill: Filler | None = Field(default=None, description="What pads. Default: blanks for text, zeros for numbers.")
    scale: Annotated[int, Field(ge=0, le=12)] | None = Field(
        default=None, description="Decimals that are written; a value with more is refused. Default: the column's."
    )
    implied: bool = Field(default=False, description="No decimal point is written: 212.50 becomes 21250.")
    sign: Literal["minus", "none", "absolute", "leading", "trailing", "overpunch"] | None = Field(
        default=None,
        description="minus: only before negatives (default); none: negatives are refused; absolute: the sign is dropped;"
        " leading, trailing: + or -; overpunch: in the last digit, {A-I and }J-R.",
    )
    plain_positive: bool = Field(default=False, description="Positive numbers get no sign and no overpunch.")
    format: Annotated[str, StringConstraints(min_length=1, max_length=60)] | None = Field(
        default=None, description="How a date is written: %Y %y %m %d %j %H %I %M %S %p %f %z, %% and plain characters."
    )
    zone: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="The IANA time zone of the written time. Default: the partner's."
    )
    map: Annotated[dict[Text, Text], Field(min_length=1)] | None = Field(
        default=None, description="What is written for each value; another value is refused."
    )
    values: Annotated[list[Text], Field(min_length=1)] | None = Field(
        default=None, description="The only values that are allowed."
    )
    match: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        default=None, description="A regular expression that the whole value must match."
    )
    optional: bool = Field(default=False, description="The value may be missing: NULL or an empty text.")
    blank_when: Condition | None = Field(
        default=None, description="The field is left blank for rows with these values."
    )
    required_when: Condition | None = Field(
        default=None, description="The value may be missing except for rows with these values."
    )
    truncate: bool = Field(
        default=False, description="A text that is too long is cut: the only way in which anything is."
    )
    unique: bool = Field(
        default=False, description="No two rows of the batch may have the same value; the database counts."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_by_source(cls, data: object) -> object:
        if isinstance(data, Mapping) and "name" not in data:
            source = next((name for name in SOURCES if data.get(name) is not None), None)
            if source is not None:
                value = data[source]
                return {**data, "name": value if source in ("column", "sum") else source}
        return data

    @property
    def source(self) -> str:
        """Return the key of the field's source, or "" in a record of titles."""
        return next((name for name in SOURCES if getattr(self, name) is not None), "")

    @property
    def is_total(self) -> bool:
        """Whether the value is known only when rows have been read."""
        return self.count is not None or self.sum is not None or self.number == "parts"

    @property
    def used_columns(self) -> Iterator[str]:
        """Every column that the field reads, also in conditions."""
        yield from (name for name in (self.column, self.sum) if name)
        for condition in (self.where, self.blank_when, self.required_when):
            yield from condition or ()


class Record(_Model):
    """One kind of line."""

    record: Annotated[str, StringConstraints(min_length=1, max_length=60)] = Field(
        description="The record's name in messages and tables."
    )
    at: Place = Field(default="row", description="Where it stands. Default: row; titles stand at the start.")
    when: Condition | None = Field(
        default=None, description="Row records only: written for rows with these values. Default: for every row."
    )
    titles: bool = Field(
        default=False, description="The line is the names of its fields, or of the row record's when it has none."
    )
    fields: list[RecordField] = Field(default=[], description="The fields, in order.")

    @model_validator(mode="before")
    @classmethod
    def _titles_stand_at_the_start(cls, data: object) -> object:
        if isinstance(data, Mapping) and data.get("titles") is True and "at" not in data:
            return {**data, "at": "start"}
        return data


class Block(_Model):
    """Lines that fill the file up to a whole number of blocks."""

    lines: Annotated[int, Field(ge=2, le=1000)] = Field(description="How many lines a block has.")
    fill: Annotated[str, StringConstraints(min_length=1, max_length=1000)] = Field(
        description="What the filling lines consist of, repeated to the record's length."
    )


class Layout(_Model):
    """The records of a file and the form of its lines."""

    fixed: Annotated[int, Field(ge=1, le=100000)] | None = Field(
        default=None, description="Every record is so long, and each of its fields has a length."
    )
    delimited: Annotated[str, StringConstraints(min_length=1, max_length=8, pattern=r"^[^\r\n\"\\]+$")] | None = Field(
        default=None, description="Fields are joined by this text of 1 to 8 characters."
    )
    quote: Literal["never", "minimal", "always"] | None = Field(
        default=None,
        description="never: a value that holds the delimiter or a quote is refused; minimal: quoted where needed (default);"
        " always: everything but NULL is quoted.",
    )
    quote_mark: Literal['"', "'"] = Field(default='"', description="The character that quotes.")
    escape: Literal['"', "'", "\\"] | None = Field(
        default=None, description="What stands before a quote inside quotes. Default: the quote mark again."
    )
    line_end: Literal["lf", "cr", "crlf", "none"] = Field(default="crlf", description="The end of each line.")
    last_line: Literal["ended", "open"] = Field(default="ended", description="Whether the last line has its end too.")
    end_of_file: Annotated[str, StringConstraints(max_length=16)] = Field(
        default="", description="A text after the last line, such as \\x1A."
    )
    encoding: Encoding = Field(default="utf-8", description="The bytes of letters; what the encoding lacks is refused.")
    transliterate: bool = Field(
        default=False,
        description="Letters that the encoding lacks become plain ones; what still does not fit is refused.",
    )
    lengths: Literal["characters", "bytes"] = Field(
        default="characters", description="What a length counts; it matters for utf-8 only."
    )
    null: Annotated[str, StringConstraints(max_length=16, pattern=r"^[^\r\n]*$")] = Field(
        default="", description="Delimited files: how NULL is written."
    )
    empty: Literal["send", "header-only", "skip", "fail"] = Field(
        default="fail",
        description="A batch without rows: send start and end records; only start records; make no file; fail.",
    )
    rows_per_file: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        default=None, description="A new file after so many rows; each is whole, with its own totals."
    )
    block: Block | None = Field(default=None, description="Fill the file up to whole blocks of lines.")
    group_by: list[Identifier] = Field(
        default=[], description="Rows with the same values of these columns form a group; they must begin order_by."
    )
    compress: Literal["gzip", "zip"] | None = Field(
        default=None, description="Compress the written file; the same rows give the same bytes."
    )
    records: Annotated[list[Record], Field(min_length=1)] = Field(description="The records, in their order.")

    @model_validator(mode="before")
    @classmethod
    def _read_null(cls, data: object) -> object:
        return _with_null(data)

    @property
    def line_end_text(self) -> str:
        """The characters of a line's end."""
        return LINE_ENDS[self.line_end]

    @property
    def quoting(self) -> Literal["never", "minimal", "always"]:
        """How values are quoted; a file of fixed widths quotes nothing."""
        return "never" if self.fixed else self.quote or "minimal"

    def at(self, place: Place) -> list[Record]:
        """Return the records of one place, in their order."""
        return [record for record in self.records if record.at == place]

    @property
    def row_fields(self) -> Iterator[RecordField]:
        """The fields of all row records."""
        for record in self.at("row"):
            yield from record.fields

    def titles(self, record: Record) -> list[RecordField]:
        """Return the fields whose names a record of titles holds."""
        return record.fields or (self.at("row")[0].fields if self.at("row") else [])


class ShortForm(_Model):
    """A delimited file of columns, with or without a row of their names: the short form of a layout."""

    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1, pattern=r"^[^\r\n\"\\]$")] = Field(
        default=",", description="What stands between two values."
    )
    quote: Literal['"', "'"] = Field(default='"', description="The character that quotes a value.")
    escape: Literal['"', "'", "\\"] = Field(default='"', description="What stands before a quote inside quotes.")
    quote_all: bool = Field(default=False, description="Quote every value, not only where it is needed.")
    line_end: Literal["lf", "crlf"] = Field(default="crlf", description="The end of each line.")
    header: bool = Field(default=True, description="Whether the first line holds the columns' names.")
    null: Annotated[str, StringConstraints(max_length=16, pattern=r"^[^\r\n]*$")] = Field(
        default="", description="How NULL is written."
    )
    encoding: Encoding = Field(default="utf-8", description="The bytes of letters; what the encoding lacks is refused.")
    empty: Literal["send", "header-only", "skip", "fail"] = Field(
        default="send", description="A batch without rows: send a file without rows, make no file, or fail."
    )
    compress: Literal["gzip", "zip"] | None = Field(default=None, description="Compress the written file.")

    @model_validator(mode="before")
    @classmethod
    def _read_null(cls, data: object) -> object:
        return _with_null(data)

    @model_validator(mode="after")
    def _check_quote(self) -> ShortForm:
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote are the same: nothing could tell where a field ends")
        return self

    def in_full(self, columns: Sequence[Column]) -> Layout:
        """Return the layout that the short form means: titles, then a record of all columns for each row."""
        fields = [RecordField(name=column.name, column=column.name, optional=True) for column in columns]
        titles = [Record(record="titles", at="start", titles=True)] if self.header else []
        return Layout(
            delimited=self.delimiter,
            quote="always" if self.quote_all else "minimal",
            quote_mark=self.quote,
            escape=self.escape,
            line_end=self.line_end,
            null=self.null,
            encoding=self.encoding,
            empty=self.empty,
            compress=self.compress,
            records=[*titles, Record(record="row", at="row", fields=fields)],
        )


def _with_null(data: object) -> object:
    """Read the key `null`, which YAML takes for a null value unless it is quoted."""
    if isinstance(data, Mapping) and None in data:
        return {"null" if key is None else key: value for key, value in data.items()}
    return data


def _by_form(data: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Read a layout by the form that its keys show, so that faults are those of one form."""
    if isinstance(data, Mapping):
        form = Layout if {"records", "fixed", "delimited"} & set(data) else ShortForm
        return form.model_validate(data)
    return handler(data)


AnyLayout = Annotated[ShortForm | Layout, WrapValidator(_by_form)]


def is_number(field: RecordField, columns: Mapping[str, Column]) -> bool:
    """Return whether a field is written as a number: aligned right, padded with zeros, with a sign and decimals."""
    if field.map is not None:
        return False
    if field.number or field.count or field.sum:
        return True
    return field.column is not None and field.column in columns and columns[field.column].is_number


def scale_of(field: RecordField, columns: Mapping[str, Column]) -> int:
    """Return how many decimals a number field is written with."""
    if field.scale is not None:
        return field.scale
    name = field.column or field.sum
    return (columns[name].scale or 0) if name is not None and name in columns and not field.digits else 0


def meets(condition: Mapping[str, str | list[str]]) -> dict[str, frozenset[str]]:
    """Return a condition as the allowed values of each column; a missing value counts as an empty text."""
    return {name: frozenset([value] if isinstance(value, str) else value) for name, value in condition.items()}
