"""One value becomes the exact text of its field, or the reason why it cannot. Values are refused, never repaired.

This is the complete, plain statement of every form; `shaping` has a faster way for values that are plainly right and asks
here for all others. A reason never contains the value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from zoneinfo import ZoneInfo

from partners.layout import Column, Layout, RecordField, is_number, meets, scale_of
from partners.naming import BatchFacts, format_date

Row = Sequence[str | None]
ToText = Callable[[Row], str]

# Numbers are whole multiples of 10^-12: sums of them are exact.
DECIMALS = 12
UNIT: int = 10**DECIMALS

_NUMBER = re.compile(r"(-?)(\d{1,60})(?:\.(\d{1,60}))?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?(Z|[+-]\d\d(?::?\d\d(?::\d\d)?)?)?", re.ASCII
)
_POSITIVE = "{ABCDEFGHI"
_NEGATIVE = "}JKLMNOPQR"
# Letters that have a plain form which their decomposition does not give.
_PLAIN: dict[str, str] = {
    "ß": "ss", "ẞ": "SS", "Æ": "AE", "æ": "ae", "Œ": "OE", "œ": "oe", "Ø": "O", "ø": "o", "Ł": "L", "ł": "l", "Đ": "D",
    "đ": "d", "Ð": "D", "ð": "d", "Þ": "TH", "þ": "th", "Ħ": "H", "ħ": "h", "ı": "i", "ĸ": "k", "Ŋ": "N", "ŋ": "n",  # noqa: RUF001 - look-alikes are what this is about
    "Ŧ": "T", "ŧ": "t", "‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-",  # noqa: RUF001 - look-alikes are what this is about
    "−": "-", "‐": "-", "‑": "-", "⁄": "/", "…": "...", "\u00a0": " ", "\u202f": " ", "«": '"', "»": '"',  # noqa: RUF001 - look-alikes are what this is about
}  # fmt: skip


# Why the database refused a value: its rule by the name under which it leaves; see `tsql`.
_RULES = {
    "control": "holds a control character",
    "surrogate": "holds half of a surrogate pair",
    "digits": "has more decimals than its column states, or is not an exact decimal",
    "range": "is out of the range of 38 digits",
}


class Refused(str):
    """A value that the database did not give, and why; as a text it fits no field."""

    __slots__ = ("why",)

    why: str

    @classmethod
    def of(cls, staged: Mapping[str, object]) -> Refused:
        """Return the refused value of a staged object; any other object is refused as well."""
        made = cls("\0")
        made.why = _RULES.get(str(staged.get("refused")), "is not a text")
        return made


class Unfit(Exception):
    """A value does not fit its field; the text says why and never contains the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What every field of a batch's files needs: the layout, the feed's columns in the order of a row, the batch."""

    layout: Layout
    columns: Mapping[str, Column]
    facts: BatchFacts

    def index(self, column: str) -> int:
        """Return a column's place in a row."""
        return list(self.columns).index(column)


def codec(layout: Layout) -> str:
    """Return Python's name of the encoding; a byte order mark is written apart."""
    return "utf-8" if layout.encoding == "utf-8-bom" else layout.encoding


