"""Delimited text as Data Factory's Copy writes and reads it, with its defaults.

Defaults on write: comma, CR LF, `"` quotes, backslash escapes, no header, null as empty text, UTF-8 without a BOM.
A value is quoted when it holds the column delimiter, the quote or a line break, when it would read as null, or always
with quoteAllText. Inside quotes the quote and the escape character are escaped. Without a quote character, the escape
character goes before delimiters, line breaks and itself. Reading (delimited_reading.py) undoes exactly that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adf_runner.errors import ActivityFailed
from adf_runner.factory.subset import ENCODINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How rows become text; built from a DelimitedText dataset and the sink's formatSettings."""

    delimiter: str = ","
    row_delimiter: str = "\r\n"
    quote: str = '"'
    escape: str = "\\"
    header: bool = False
    null: str = ""
    encoding: str = "utf-8"
    quote_all: bool = False
    reads_any_line_break: bool = True

    @classmethod
    def of(cls, dataset: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> Layout:
        """Read a dataset's properties; raises ActivityFailed on what Copy would refuse."""
        layout = cls(
            delimiter=dataset.get("columnDelimiter", ","),
            row_delimiter=dataset.get("rowDelimiter", "\r\n"),
            quote=dataset.get("quoteChar", '"'),
            escape=dataset.get("escapeChar", "\\"),
            header=is_true(dataset.get("firstRowAsHeader", False)),
            null=dataset.get("nullValue", ""),
            encoding=ENCODINGS[dataset.get("encodingName", "UTF-8")],
            quote_all=is_true((settings or {}).get("quoteAllText", False)),
            reads_any_line_break="rowDelimiter" not in dataset,
        )
        layout.check()
        return layout

    def check(self) -> None:
        faults = [
            (len(self.delimiter) != 1, f"columnDelimiter {self.delimiter!r} must be one character for Copy"),
            (
                len(self.row_delimiter) != 1 and self.row_delimiter != "\r\n",
                f"rowDelimiter {self.row_delimiter!r} must be one character or \\r\\n",
            ),
            (len(self.quote) > 1, f"quoteChar {self.quote!r} must be one character or empty"),
            (len(self.escape) > 1, f"escapeChar {self.escape!r} must be one character or empty"),
            (self.delimiter in self.row_delimiter, "columnDelimiter and rowDelimiter must differ"),
            (self.quote == self.delimiter, f"columnDelimiter and quoteChar must differ, and both are {self.quote!r}"),
            (bool(self.quote) and self.quote in self.row_delimiter, "quoteChar and rowDelimiter must differ"),
            (
                bool(self.escape) and self.escape in self.delimiter + self.row_delimiter,
                f"escapeChar {self.escape!r} must differ from columnDelimiter and rowDelimiter",
            ),
            (not self.escape and bool(self.quote), "an empty escapeChar needs an empty quoteChar as well"),
            (self.quote_all and not self.quote, "quoteAllText needs a quoteChar"),
        ]
        for wrong, message in faults:
            if wrong:
                raise ActivityFailed(message, code="UserErrorInvalidFormat", retriable=False)

    def row(self, values: Sequence[str | None]) -> str:
        """Write one row, with its row delimiter."""
        return self.delimiter.join([self._field(value) for value in values]) + self.row_delimiter

    def _field(self, value: str | None) -> str:
        if value is None:
            return self.null
        if not self.quote:
            return self._escaped(value)
        special = (
            self.quote in value
            or self.delimiter in value
            or "\n" in value
            or "\r" in value
            or self.row_delimiter in value
        )
        if not (special or self.quote_all or value == self.null):
            return value
        inner = value.replace(self.escape, self.escape * 2) if self.escape != self.quote else value
        return self.quote + inner.replace(self.quote, self.escape + self.quote) + self.quote

    def _escaped(self, value: str) -> str:
        if not self.escape:
            return value
        for special in dict.fromkeys((self.escape, self.delimiter, *self.row_delimiter)):
            value = value.replace(special, self.escape + special)
        return value

    def encode(self, text: str) -> bytes:
        """Encode text; a character that the encoding lacks is an error, where .NET would write a question mark."""
        try:
            return text.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise ActivityFailed(
                f"a character U+{ord(error.object[error.start]):04X} does not exist in {self.encoding}",
                "choose another encodingName, or replace the character in the query",
                code="UserErrorInvalidEncoding",
            ) from error


def is_true(value: Any) -> bool:
    """Read a boolean that may have come out of an interpolation as text."""
    return value.lower() == "true" if isinstance(value, str) else bool(value)
