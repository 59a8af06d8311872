"""The fast way for rows that are plainly right: one regular expression reads a staged row and judges it, one template writes it.

A row that this does not accept is not a fault: `values` is asked then, writes it or says why not. Whatever is accepted here is
written exactly as `values` would write it; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from itertools import combinations
from zoneinfo import ZoneInfo

from partners.layout import Column, Record, RecordField, is_number, meets, scale_of
from partners.naming import TOKENS, tokens
from partners.values import Page, Unfit, codec, date_text, parse_moment, quoted, static_text, value_text

Slots = list[str]
Groups = Sequence[str]
Special = Callable[[Slots], str]
State = Callable[[RecordField, int], Special | None]

_MOST_VARIANTS = 12
_SIMPLE_MATCH = re.compile(
    r"(?:(?:\[(?:[A-Za-z0-9 ]|[A-Za-z0-9]-[A-Za-z0-9])+\]|[A-Za-z0-9 ])(?:\{\d+(?:,\d+)?\}|[+*?])?)+"
)
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9 _/.:+-]*")
_OVERPUNCHED = {**{f"{n}": "{ABCDEFGHI"[n] for n in range(10)}, **{f"-{n}": "}JKLMNOPQR"[n] for n in range(10)}}
# A minus only before a number that is not zero.
_MINUS = r"(-(?=[0.]*[1-9])|)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The way of the rows for which exactly these records are written."""

    match: Callable[[str], re.Match[str] | None]
    guard: Callable[[Slots], bool] | None
    specials: tuple[Special, ...]
    texts: tuple[Callable[..., str], ...]
    raw: dict[str, int]
    numbers: dict[str, tuple[tuple[int, ...], int]]


def variants(page: Page, needed: set[str], state: State, end: str) -> list[Variant]:
    """Return the fast ways of a layout's row records, or none when it has forms that only `values` knows.

    `needed` are columns whose whole text is asked for (conditions, groups); `state` gives the numbers that the batch knows.
    """
    layout = page.layout
    marks = (layout.delimited or "") + (layout.quote_mark if layout.quoting == "always" else "")
    if any(letter.isalnum() or letter in "-+.{}" for letter in marks):
        return []
    records = layout.at("row")
    found: list[Variant] = []
    for chosen in _choices(records):
        if len(found) == _MOST_VARIANTS:
            return []
        found.append(_Compiler(page, needed, state, end).compile(chosen, [r for r in records if r not in chosen]))
    return found


def _choices(records: list[Record]) -> Iterator[list[Record]]:
    """Yield the sets of records that one row may give, those with more conditions first."""
    conditional = [record for record in records if record.when]
    for count in range(len(conditional), -1, -1):
        for chosen in combinations(conditional, count):
            if any(_exclude(a, b) for a, b in combinations(chosen, 2)):
                continue
            if kept := [record for record in records if not record.when or record in chosen]:
                yield kept


def _exclude(a: Record, b: Record) -> bool:
    first, second = meets(a.when or {}), meets(b.when or {})
    return any(not first[name] & second[name] for name in first.keys() & second.keys())