def parse_number(text: str) -> int:
    """Return a number in units of 10^-12. Raises Unfit for anything but digits with a point; NaN and infinity are none."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise Unfit("is not a number")
    sign, whole, part = found.groups()
    part = (part or "").rstrip("0")
    if len(part) > DECIMALS:
        raise Unfit(f"has more than {DECIMALS} decimals")
    value = int(whole) * UNIT + int(part.ljust(DECIMALS, "0"))
    return -value if sign else value


def has_control(text: str) -> bool:
    """Return whether a text holds what some reader takes for the end of a line, or what no file should hold."""
    return any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter == "\ufeff" for letter in text)


def normal(text: str) -> str:
    """Return a text in composed form (NFC). Raises Unfit for control characters."""
    if has_control(text):
        raise Unfit("holds a control character")
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def letters(layout: Layout) -> Callable[[str], str]:
    """Return what makes a text fit the encoding: unchanged, or with plain letters where the layout allows that."""
    name = codec(layout)

    def fits(text: str) -> bool:
        try:
            text.encode(name)
        except UnicodeEncodeError:
            return False
        return True

    def fit(text: str) -> str:
        if fits(text):
            return text
        if not layout.transliterate:
            raise Unfit(f"holds a letter that {layout.encoding} lacks")
        plain = "".join(letter if fits(letter) else _plain(letter) for letter in text)
        if not fits(plain) or has_control(plain):
            raise Unfit(f"holds a letter that {layout.encoding} lacks and that has no plain form")
        return plain

    return fit


@cache
def _plain(letter: str) -> str:
    if letter in _PLAIN:
        return _PLAIN[letter]
    parts = unicodedata.normalize("NFKD", letter)
    return "".join(_PLAIN.get(part, part) for part in parts if unicodedata.category(part) != "Mn")


def measure(layout: Layout) -> Callable[[str], int]:
    """Return what a length counts in this layout."""
    if layout.lengths == "bytes":
        name = codec(layout)
        return lambda text: len(text.encode(name))
    return len


def quoted(layout: Layout) -> Callable[[str], str]:
    """Return what makes a finished text one value of the line: quoted, bare, or refused."""
    delimiter, mark, escape = layout.delimited or "", layout.quote_mark, layout.escape or layout.quote_mark
    if layout.fixed:
        return lambda text: text

    def is_cut(text: str) -> bool:
        """Whether a reader would find the delimiter before the text's end: `a%` and `%%` read as `a` and `%`."""
        return (text + delimiter).index(delimiter) != len(text)

    def never(text: str) -> str:
        if is_cut(text):
            raise Unfit("holds the delimiter, and this layout quotes nothing")
        if mark in text:
            raise Unfit("holds a quote, and this layout quotes nothing")
        return text

    def always(text: str) -> str:
        inner = text if escape == mark else text.replace(escape, escape * 2)
        return mark + inner.replace(mark, escape + mark) + mark

    def minimal(text: str) -> str:
        return always(text) if is_cut(text) or mark in text else text

    return {"never": never, "minimal": minimal, "always": always}[layout.quoting]


def placed(field: RecordField, page: Page, *, number: bool = False) -> Callable[[str], str]:
    """Return what pads a finished text to the field's length, or refuses it. Digits are padded in `number_text`."""
    size, limit = measure(page.layout), field.length or field.max
    left = (field.align or ("right" if number else "left")) == "left"
    fill = field.fill or " "

    def place(text: str) -> str:
        length = size(text)
        if limit and length > limit:
            if not field.truncate:
                raise Unfit(f"is longer than {limit}")
            text = text[:limit]
            while size(text) > limit:
                text = text[:-1]
            length = size(text)
        if field.length and length < field.length:
            padding = fill * (field.length - length)
            text = text + padding if left else padding + text
        return text

    return place


def number_text(field: RecordField, scale: int) -> Callable[[int], str]:
    """Return what writes a number of units of 10^-12: decimals, sign and padding. Raises Unfit; nothing is rounded."""
    unit, sign, limit = 10 ** (DECIMALS - scale), field.sign or "minus", field.length or field.max
    fill, left = field.fill or ("0" if field.align != "left" else " "), field.align == "left"

    def write(number: int) -> str:
        digits, lost = divmod(abs(number), unit)
        if lost:
            raise Unfit(f"has more than {scale} decimals" if scale else "has decimals, and whole units are wanted")
        negative = number < 0 and digits > 0
        if field.modulo:
            if negative:
                raise Unfit("is negative, and a hash total has no sign")
            digits %= field.modulo
        if negative and sign == "none":
            raise Unfit("is negative")
        text = str(digits)
        if scale and not field.implied:
            text = text.zfill(scale + 1)
            text = f"{text[:-scale]}.{text[-scale:]}"
        before, text, after = _signed(text, negative, sign, plain=field.plain_positive)
        room = (limit or 0) - len(before) - len(after)
        if limit and len(text) > room:
            raise Unfit(f"is longer than {limit}")
        if not field.length:
            return before + text + after
        if fill == "0":
            return before + text.rjust(room, "0") + after
        whole = before + text + after
        return whole.ljust(field.length, fill) if left else whole.rjust(field.length, fill)

    return write


def _signed(text: str, negative: bool, sign: str, *, plain: bool) -> tuple[str, str, str]:
    """Return what stands before the digits, the digits, and what stands after them."""
    shown = "-" if negative else "" if plain else "+"
    match sign:
        case "leading":
            return shown, text, ""
        case "trailing":
            return "", text, shown
        case "overpunch":
            if plain and not negative:
                return "", text, ""
            return "", text[:-1] + (_NEGATIVE if negative else _POSITIVE)[int(text[-1])], ""
        case "minus":
            return "-" if negative else "", text, ""
        case _:
            return "", text, ""


def parse_date(text: str) -> date:
    """Raises Unfit: only year-month-day, year 1 to 9999."""
    if _DATE.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise Unfit("is not a date")


