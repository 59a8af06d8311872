"""What the reader reads out of a record: one regular expression a record, and which sums its rows show."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from partners.figures import UNIT
from partners.layout import Column, Layout, Record, RecordField, is_number, meets
from partners.naming import BatchFacts
from partners.reading_fields import FieldExpressions, fills


def sum_key(f: RecordField) -> object:
    """Return what identifies a sum: the column alone, or the column with digits and condition."""
    if f.where or f.digits:
        where = tuple(sorted((name, tuple(sorted(values))) for name, values in meets(f.where or {}).items()))
        return (f.sum or f.count, tuple(f.digits or ()), where)
    return f.sum or None


def row_markers(layout: Layout) -> set[int]:
    """Return records of which each row has exactly one, or none when no such set is known.

    That is the first without a condition, or those that exclude each other; a record whose condition is a part of another's adds
    nothing.
    """
    rows = layout.at("row")
    if plain := [record for record in rows if not record.when]:
        return {id(plain[0])}
    conditions = [(record, meets(record.when or {})) for record in rows]
    kept: list[tuple[Record, dict[str, frozenset[str]]]] = []
    for number, (record, condition) in enumerate(conditions):
        others = kept + conditions[number + 1 :]
        if not any(_implies(condition, other) for _, other in others):
            kept.append((record, condition))
    for number, (_, first) in enumerate(kept):
        for _, second in kept[number + 1 :]:
            if not any(not first[name] & second[name] for name in first.keys() & second.keys()):
                return set()
    return {id(record) for record, _ in kept}


def _implies(condition: Mapping[str, frozenset[str]], other: Mapping[str, frozenset[str]]) -> bool:
    """Return whether each row that meets a condition meets another as well."""
    return all(name in condition and condition[name] <= values for name, values in other.items())


def countable(layout: Layout, columns: Mapping[str, Column]) -> Iterator[object]:
    """Yield the sums that the file's rows show: number columns, and those of fields with digits or conditions."""
    seen: set[object] = set()
    wanted: list[tuple[object, RecordField]] = [
        (name, RecordField(name=name, sum=name)) for name, column in columns.items() if column.is_number
    ]
    wanted += [(sum_key(f), f) for record in layout.records for f in record.fields if f.is_total and (f.sum or f.where)]
    for key, f in wanted:
        if (
            key not in seen
            and all(
                _shows(record, f, columns, layout) for record in layout.at("row") if id(record) in row_markers(layout)
            )
            and row_markers(layout)
        ):
            seen.add(key)
            yield key


def _shows(record: Record, f: RecordField, columns: Mapping[str, Column], layout: Layout) -> bool:
    """Return whether a row's record shows the number that is summed and the values of the condition."""
    for name, values in meets(f.where or {}).items():
        fixed = meets(record.when or {}).get(name)
        if fixed is not None and (fixed <= values or not fixed & values):
            continue
        if _holder(record, name, columns, layout) is None:
            return False
    if f.sum is None:
        return True
    if f.digits:
        return _holder(record, f.sum, columns, layout) is not None
    return any(_is_exact(each, f.sum, columns) for each in record.fields)


def _is_exact(each: RecordField, name: str, columns: Mapping[str, Column]) -> bool:
    return (
        each.column == name
        and is_number(each, columns)
        and each.sign != "absolute"
        and not each.modulo
        and not each.blank_when
    )


def _holder(record: Record, name: str, columns: Mapping[str, Column], layout: Layout) -> RecordField | None:
    """Return the field that shows a column's text as it is in the table."""
    for each in record.fields:
        if each.column != name or each.truncate or each.blank_when or layout.transliterate:
            continue
        if each.map is not None and len(set(each.map.values())) < len(each.map):
            continue
        if each.map is not None or (columns[name].type == "text" and not _is_padding_unclear(each)):
            return each
        if columns[name].type == "integer" and each.sign in (None, "minus", "none"):
            return each
    return None


def _is_padding_unclear(each: RecordField) -> bool:
    """Return whether what pads a text, such as zeros before digits, may be taken for a part of the text."""
    return bool(each.length) and each.fill not in (None, " ") and not each.values and not fills(each)


def uncountable(layout: Layout, columns: Mapping[str, Column]) -> Iterator[tuple[RecordField, str]]:
    """Yield the totals that this reader cannot count again from the file, with the reason."""
    known = set(countable(layout, columns))
    for record in layout.records:
        for f in record.fields:
            if f.is_total and f.over == "batch" and layout.rows_per_file:
                yield f, "it spans several files, and each is read alone"
            elif (f.sum or f.where) and sum_key(f) not in known:
                yield f, "the rows of the file do not show every value that it needs"
            elif f.count == "rows" and not f.where and not row_markers(layout):
                yield f, "the records of a row do not show where the next begins"