@dataclass(slots=True)
class _Compiler:
    page: Page
    needed: set[str]
    state: State
    end: str
    groups: int = 1
    raw: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, tuple[tuple[int, ...], int]] = field(default_factory=dict)
    specials: list[Special] = field(default_factory=list)
    users: dict[str, list[RecordField]] = field(default_factory=dict)

    def compile(self, records: list[Record], others: list[Record]) -> Variant:
        fields = [each for record in records for each in record.fields]
        conditions = [meets(record.when or {}) for record in records]
        self.users = {name: [f for f in fields if f.column == name] for name in self.page.columns}
        pieces = [self._piece(column, self.users[name], conditions) for name, column in self.page.columns.items()]
        # Slots after the groups of the expression are filled by specials, in this order.
        texts = [self._template(record, ahead) for ahead, record in enumerate(records)]
        wrong = [meets(record.when or {}) for record in others]
        return Variant(
            match=re.compile(r"\[(\d{1,15})" + "".join(rf", ?{piece}" for piece in pieces) + r"\]", re.ASCII).fullmatch,
            guard=self._guard(conditions, wrong) if wrong or any(conditions) else None,
            specials=tuple(self.specials),
            texts=tuple(text.format for text in texts),
            raw=self.raw,
            numbers=self.numbers,
        )

    def _guard(
        self, right: list[dict[str, frozenset[str]]], wrong: list[dict[str, frozenset[str]]]
    ) -> Callable[[Slots], bool]:
        def located(condition: dict[str, frozenset[str]]) -> list[tuple[int, frozenset[str]]]:
            return [(self.raw[name], values) for name, values in condition.items()]

        musts = [item for condition in right for item in located(condition)]
        nots = [located(condition) for condition in wrong]

        def guard(slots: Slots) -> bool:
            return all(slots[index] in values for index, values in musts) and not any(
                all(slots[index] in values for index, values in condition) for condition in nots
            )

        return guard

    def _piece(self, column: Column, fields: list[RecordField], conditions: list[dict[str, frozenset[str]]]) -> str:
        """Return the expression of one staged value and remember which groups hold it."""
        name, may_miss = column.name, all(self._may_miss(f) for f in fields)
        if column.is_number:
            inner = self._number(column, fields)
        elif column.type == "text" or any(f.map is not None for f in fields):
            inner = self._text(column, fields, [c[name] for c in conditions if name in c])
        else:
            self.raw[name] = self._take()
            inner = (
                r"(\d{4}-\d\d-\d\d)"
                if column.type == "date"
                else r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6}0?)?(?:[+-]\d\d:\d\d|Z))"
            )
        value = f'"{inner}"'
        return f"(?:null|{value})" if may_miss else value

    def _may_miss(self, field: RecordField) -> bool:
        layout = self.page.layout
        if not field.optional or field.required_when or field.blank_when or field.map is not None:
            return False
        return bool(layout.fixed) or (not layout.null and layout.quoting != "always")

    def _take(self) -> int:
        self.groups += 1
        return self.groups - 1

    def _text(self, column: Column, fields: list[RecordField], allowed: list[frozenset[str]]) -> str:
        self.raw[column.name] = self._take()
        for values in allowed:
            if all(_PLAIN_TEXT.fullmatch(value) for value in values):
                return f"({'|'.join(map(re.escape, sorted(values)))})"
        if len(fields) == 1 and _has_plain_values(fields[0]):
            return f"({'|'.join(map(re.escape, fields[0].values or ()))})"
        limits = [limit for f in fields if (limit := f.length or f.max) and f.map is None]
        low, high = "0" if all(self._may_miss(f) for f in fields) else "1", min(limits, default=None)
        if len(fields) == 1 and _has_simple_match(fields[0]):
            return f"({fields[0].match})" if low == "1" else f"((?:{fields[0].match})|)"
        return f"({self._letters(bool(limits))}{{{low},{'' if high is None else high}}})"

    def _letters(self, is_measured: bool) -> str:
        """Return the class of letters that are right as they are: no control, no escape, no quoting, in the encoding."""
        layout = self.page.layout
        banned = set('"\\' + (layout.delimited or ""))
        if layout.delimited:
            banned |= {layout.quote_mark, layout.escape or layout.quote_mark}
        if layout.encoding.startswith("utf-8"):
            letters = [*range(0x20, 0x7F)]
            if not (is_measured and layout.lengths == "bytes"):
                letters += [*range(0xA0, 0x300), *range(0x400, 0x483), *range(0x4E00, 0x9FFF)]
        else:
            decoded = (bytes([value]).decode(codec(layout), "ignore") for value in range(256))
            letters = sorted(ord(text) for text in decoded if text and (0x20 <= ord(text) < 0x7F or ord(text) >= 0xA0))
        return _class(point for point in letters if chr(point) not in banned)

    def _number(self, column: Column, fields: list[RecordField]) -> str:
        """Return the expression of a number with exactly the decimals that are written, in groups: sign, whole, part."""
        scales = {scale_of(f, self.page.columns) for f in fields if is_number(f, self.page.columns)} or {
            column.scale or 0
        }
        scale = min(scales)
        plain = self._is_plain_number(column.name)
        if column.name in self.needed or not plain or _is_bare(fields[0]):
            self.raw[column.name] = self._take()
        sign, whole, part = self._take(), self._take(), self._take() if scale else None
        groups = (sign, whole) + ((part,) if part is not None else ())
        self.numbers[column.name] = groups, scale
        text = _MINUS + r"(0|[1-9]\d{0,40})" + (rf"\.(\d{{{scale}}})" if scale else "")
        if plain:
            room = self._room(fields[0], scale)
            minus = "()" if fields[0].sign == "none" or fields[0].length else _MINUS
            text = (
                minus
                + (rf"(0|[1-9]\d{{0,{room - 1}}})" if room > 0 else "(?!)()")
                + (rf"\.(\d{{{scale}}})" if scale else "")
            )
        return f"({text})" if column.name in self.raw else text

    def _is_plain_number(self, column: str) -> bool:
        """Whether a template alone writes the column's one field: no sign to place, and zeros or nothing in front."""
        if len(self.users[column]) != 1:
            return False
        (field,) = self.users[column]
        if not is_number(field, self.page.columns) or field.values or field.match or field.blank_when or field.modulo:
            return False
        if not _is_bare(field) and (not field.length or self._may_miss(field)):
            return False
        zeros = not field.length or ((field.fill or "0") == "0" and field.align != "left")
        return zeros and field.sign in (None, "minus", "none")

    def _room(self, field: RecordField, scale: int) -> int:
        """Return how many digits may stand before the point."""
        limit = field.length or field.max
        if not limit:
            return 41
        taken = scale + (1 if scale and not field.implied else 0)
        return limit - taken - (0 if field.length or field.sign == "none" else 1)

    def _template(self, record: Record, ahead: int) -> str:
        layout = self.page.layout
        joined = (layout.delimited or "").replace("{", "{{").replace("}", "}}")
        return joined.join(self._field(each, ahead) for each in record.fields) + self.end

    def _field(self, field: RecordField, ahead: int) -> str:
        special = self.state(field, ahead)
        if special is not None:
            return self._special(special)
        if field.column is None:
            return _escaped(self._static(field))
        column = self.page.columns[field.column]
        if column.is_number and self._is_plain_number(field.column):
            return self._marked(self._plain_number(field))
        if column.type == "text" and self._is_plain_text(field):
            return self._marked(f"{{{self.raw[field.column]}{self._padding(field)}}}")
        return self._special(self._any(field, column))

    def _static(self, field: RecordField) -> str:
        facts = self.page.facts
        match field.source:
            case "date":
                value = facts.business_date if field.date == "business" else facts.made
                text = date_text(field, facts.time_zone)(value)
            case "letter":
                text = facts.letter
            case _:
                text = field.constant or ""
        return static_text(field, self.page, text)

    def _plain_number(self, field: RecordField) -> str:
        if _is_bare(field):
            return f"{{{self.raw[field.column or '']}}}"
        groups, scale = self.numbers[field.column or ""]
        sign, whole, *part = groups
        zeros = f":0>{self._room(field, scale)}" if field.length else ""
        point = "" if field.implied else "."
        return f"{{{sign}}}{{{whole}{zeros}}}" + (f"{point}{{{part[0]}}}" if part else "")

    def _is_plain_text(self, field: RecordField) -> bool:
        if field.blank_when or field.required_when or field.map is not None or field.fill in ("{", "}"):
            return False
        if field.values and not (len(self.users[field.column or ""]) == 1 and _has_plain_values(field)):
            return False
        if self.page.layout.null:
            return False
        if field.length and self._may_miss(field) and (self.page.layout.delimited or field.fill not in (None, " ")):
            return False
        return not field.match or (len(self.users[field.column or ""]) == 1 and _has_simple_match(field))

    def _padding(self, field: RecordField) -> str:
        if not field.length:
            return ""
        return f":{field.fill or ' '}{'>' if field.align == 'right' else '<'}{field.length}"

    def _marked(self, text: str) -> str:
        mark = self.page.layout.quote_mark if self.page.layout.quoting == "always" else ""
        return mark + text + mark

    def _special(self, special: Special) -> str:
        self.specials.append(special)
        return f"{{{self.groups + len(self.specials) - 1}}}"

    def _any(self, field: RecordField, column: Column) -> Special:
        """Return what writes a field of any form, from the value's whole text."""
        if column.is_number and field.sign == "overpunch" and (quick := self._overpunched(field)):
            return quick
        index, finish = self.raw[column.name], quoted(self.page.layout)
        write = value_text(field, self.page)
        if field.map is None and column.type == "date":
            write = _dates(write)
        elif field.map is None and column.type == "timestamp" and not field.values and not field.match:
            write = _moments(field, self.page, write)
        nothing = " " * (field.length or 0) if self.page.layout.fixed else finish("")
        if column.type in ("date", "timestamp") and field.map is None and self._is_never_quoted(field):
            finish = self._marked
        blank = [(self.raw[name], values) for name, values in meets(field.blank_when or {}).items()]
        may_miss = self._may_miss(field)
        if not blank and not may_miss:  # the row's expression takes no missing value
            if finish == self._marked and self._marked("") == "":
                return lambda slots: write(slots[index])
            return lambda slots: finish(write(slots[index]))

        def special(slots: Slots) -> str:
            if blank and all(slots[place] in values for place, values in blank):
                return nothing
            value = slots[index]
            if not value:
                if may_miss:
                    return nothing
                raise Unfit("left to the plain way")
            return finish(write(value))

        return special

    def _is_never_quoted(self, field: RecordField) -> bool:
        """Whether no date in this form can hold the delimiter or the quote."""
        layout = self.page.layout
        written = set("0123456789+-:TZ.AMP" + (field.fill or " "))
        written |= {text for mark, text in tokens(field.format or "") if not mark}
        return not written & set(layout.delimited or "") and layout.quote_mark not in written

    def _overpunched(self, field: RecordField) -> Special | None:
        groups, scale = self.numbers[field.column or ""]
        length = field.length
        if (
            field.fill not in (None, "0")
            or field.align == "left"
            or not length
            or field.plain_positive
            or field.optional
        ):
            return None
        if (scale and not field.implied) or field.values or field.match or field.blank_when or field.modulo:
            return None
        if scale_of(field, self.page.columns) != scale:
            return None
        sign, whole, *part = groups

        def special(slots: Slots) -> str:
            digits = slots[whole] + slots[part[0]] if part else slots[whole]
            if len(digits) > length:
                raise Unfit("left to the plain way")
            return digits[:-1].rjust(length - 1, "0") + _OVERPUNCHED[slots[sign] + digits[-1]]

        return special


