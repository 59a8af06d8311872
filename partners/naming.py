"""What a file knows besides its rows, and the names that files get from it. Everything here is fixed when a batch is planned."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from string import Formatter
from typing import Any
from zoneinfo import ZoneInfo

# A file name must be safe as a blob name, on every partner's file system and inside a JSON string of a pipeline.
SAFE_FILE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}\Z")
FIELDS = ("date", "made", "sequence", "letter", "part", "partner")
DATE_TOKENS = "Yymdj"
TIME_TOKENS = "HIMSpfz"
_NUMBER_FORMAT = re.compile(r"(?:0?(?:[1-9]|1\d|20))?d?")
_NAMESPACE = uuid.UUID("5f0c1a0e-6a5b-5d0c-9d5e-3f6f2b7c4e11")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFacts:
    """What all files of a batch share: `made` is the instant of planning (aware), `time_zone` the partner's."""

    batch: str
    partner: str
    business_date: date
    made: datetime
    time_zone: str
    revision: int = 1

    def guid(self, part: int) -> str:
        """Return the GUID of one file, the same each time it is made."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.batch}/{part}"))

    @property
    def letter(self) -> str:
        """A for the first revision. Raises ValueError for the 27th: there is no letter left."""
        if not 1 <= self.revision <= 26:
            raise ValueError(f"revision {self.revision} has no letter: they end with Z, the 26th")
        return chr(ord("A") + self.revision - 1)


def tokens(form: str) -> Iterator[tuple[str, str]]:
    """Yield a date pattern's parts as ("%", letter) or ("", text). Raises ValueError for an unknown directive."""
    at = 0
    while at < len(form):
        if form[at] != "%":
            yield "", form[at]
            at += 1
            continue
        letter = form[at + 1 : at + 2]
        if letter == "%":
            yield "", "%"
        elif letter and letter in DATE_TOKENS + TIME_TOKENS:
            yield "%", letter
        else:
            known = " ".join(f"%{each}" for each in DATE_TOKENS + TIME_TOKENS)
            raise ValueError(f"%{letter} is not known in a date; use {known} and %%")
        at += 2


def format_date(value: date, form: str) -> str:
    """Write a date or an aware datetime by a pattern, the same on every machine: strftime follows locale and platform."""
    return "".join(TOKENS[text](value) if mark else text for mark, text in tokens(form))


def _offset_of(moment: datetime) -> str:
    shift = moment.utcoffset()
    minutes = int(shift.total_seconds() // 60) if shift else 0
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


TOKENS: dict[str, Callable[[Any], str]] = {
    "Y": lambda day: f"{day.year:04d}",
    "y": lambda day: f"{day.year % 100:02d}",
    "m": lambda day: f"{day.month:02d}",
    "d": lambda day: f"{day.day:02d}",
    "j": lambda day: f"{day.timetuple().tm_yday:03d}",
    "H": lambda day: f"{day.hour:02d}",
    "I": lambda day: f"{(day.hour + 11) % 12 + 1:02d}",
    "M": lambda day: f"{day.minute:02d}",
    "S": lambda day: f"{day.second:02d}",
    "p": lambda day: "PM" if day.hour >= 12 else "AM",
    "f": lambda day: f"{day.microsecond:06d}",
    "z": _offset_of,
}


def name_file(pattern: str, facts: BatchFacts, sequence: int, part: int = 1) -> str:
    """Return the name of one file. Raises ValueError with what is wrong with the pattern, or with the name that it gives."""
    made = facts.made.astimezone(ZoneInfo(facts.time_zone))
    name = ""
    for text, field, form, conversion in _parse(pattern):
        name += text
        if field is None:
            continue
        if field not in FIELDS or conversion:
            raise ValueError(f"file_name {pattern!r} may use {_known()} only")
        match field:
            case "date" | "made":
                name += format_date(facts.business_date if field == "date" else made, form or "%Y%m%d")
            case "sequence" | "part":
                name += f"{sequence if field == 'sequence' else part:{_number_format(pattern, form)}}"
            case "letter":
                name += facts.letter
            case "partner":
                name += facts.partner
    if not SAFE_FILE_NAME.match(name):
        raise ValueError(f"file_name gives {name!r}; use letters, digits, '.', '_' and '-', at most 120")
    return name


def name_faults(pattern: str, *, in_parts: bool) -> Iterator[str]:
    """Yield what is wrong with a file name's pattern, especially what would let two files share a name."""
    try:
        parts = [(field, form or "") for _, field, form, _ in _parse(pattern) if field is not None]
        name_file(pattern, _SAMPLE, 1)
    except ValueError as error:
        yield str(error)
        return
    fields = [field for field, _ in parts]
    directives = {
        field: "".join(text for mark, text in tokens(form or "%Y%m%d") if mark)
        for field, form in parts
        if field in ("date", "made")
    }
    if any(token in TIME_TOKENS for token in directives.get("date", "")):
        yield f"file_name {pattern!r}: the business date has no time of day; use {{made:...}} for the instant of planning"
    if (
        "sequence" not in fields
        and not _is_whole_day(directives.get("date", ""))
        and not _is_instant(directives.get("made", ""))
    ):
        yield (
            f"file_name {pattern!r}: two batches must never share a name; it needs {{sequence}}, "
            "the whole {date:%Y%m%d}, or {made:%Y%m%d%H%M%S} to the second"
        )
    if in_parts and "part" not in fields and "sequence" not in fields:
        yield f"file_name {pattern!r}: a feed with rows_per_file needs {{part}}, else its files share a name"
    if not in_parts and "part" in fields:
        yield f"file_name {pattern!r}: {{part}} belongs to a layout with rows_per_file"


def _parse(pattern: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(Formatter().parse(pattern))
    except ValueError:
        raise ValueError(f"file_name {pattern!r} may use {_known()} only") from None


def _number_format(pattern: str, form: str | None) -> str:
    if not _NUMBER_FORMAT.fullmatch(form or ""):
        raise ValueError(
            f"file_name {pattern!r}: write {{sequence:06d}} for a number of six digits with zeros in front"
        )
    return form or "d"


def _known() -> str:
    return "{date:%Y%m%d}, {made:%Y%m%d%H%M%S}, {sequence:06d}, {letter}, {part:02d} and {partner}"


def _is_whole_day(directives: str) -> bool:
    has_year = "Y" in directives or "y" in directives
    return has_year and ("j" in directives or ("m" in directives and "d" in directives))


def _is_instant(directives: str) -> bool:
    return (
        _is_whole_day(directives)
        and ("H" in directives or ("I" in directives and "p" in directives))
        and "M" in directives
        and "S" in directives
    )


_SAMPLE = BatchFacts(
    batch="sample.feed.2000-12-31.1",
    partner="sample",
    business_date=date(2000, 12, 31),
    made=datetime(2000, 12, 31, 23, 59, 58, tzinfo=ZoneInfo("UTC")),
    time_zone="UTC",
)