class RecordReader:
    """A record as one regular expression, with what must be read out of it."""

    def __init__(
        self,
        record: Record,
        layout: Layout,
        columns: Mapping[str, Column],
        facts: BatchFacts,
        sums: Sequence[object],
        *,
        is_marked: bool = False,
    ) -> None:
        self.record = record
        self._expressions = FieldExpressions(layout, columns, facts)
        fields = layout.titles(record) if record.titles else record.fields
        self.width = len(fields)
        needed = set(range(len(fields))) if record.at != "row" or is_marked else _needed(record, layout, sums)
        self._parts = [
            self._expressions.title(f, index)
            if record.titles
            else self._expressions.field(f, index if index in needed else None)
            for index, f in enumerate(fields)
        ]
        if layout.fixed and not record.titles:
            for index, f in enumerate(fields):
                if self._expressions.is_loose(f):
                    left = sum(each.length or 0 for each in fields[index + 1 :])
                    self._parts[index] += rf"(?=.{{{left}}}\Z)"
        self._joint = re.escape(self._expressions.view(layout.delimited or ""))
        whole = self._joint.join(part for part in self._parts)
        self.match: Callable[[str], re.Match[str] | None] = re.compile(whole, re.ASCII).fullmatch
        self.checks = (
            []
            if record.titles
            else [(f, self._number_of(f, index)) for index, f in enumerate(fields) if f.is_total or f.number or f.guid]
        )
        self.adds = list(self._adds(sums, columns, layout)) if record.at == "row" else []

    def explain(self, line: str) -> str:
        """Return which field is the first that does not match."""
        for count in range(1, len(self._parts) + 1):
            if not re.compile(self._joint.join(self._parts[:count]), re.ASCII).match(line):
                fields = self.record.fields
                name = fields[count - 1].name if count <= len(fields) else "titles"
                return f"field {count} '{name}' is not as the layout says"
        return "it is longer than the layout says"

    def _number_of(self, f: RecordField, index: int) -> Callable[[re.Match[str]], int]:
        parse, group = self._expressions.number_parser(f), f"f{index}"
        return lambda found: parse(found[group])

    def _adds(
        self, sums: Sequence[object], columns: Mapping[str, Column], layout: Layout
    ) -> Iterator[tuple[int, Callable[[re.Match[str]], int]]]:
        if id(self.record) not in row_markers(layout):
            return
        totals = {sum_key(f): f for record in layout.records for f in record.fields if f.is_total}
        for place, key in enumerate(sums):
            f = RecordField(name=key, sum=key) if isinstance(key, str) else totals[key]
            value = self._value(f, columns, layout)
            tests: list[Callable[[re.Match[str]], bool]] = []
            is_never = False
            for name, values in meets(f.where or {}).items():
                fixed = meets(self.record.when or {}).get(name)
                if fixed is not None and fixed <= values:
                    continue
                if fixed is not None and not fixed & values:
                    is_never = True
                    break
                tests.append(self._tests(name, values, columns, layout))
            if is_never:
                continue
            if tests:
                yield place, _if_all(tests, value)
            else:
                yield place, value

    def _value(self, f: RecordField, columns: Mapping[str, Column], layout: Layout) -> Callable[[re.Match[str]], int]:
        if f.sum is None:
            return lambda _: UNIT
        if f.digits:
            first, last = f.digits
            text = self._text_of(f.sum, columns, layout)
            return lambda found: int(text(found)[first - 1 : last] or 0) * UNIT
        index, each = next((i, x) for i, x in enumerate(self.record.fields) if _is_exact(x, f.sum or "", columns))
        return self._number_of(each, index)

    def _tests(
        self, name: str, values: frozenset[str], columns: Mapping[str, Column], layout: Layout
    ) -> Callable[[re.Match[str]], bool]:
        text = self._text_of(name, columns, layout)
        shown = {self._expressions.view(value) for value in values}
        return lambda found: text(found) in shown

    def _text_of(self, name: str, columns: Mapping[str, Column], layout: Layout) -> Callable[[re.Match[str]], str]:
        """Return what reads a column's text out of a line: without padding, quotes and translation."""
        each = _holder(self.record, name, columns, layout)
        assert each is not None, "asked for columns that the record shows"
        index = self.record.fields.index(each)
        plain, group = self._expressions.plain_text(each, is_number(each, columns)), f"f{index}"
        back = {shown: value for value, shown in (each.map or {}).items()}
        if each.map is not None:
            return lambda found: back.get(plain(found[group]), "")
        return lambda found: plain(found[group])


def _needed(record: Record, layout: Layout, sums: Sequence[object]) -> set[int]:
    """Return the fields of a row's record that are read out: those that are summed, tested or numbered."""
    names: set[str] = {key for key in sums if isinstance(key, str)}
    for each in (f for r in layout.records for f in r.fields if f.is_total):
        names |= {*(each.where or ()), *([each.sum] if each.sum else [])}
    return {index for index, f in enumerate(record.fields) if f.column in names or f.number or f.guid}


def _if_all(
    tests: Sequence[Callable[[re.Match[str]], bool]], value: Callable[[re.Match[str]], int]
) -> Callable[[re.Match[str]], int]:
    return lambda found: value(found) if all(test(found) for test in tests) else 0