def _is_bare(field: RecordField) -> bool:
    """Whether a number is written as the database gives it."""
    return not field.length and not field.implied


def _has_plain_values(field: RecordField) -> bool:
    limit = field.length or field.max or 1000
    return bool(field.values) and all(v and _PLAIN_TEXT.fullmatch(v) and len(v) <= limit for v in field.values or ())


def _has_simple_match(field: RecordField) -> bool:
    """Whether the field's own pattern can be part of the row's expression: letters and digits only, no limit beside it."""
    return bool(field.match and _SIMPLE_MATCH.fullmatch(field.match)) and not (field.length or field.max or field.map)


def _dates(write: Callable[[str], str]) -> Callable[[str], str]:
    """Return what writes dates and remembers them: a batch has few different ones."""
    known: dict[str, str] = {}

    def remembered(value: str) -> str:
        found = known.get(value)
        if found is None:
            found = write(value)
            if len(known) < 5000:
                known[value] = found
        return found

    return remembered


def _has_its_width(field: RecordField, parts: list[tuple[str, str]]) -> bool:
    """Whether what a pattern gives needs no padding and no refusal for its length."""
    if not field.length and not field.max:
        return True
    return field.length == sum({"Y": 4, "j": 3, "z": 5}.get(text, 2) if mark else 1 for mark, text in parts)


