"""Delimited text into rows of text, as Data Factory's Copy reads it: exactly what the same layout writes.

A quote counts at the beginning of a value only, and an escape inside a quoted value only; elsewhere they are characters
like any other. Inside quotes an escape before anything but a quote or an escape stands for itself. Without a quote
character the escape takes whatever follows it. A row delimiter that the dataset names is the only one; by default CR LF,
CR and LF all end a row. Blank rows are skipped.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from adf_runner.errors import ActivityFailed
from adf_runner.stores.delimited import Layout

MOST_CHARACTERS = 16 * 1024 * 1024  # in one value or line; more is taken for a quote that was never closed

BATCH_CHARACTERS = 64 * 1024
Line = tuple[int, str, str]  # its number, its text, and the delimiter that ended it ('' at the end of the file)


class Batch(NamedTuple):
    """Whole lines, the number of the first, and whether Python's csv may read them, given care where marks stand."""

    first: int
    lines: list[str]
    simple: bool
    escaped: bool = True
    doubled: bool = True


def read_rows(layout: Layout, pieces: Iterable[bytes], skip_lines: int = 0) -> Iterator[list[str | None]]:
    """Yield rows (the header row too); text equal to nullValue is null. Needs memory for one row at a time."""
    for values in islice(Reader(layout).rows(_texts(layout, pieces)), skip_lines, None):
        yield [None if value == layout.null else value for value in values]