def parse_moment(text: str) -> datetime:
    """Return an aware instant. Raises Unfit: a time without a zone means another instant for every reader."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise Unfit("is not a date and time")
    day, clock, fraction, zone = found.groups()
    if zone is None:
        raise Unfit("is a time without a zone")
    if fraction and fraction[6:].strip("0"):
        raise Unfit("has more than 6 digits of a second")
    try:
        moment = datetime.fromisoformat(
            f"{day}T{clock}.{(fraction or '')[:6].ljust(6, '0')}{'+00:00' if zone == 'Z' else zone}"
        )
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unfit("is not a date and time") from None


def date_text(field: RecordField, zone: str) -> Callable[[date], str]:
    """Return what writes a date or an instant; without a format as ISO 8601, an instant in UTC and as exact as it is."""
    place = ZoneInfo(field.zone or zone)

    def write(value: date) -> str:
        if not isinstance(value, datetime):
            return format_date(value, field.format or "%Y-%m-%d")
        if field.format is None:
            fraction = f".{value.microsecond:06d}".rstrip("0") if value.microsecond else ""
            return format_date(value.astimezone(UTC), "%Y-%m-%dT%H:%M:%S") + fraction + "Z"
        try:
            return format_date(value.astimezone(place), field.format)
        except OverflowError:
            raise Unfit("is outside of the years 1 to 9999 in its time zone") from None

    return write


def met(condition: Mapping[str, str | list[str]] | None, page: Page) -> Callable[[Row], bool]:
    """Return what tells whether a row has the values of a condition; NULL counts as an empty text."""
    wanted = [(page.index(name), values) for name, values in meets(condition or {}).items()]
    return lambda row: all((row[index] or "") in values for index, values in wanted)


def static_text(field: RecordField, page: Page, text: str) -> str:
    """Return the finished text of a constant, a filler, a date of the batch or another text that no row decides."""
    return quoted(page.layout)(placed(field, page)(letters(page.layout)(normal(text))))


def count_text(field: RecordField, page: Page) -> Callable[[int], str]:
    """Return what writes a number that the batch knows or a total, in units of 10^-12."""
    write, finish = number_text(field, scale_of(field, page.columns)), quoted(page.layout)
    return lambda number: finish(write(number))


def column_text(field: RecordField, page: Page) -> ToText:
    """Return what writes a field of a column: the one statement of how each value is written. Raises Unfit."""
    assert field.column is not None, "called for fields of a column"
    index, layout = page.index(field.column), page.layout
    write, finish = value_text(field, page), quoted(layout)
    is_blank, is_required = met(field.blank_when, page), met(field.required_when, page)
    nothing = " " * (field.length or 0) if layout.fixed else None

    def convert(row: Row) -> str:
        value = row[index]
        if isinstance(value, Refused):
            raise Unfit(value.why)
        if field.blank_when and is_blank(row):
            return finish("") if nothing is None else nothing
        if not value and "" not in (field.map or {}):
            if is_required(row) if field.required_when else not field.optional:
                raise Unfit("is missing")
            if nothing is not None:
                return nothing
            return layout.null if value is None else finish("")
        return finish(write(value or ""))

    return convert


def value_text(field: RecordField, page: Page) -> Callable[[str], str]:
    """Return what writes a value that is there, before it is quoted."""
    column = page.columns[field.column or ""]
    fit, place, check = letters(page.layout), placed(field, page), _checked(field, page.layout)
    if is_number(field, page.columns):
        number = number_text(field, scale_of(field, page.columns))
        return lambda value: number(parse_number(check(value)))
    if field.map is None and column.type in ("date", "timestamp"):
        parse: Callable[[str], date] = parse_date if column.type == "date" else parse_moment
        shown = date_text(field, page.facts.time_zone)
        return lambda value: place(shown(parse(check(value))))
    return lambda value: place(fit(check(value)))


def _checked(field: RecordField, layout: Layout) -> Callable[[str], str]:
    """Return what applies the field's enumeration, pattern and translation to a value."""
    pattern = re.compile(field.match, re.ASCII) if field.match else None
    allowed = frozenset(field.values or ())

    def check(value: str) -> str:
        value = normal(value)
        if layout.null and value == layout.null and layout.delimited:
            raise Unfit("equals the mark for NULL")
        if allowed and value not in allowed:
            raise Unfit("is not one of the allowed values")
        if pattern and not pattern.fullmatch(value):
            raise Unfit("does not match the pattern")
        if field.map is None:
            return value
        if value not in field.map:
            raise Unfit("has no translation in map")
        return field.map[value]

    return check
