"""Random layouts and rows: what is written reads back with the same figures, the fast way writes what the plain way writes."""

# ruff: noqa: E501 - a layout reads best on one line; look-alike letters are on purpose

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layout_support import (
    FACTS,
    FIRST_SEQUENCE,
    Written,
    columns_of,
    layout_of,
    random_layout,
    random_rows,
    read_file,
    reread,
    shape,
    staged,
    write,
)
from plain_writer import files_of

from partners.figures import FileFigures
from partners.layout import Layout, Record, RecordField
from partners.refusals import FileRefused
from partners.rereading import Mismatch, Place, Rereader


@given(st.integers(0, 2**32))
def test_random_rows_are_written_and_read_back_or_refused_by_both_ways(seed: int) -> None:
    rng = random.Random(seed)
    layout, columns = random_layout(rng)
    lines = staged(columns, random_rows(rng, rng.choice([0, 1, 2, 3, 6, 7, 8, 20])))
    outcomes: list[Written | str] = []
    for fast in (True, False):
        try:
            outcomes.append(write(layout, columns, lines, fast=fast))
        except FileRefused as refused:
            outcomes.append(str(refused))

    assert outcomes[0] == outcomes[1]
    if isinstance(outcomes[0], Written):
        reread(layout, columns, outcomes[0], piece=rng.choice([1, 7, 97, 10**6]))


@given(st.integers(0, 2**32))
def test_what_is_accepted_has_the_bytes_that_another_writer_makes_from_the_values(seed: int) -> None:
    """Every value of every row is in the file as the layout says: no total could show one that is changed."""
    rng = random.Random(seed)
    layout, columns = random_layout(rng)
    rows = random_rows(rng, rng.choice([0, 1, 2, 3, 6, 7, 8, 20]))
    try:
        written = write(layout, columns, staged(columns, rows))
    except FileRefused:
        return

    names = [column.name for column in columns]
    assert written.files == files_of(
        layout.model_dump(mode="json", exclude_none=True),
        {column.name: column.model_dump() for column in columns},
        [dict(zip(names, row, strict=True)) for row in rows],
        FACTS,
        FIRST_SEQUENCE,
    )


@pytest.mark.parametrize(
    ("form", "value", "column"),
    [
        ("max: 3", "ABCD", "a"),
        ("length: 3", "ABCD", "a"),
        ("", "A;B;C", "a"),
        ("", 'A"BC', "a"),
        ("", "A\tB C", "a"),
        ("", "A\u2028B C", "a"),
        ("", "", "a"),
        ("match: '[0-9]{8}'", "1234567", "a"),
        ("match: '[0-9]{2}'", "\uff11\uff12", "a"),
        ("values: [C, D]", "XYZ", "a"),
        ("map: {C: '1'}", "XYZ", "a"),
        ("", "NaN", "n:2"),
        ("", "Infinity", "n:2"),
        ("", "1e3", "n:2"),
        ("", "1.005", "n:2"),
        ("", ".50", "n:2"),
        ("", "1.5", "n:integer"),
        ("sign: none", "-5.25", "n:2"),
        ("length: 4", "12345", "n:integer"),
        ("length: 4", "00-5", "n:integer"),
        ("sign: leading", "5", "n:integer"),
        ("sign: overpunch", "12", "n:integer"),
        ("", "2026-13-30", "d:date"),
        ("", "infinity", "d:date"),
        ("", "887-01-01", "d:date"),
        ("", "2026-11-27T10:00:00", "t:timestamp"),
        ("format: '%H%M'", "2561", "t:timestamp"),
    ],
)
def test_the_reader_refuses_what_the_writer_would_never_write(form: str, value: str, column: str) -> None:
    name = column.partition(":")[0]
    layout = layout_of(
        f"{{delimited: ';', quote: never, line_end: lf, records: [{{record: R, fields: [{{constant: R}}, {{column: {name}{form and ', '}{form}}}, {{constant: x}}]}}]}}"
    )

    with pytest.raises(Mismatch) as caught:
        read_file(Rereader(layout, columns_of(column), FACTS), f"R;{value};x\n".encode())

    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(("encoding", "letter"), [("ascii", b"\xeb"), ("cp1252", b"\x81"), ("utf-8", b"\xff")])
def test_bytes_that_the_encoding_lacks_are_refused(encoding: str, letter: bytes) -> None:
    layout = layout_of(
        f"{{delimited: ';', line_end: lf, encoding: {encoding}, records: [{{record: R, fields: [{{column: a}}]}}]}}"
    )

    with pytest.raises(Mismatch):
        read_file(Rereader(layout, columns_of("a"), FACTS), b"Zo" + letter + b"\n")