def _texts(layout: Layout, pieces: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig" if layout.encoding == "utf-8" else layout.encoding)()
    try:
        for piece in pieces:
            yield decoder.decode(piece)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ActivityFailed(
            f"the file is not {layout.encoding}", "correct encodingName", code="UserErrorInvalidEncoding"
        ) from error


class Reader:
    """Reads one file in one layout. It holds one batch of lines and the place in it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._batches: Iterator[Batch] = iter(())
        self._batch = Batch(1, [], simple=False)
        self._at = 0
        self._line: Line = (0, "", "")
        self._escape = "" if layout.escape == layout.quote else layout.escape
        quote, escape = re.escape(layout.quote), re.escape(layout.escape)
        if quote:
            # Possessive, so that a value which does not end on its line is found out in one pass.
            pair = f"{escape}{quote}" if escape == quote else f"{escape}[\\s\\S]"
            self._closed = re.compile(f"([^{quote}{escape}]*+(?:{pair}[^{quote}{escape}]*+)*+){quote}")

    def rows(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """Yield every row that is not blank; raises ActivityFailed with the line where text is not in the layout."""
        self._batches = self._cut(texts)
        while self._next_batch():
            while self._at < len(self._batch.lines):
                if self._batch.simple and not self._is_escaped(self._batch.lines[self._at]):
                    yield from self._simple_rows()
                if self._at < len(self._batch.lines) and (row := self._row()) is not None:
                    yield row

    def _cut(self, texts: Iterable[str]) -> Iterator[Batch]:
        """Cut text at row delimiters, wherever they stand, into lines that keep them."""
        any_break, delimiter = self._layout.reads_any_line_break, self._layout.row_delimiter
        number, rest = 1, ""
        parts = (
            text[start : start + BATCH_CHARACTERS] for text in texts for start in range(0, len(text), BATCH_CHARACTERS)
        )
        for part in parts:
            text, rest = rest + part, ""
            if text.endswith("\r") and (any_break or delimiter == "\r\n"):
                text, rest = text[:-1], "\r"  # the other half of a CR LF may come with the next part
            if any_break:
                lines = io.StringIO(text, newline="").readlines()
                last = lines.pop() if lines and not lines[-1].endswith(("\n", "\r")) else ""
            else:
                *cut, last = text.split(delimiter)
                lines = [line + delimiter for line in cut]
            rest = last + rest
            if len(rest) > MOST_CHARACTERS:
                raise fault(number + len(lines), f"it is longer than {MOST_CHARACTERS} characters")
            yield Batch(
                number, lines, self._is_simple(text, len(lines)), self._is_escaped(text), self._layout.quote * 2 in text
            )
            number += len(lines)
        if rest:
            yield Batch(number, [rest], simple=False)

    def _is_simple(self, text: str, lines: int) -> bool:
        """Say whether Python's csv reads lines without escapes as this layout means them, wherever it does not fail."""
        layout = self._layout
        if layout.reads_any_line_break:
            return True
        breaks = text.count("\n") + text.count("\r")
        usual = layout.row_delimiter in ("\n", "\r", "\r\n") and layout.delimiter not in "\r\n"
        return usual and breaks == lines * len(layout.row_delimiter)

    def _simple_rows(self) -> Iterator[list[str]]:
        """Yield rows by Python's csv, several times as fast, up to an escape or a row that it cannot read."""
        layout, start = self._layout, self._at
        doubled = bool(layout.quote and self._escape) and self._batch.doubled
        reader = csv.reader(
            self._feed(),
            delimiter=layout.delimiter,
            quotechar=layout.quote or None,
            quoting=csv.QUOTE_MINIMAL if layout.quote else csv.QUOTE_NONE,
            strict=True,
        )
        try:
            for row in reader:
                if doubled and layout.quote in "".join(row):  # csv takes two quotes for one, this layout does not
                    self._at = start
                    return
                if row:
                    yield row
                start = self._at
        except csv.Error:  # it goes on in the next batch, is very long, or is faulty
            self._at = start

    def _is_escaped(self, text: str) -> bool:
        return bool(self._escape) and self._escape in text

    def _feed(self) -> Iterator[str]:
        lines, escaped = self._batch.lines, self._batch.escaped
        for index in range(self._at, len(lines)):
            if escaped and self._is_escaped(lines[index]):
                return
            self._at = index + 1
            yield lines[index]

    def _next_batch(self) -> bool:
        batch = next(self._batches, None)
        if batch is None:
            return False
        self._batch, self._at = batch, 0
        return True

    def _next_line(self) -> bool:
        """Make the next line the one at hand; say whether there was one."""
        while self._at == len(self._batch.lines):
            if not self._next_batch():
                return False
        line = self._batch.lines[self._at]
        self._at += 1
        layout = self._layout
        text = line.rstrip("\r\n") if layout.reads_any_line_break else line.removesuffix(layout.row_delimiter)
        self._line = (self._batch.first + self._at - 1, text, line[len(text) :])
        return True

    def _row(self) -> list[str] | None:
        """Read the row of the next line; None where it is blank."""
        self._next_line()
        text, mark = self._line[1], self._layout.quote or self._layout.escape
        if mark and mark in text:
            return self._quoted_row() if self._layout.quote else self._escaped_row()
        return text.split(self._layout.delimiter) if text else None

    def _quoted_row(self) -> list[str]:
        """Cut a row that holds quotes; a quoted value may go on over the following lines."""
        quote, delimiter = self._layout.quote, self._layout.delimiter
        values: list[str] = []
        position = 0
        while True:
            text = self._line[1]
            if text.startswith(quote, position):
                value, position = self._quoted_value(position + 1)
                values.append(value)
                text = self._line[1]
                if position == len(text):
                    return values
                if text[position] != delimiter:
                    message = f"{text[position]!r} follows a closing quote"
                    raise fault(
                        self._line[0], message, "where quotes are doubled inside values, escapeChar is the quote"
                    )
            else:
                end = text.find(delimiter, position)
                if end < 0:
                    values.append(text[position:])
                    return values
                values.append(text[position:end])
                position = end
            position += 1

    def _quoted_value(self, position: int) -> tuple[str, int]:
        """Return the value that begins at a position, and the position behind its closing quote."""
        closed = self._closed.match(self._line[1], position)
        if closed is not None:
            return self._plain(closed[1]), closed.end()
        first, size = self._line[0], 0
        parts: list[str] = []
        while closed is None:
            _, text, ending = self._line
            parts += (self._plain(text[position:]), ending)
            size += len(text) + len(ending)
            if size > MOST_CHARACTERS:
                raise fault(first, f"a quoted value is longer than {MOST_CHARACTERS} characters")
            if not self._next_line():
                raise fault(first, "a quoted value is not closed")
            position = 0
            closed = self._closed.match(self._line[1])
        return "".join([*parts, self._plain(closed[1])]), closed.end()

    def _plain(self, text: str) -> str:
        """Take the escapes out of a piece of a quoted value."""
        quote, escape = self._layout.quote, self._layout.escape
        if escape not in text:
            return text
        if escape == quote:
            return text.replace(quote * 2, quote)
        return escape.join([part.replace(escape + quote, quote) for part in text.split(escape * 2)])

    def _escaped_row(self) -> list[str]:
        """Cut a row without quotes, where an escape takes the next character as it is, even a line break."""
        values: list[str] = []
        parts: list[str] = []
        size = position = 0
        while True:
            number, text, ending = self._line
            end = text.find(self._layout.delimiter, position)
            end = len(text) if end < 0 else end
            escape = text.find(self._layout.escape, position, end)
            if escape < 0:
                parts.append(text[position:end])
                values.append("".join(parts))
                parts, position = [], end + 1
                if end == len(text):
                    return values
            elif escape + 1 < len(text):
                parts += (text[position:escape], text[escape + 1])
                position = escape + 2
            else:
                size += len(text)
                if size > MOST_CHARACTERS:
                    raise fault(number, f"the row is longer than {MOST_CHARACTERS} characters")
                if ending == "\r\n" and self._layout.reads_any_line_break:  # CR is taken, and LF ends the row
                    parts += (text[position:escape], "\r")
                    self._line = (number, "", "\n")
                else:
                    parts += (text[position:escape], ending)
                    if not ending or not self._next_line():
                        self._line = (number, "", "")
                position = 0


def fault(line: int, message: str, hint: str = "") -> ActivityFailed:
    """Return the error of a line that is not delimited text."""
    return ActivityFailed(f"line {line} is not delimited text: {message}", hint, code="UserErrorInvalidFormat")