def _moments(field: RecordField, page: Page, write: Callable[[str], str]) -> Callable[[str], str]:
    """Return what writes instants and remembers each minute: only the seconds differ within one."""
    parts = list(tokens(field.format or "%Y-%m-%dT%H:%M:%SZ"))
    if ("%", "f") in parts or parts.count(("%", "S")) != 1 or not _has_its_width(field, parts):
        return write
    second = parts.index(("%", "S"))
    zone = ZoneInfo(field.zone or page.facts.time_zone) if field.format else UTC
    known: dict[str, tuple[str, str] | None] = {}

    def remembered(value: str) -> str:
        if len(value) != 25 or value[17] > "5":
            return write(value)
        minute = value[:16] + value[19:]
        if minute not in known:
            if len(known) > 5000:
                known.clear()
            try:
                moment = parse_moment(f"{value[:17]}00{value[19:]}").astimezone(zone)
            except OverflowError:
                return write(value)
            written = [TOKENS[text](moment) if mark else text for mark, text in parts]
            # Old local times are seconds apart from UTC: those are not remembered.
            known[minute] = ("".join(written[:second]), "".join(written[second + 1 :])) if not moment.second else None
        around = known[minute]
        return around[0] + value[17:19] + around[1] if around else write(value)

    return remembered


def _class(points: Iterable[int]) -> str:
    """Return the character class of code points."""
    ranges: list[list[int]] = []
    for point in points:
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "[" + "".join(f"\\U{a:08x}" if a == b else f"\\U{a:08x}-\\U{b:08x}" for a, b in ranges) + "]"


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