@given(st.integers(0, 2**32), st.sampled_from(["dropped", "doubled", "cut"]))
def test_a_file_of_any_layout_that_is_cut_or_has_other_lines_is_refused(seed: int, damage: str) -> None:
    rng = random.Random(seed)
    layout, columns = random_layout(rng)
    layout = _with_lines_counted(layout)
    try:
        written = write(layout, columns, staged(columns, random_rows(rng, rng.choice([1, 2, 5, 9]))))
    except FileRefused:
        return
    at = rng.randrange(len(written.files))
    damaged = _damage_lines(written.files[at], layout, damage, rng)
    before = sum(file.rows for file in written.shaped.files[:at])
    place = Place(part=at + 1, sequence=FIRST_SEQUENCE + at, rows_before=before, parts=len(written.files))

    with pytest.raises(Mismatch):
        _check(Rereader(layout, columns, FACTS), damaged, place, written.shaped.files[at])


def _check(rereader: Rereader, data: bytes, place: Place, figures: FileFigures) -> None:
    """Read a file back as sealing does: the writer's figures must be found again."""
    reader = rereader.file(place)
    reader.feed(data)
    reader.check(figures)


def _with_lines_counted(layout: Layout) -> Layout:
    """Add a last record with the number of lines."""
    fields = [RecordField(constant="Z", length=1), RecordField(count="lines", length=9)]
    if layout.fixed:
        fields.append(RecordField(blank=True, length=layout.fixed - 10))
    return layout.model_copy(update={"records": [*layout.records, Record(record="Z", at="end", fields=fields)]})


def _damage_lines(data: bytes, layout: Layout, damage: str, rng: random.Random) -> bytes:
    if damage == "cut":
        return data[: rng.randrange(len(data))]
    codec = layout.encoding.removesuffix("-bom")
    end = layout.line_end_text.encode(codec)
    lines = data.split(end) if end else [data[i : i + 220] for i in range(0, len(data), 220)]
    lines = [line + end for line in lines[:-1]] + [lines[-1]] if end else lines
    at = rng.randrange(len(lines) - 1) if len(lines) > 1 else 0
    times = 0 if damage == "dropped" else 2
    return b"".join(line * (times if index == at else 1) for index, line in enumerate(lines))


@given(st.integers(0, 2**32), st.sampled_from(["dropped", "doubled", "cut", "digit", "letter"]))
def test_each_damage_to_a_file_is_refused(seed: int, damage: str) -> None:
    """Every line has a number, every amount is in the trailer's total: no damage can hide."""
    rng = random.Random(seed)
    layout = layout_of(
        "{delimited: ';', line_end: lf, encoding: ascii, quote: never, records: ["
        "{record: H, at: start, fields: [{constant: H}, {count: rows}]},"
        "{record: R, at: row, fields: [{constant: R}, {number: line}, {column: m}, {column: n, length: 9}]},"
        "{record: T, at: end, fields: [{constant: T}, {sum: m}, {sum: n}, {count: lines}]}]}"
    )
    columns = columns_of("m:2", "n:integer")
    rows = [
        [f"{rng.randint(-999, 999)}.{rng.randint(0, 99):02d}", str(rng.randint(1, 10**6))]
        for _ in range(rng.randint(2, 12))
    ]
    (data,) = write(layout, columns, staged(columns, rows)).files
    damaged = _damage(data, damage, rng)

    if damaged != data:
        with pytest.raises(Mismatch):
            read_file(Rereader(layout, columns, FACTS), damaged)


def _damage(data: bytes, damage: str, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    match damage:
        case "dropped":
            return b"".join(lines[:at] + lines[at + 1 :])
        case "doubled":
            return b"".join(lines[: at + 1] + lines[at:])
        case "cut":
            return data[: rng.randrange(len(data))]
        case "digit":
            places = [index for index, byte in enumerate(data) if chr(byte).isdigit()]
            place = rng.choice(places)
            return data[:place] + str((data[place] - 48 + rng.randint(1, 9)) % 10).encode() + data[place + 1 :]
        case _:
            place = rng.randrange(len(data))
            return data[:place] + b"\x07" + data[place + 1 :]


@given(
    st.lists(
        st.text(
            alphabet=st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff"),
            min_size=1,
            max_size=20,
        ),
        max_size=8,
    )
)
def test_minimal_quoting_decodes_to_the_same_texts_by_the_standard_library(texts: list[str]) -> None:
    import csv
    import io
    import unicodedata

    (data,) = shape(
        "{delimited: ',', empty: send, records: [{record: R, fields: [{column: a}, {constant: x}]}]}",
        columns_of("a"),
        [[text] for text in texts],
    )

    found = [row[0] for row in csv.reader(io.StringIO(data.decode(), newline=""))]
    assert found == [unicodedata.normalize("NFC", text) for text in texts]


@pytest.mark.parametrize("rows", [0, 1, 24, 25, 26, 49, 50, 51])
def test_rows_around_the_end_of_a_part_make_whole_files(rows: int) -> None:
    layout = (
        "{delimited: ',', quote: never, line_end: lf, rows_per_file: 25, empty: send, records: ["
        "{record: H, at: start, fields: [{constant: H}, {number: sequence}, {number: part}, {number: parts}, {count: rows}, {sum: m}, {count: rows, over: batch}]},"
        "{record: R, fields: [{constant: R}, {number: row}, {number: row_in_batch}, {column: m}]}]}"
    )

    files = shape(layout, columns_of("m:2"), [[f"{n}.50"] for n in range(rows)])

    parts = max(-(-rows // 25), 1)
    expected = []
    for part in range(parts):
        mine = range(part * 25, min(rows, part * 25 + 25))
        total = f"{sum(mine) + len(mine) * 0.5:.2f}"
        head = f"H,{FIRST_SEQUENCE + part},{part + 1},{parts},{len(mine)},{total},{rows}\n"
        expected.append((head + "".join(f"R,{n - part * 25 + 1},{n + 1},{n}.50\n" for n in mine)).encode())
    assert files == expected


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 17, 18, 19])
def test_rows_around_the_end_of_a_block_are_filled_to_whole_blocks(rows: int) -> None:
    layout = (
        "{fixed: 8, line_end: lf, encoding: ascii, empty: send, block: {lines: 10, fill: '9'}, records: ["
        "{record: H, at: start, fields: [{constant: H, length: 1}, {count: blocks, length: 3}, {count: lines, length: 4}]},"
        "{record: R, fields: [{constant: R, length: 1}, {column: a, length: 7}]},"
        "{record: T, at: end, fields: [{constant: T, length: 8}]}]}"
    )

    (data,) = shape(layout, columns_of("a"), [["x"]] * rows)

    lines = data.decode().splitlines()
    blocks = -(-(rows + 2) // 10)
    assert lines[0] == f"H{blocks:03d}{rows + 2:04d}"
    assert len(lines) == blocks * 10
    assert lines[rows + 2 :] == ["99999999"] * (blocks * 10 - rows - 2)


@given(st.integers(0, 2**32))
def test_the_same_rows_give_the_same_bytes(seed: int) -> None:
    rng = random.Random(seed)
    layout, columns = random_layout(rng)
    lines = staged(columns, random_rows(rng, 6))
    try:
        first = write(layout, columns, lines)
    except FileRefused:
        return

    assert write(layout, columns, lines) == first


@pytest.mark.parametrize("change", ["order", "missing", "doubled", "control", "cut", "no-row", "more"])
def test_staged_rows_that_are_not_whole_are_refused(change: str) -> None:
    layout, columns = layout_of("{delimited: ',', records: [{record: R, fields: [{column: m}]}]}"), columns_of("m:2")
    lines = staged(columns, [["1.00"], ["2.00"], ["3.00"]])
    changed = {
        "order": [lines[1], lines[0], *lines[2:]],
        "missing": [lines[0], *lines[2:]],
        "doubled": [lines[0], *lines],
        "control": [*lines[:3], lines[3].replace("6.00", "6.01")],
        "cut": lines[:3],
        "no-row": [lines[0], "[2]", *lines[2:]],
        "more": [*lines, lines[0]],
    }[change]

    with pytest.raises(FileRefused) as caught:
        write(layout, columns, changed)

    assert caught.value.hint


def test_the_reader_of_one_part_does_not_take_another() -> None:
    layout = layout_of(
        "{delimited: ',', rows_per_file: 1, records: [{record: H, at: start, fields: [{constant: H}, {number: sequence}, {guid: file}]}, {record: R, fields: [{column: a}]}]}"
    )
    columns = columns_of("a")
    written = write(layout, columns, staged(columns, [["x"], ["x"]]))

    with pytest.raises(Mismatch, match="'number' is not that of this file"):
        read_file(Rereader(layout, columns, FACTS), written.files[1], Place(part=1, sequence=FIRST_SEQUENCE, parts=2))


def test_the_reader_shares_no_code_with_the_writer() -> None:
    """From the reader's modules no import leads to what writes."""
    import ast
    from pathlib import Path

    import partners

    folder = Path(partners.__file__).parent
    seen, todo = set(), ["rereading"]
    while todo:
        module = todo.pop()
        seen.add(module)
        for node in ast.walk(ast.parse((folder / f"{module}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("partners."):
                name = str(node.module).removeprefix("partners.")
                todo += [name] if name not in seen else []

    assert {"reading_records", "reading_fields", "layout"} <= seen
    assert not seen & {"values", "fast_rows", "record_writing", "shaping", "rendering", "compressing"}
