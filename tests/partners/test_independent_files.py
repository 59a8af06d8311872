"""Hard layouts against files made by other code: every figure and byte is computed here from the rows, none by the writer."""

# ruff: noqa: E501 - a layout reads best on one line

from __future__ import annotations

import pytest
from layout_support import FACTS, FIRST_SEQUENCE, columns_of, layout_of, shape, staged, write

from partners.reading_records import uncountable
from partners.rereading import Place, Rereader


def zoned(cents: int, width: int) -> str:
    """Write a number as COBOL's zoned decimal does: the sign is in the last digit."""
    digits = f"{abs(cents):0{width}d}"
    return digits[:-1] + ("}JKLMNOPQR" if cents < 0 else "{ABCDEFGHI")[int(digits[-1])]


def money(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


GROUPED = """
{fixed: 30, line_end: none, encoding: %s, group_by: [g], rows_per_file: 3, block: {lines: 4, fill: "9"}, records: [
  {record: FH, at: start, fields: [{constant: FH, length: 2}, {count: lines, length: 5}, {count: blocks, length: 3}, {count: groups, length: 3},
    {sum: m, over: batch, implied: true, sign: overpunch, length: 9}, {number: parts, length: 2}, {count: groups, over: batch, length: 3}, {blank: true, length: 3}]},
  {record: GH, at: group, fields: [{constant: GH, length: 2}, {column: g, length: 5}, {count: rows, length: 4}, {sum: m, implied: true, sign: overpunch, length: 9},
    {number: line, length: 4}, {number: group, length: 2}, {blank: true, length: 4}]},
  {record: G2, at: group, fields: [{constant: G2, length: 2}, {sum: m, over: file, sign: trailing, length: 10}, {sum: id, digits: [2, 4], modulo: 100, length: 2}, {blank: true, length: 16}]},
  {record: RR, fields: [{constant: RR, length: 2}, {column: id, length: 8}, {column: m, sign: leading, length: 10}, {number: row_in_group, length: 3}, {number: row, length: 3}, {number: row_in_batch, length: 4}]},
  {record: GE, at: group_end, fields: [{constant: GE, length: 2}, {count: lines, length: 4}, {blank: true, length: 24}]},
  {record: FT, at: end, fields: [{constant: FT, length: 2}, {count: rows, length: 5}, {number: part, length: 2}, {blank: true, length: 21}]}]}
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp037", "cp500", "cp1140"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 10])
def test_groups_parts_blocks_and_totals_ahead_without_line_ends(encoding: str, count: int) -> None:
    cents = [(-1 if n % 3 else 1) * (100 * n + 50) for n in range(count)]
    groups = [n // 4 for n in range(count)]

    files = shape(
        GROUPED % encoding,
        columns_of("g", "id", "m:2"),
        [[f"G{groups[n]}", f"I{n * 37:03d}", money(cents[n])] for n in range(count)],
    )

    parts = [range(at, min(at + 3, count)) for at in range(0, count, 3)]
    all_groups = sum(len({groups[n] for n in part}) for part in parts)
    assert len(files) == len(parts)
    for index, part in enumerate(parts):
        numbers = sorted({groups[n] for n in part})
        total = sum(cents[n] for n in part)
        lines = 2 + sum(3 + sum(groups[n] == g for n in part) for g in numbers)
        text = f"FH{lines:05d}{-(-lines // 4):03d}{len(numbers):03d}{zoned(sum(cents), 9)}{len(parts):02d}{all_groups:03d}   "
        line = 2
        for position, g in enumerate(numbers, 1):
            mine = [n for n in part if groups[n] == g]
            text += f"GHG{g}   {len(mine):04d}{zoned(sum(cents[n] for n in mine), 9)}{line:04d}{position:02d}    "
            text += (
                f"G2{money(abs(total)).zfill(9)}{'-' if total < 0 else '+'}{sum(n * 37 for n in mine) % 100:02d}{'':16}"
            )
            for place, n in enumerate(mine, 1):
                sign = "-" if cents[n] < 0 else "+"
                text += f"RRI{n * 37:03d}{'':4}{sign}{money(abs(cents[n])).zfill(9)}{place:03d}{n - part[0] + 1:03d}{n + 1:04d}"
            text += f"GE{len(mine) + 3:04d}{'':24}"
            line += len(mine) + 3
        text += f"FT{len(part):05d}{index + 1:02d}{'':21}" + "9" * 30 * (-lines % 4)
        assert files[index] == text.encode(encoding)


def test_conditions_several_records_a_row_and_hash_totals() -> None:
    layout = """
    {delimited: ";", quote: never, line_end: lf, records: [
      {record: H, at: start, fields: [{constant: "00"}, {count: rows, where: {kind: [A, B], ccy: EUR}}, {sum: m, where: {ccy: GBP}, sign: absolute, implied: true, length: 8},
        {sum: acct, digits: [3, 6], modulo: 1000, where: {kind: A}, length: 3}, {sum: acct, digits: [3, 6]}, {sum: seq, modulo: 7}]},
      {record: A, when: {kind: A}, fields: [{constant: "10"}, {column: seq}, {column: acct}, {column: m}]},
      {record: B, when: {kind: [B, C]}, fields: [{constant: "20"}, {column: seq, length: 4}, {column: m, sign: trailing}, {name: map, column: kind, map: {B: "1", C: "2"}}, {number: line}]},
      {record: X, when: {kind: C}, fields: [{constant: "21"}, {column: acct}]},
      {record: T, at: end, fields: [{constant: "99"}, {count: rows}, {count: lines}, {number: line}, {sum: m, where: {kind: C}}]}]}
    """
    rows = [(n, "ABC"[n % 3], 1000 + 97 * n, 100 * n - 490, ("EUR", "GBP")[n % 2]) for n in range(11)]

    (data,) = shape(
        layout,
        columns_of("seq:integer", "kind", "acct", "m:2", "ccy"),
        [[str(n), kind, f"XX{account}9", money(c), ccy] for n, kind, account, c, ccy in rows],
    )

    picked = sum(kind in "AB" and ccy == "EUR" for _, kind, _, _, ccy in rows)
    pounds = abs(sum(c for _, _, _, c, ccy in rows if ccy == "GBP"))
    hashed = sum(account for _, kind, account, _, _ in rows if kind == "A") % 1000
    lines = [
        f"00;{picked};{pounds:08d};{hashed:03d};{sum(account for _, _, account, _, _ in rows)};{sum(n for n, *_ in rows) % 7}"
    ]
    for n, kind, account, c, _ in rows:
        if kind == "A":
            lines.append(f"10;{n};XX{account}9;{money(c)}")
        else:
            lines.append(f"20;{n:04d};{money(abs(c))}{'-' if c < 0 else '+'};{'12'[kind == 'C']};{len(lines) + 1}")
        if kind == "C":
            lines.append(f"21;XX{account}9")
    lines.append(
        f"99;{len(rows)};{len(lines) + 1};{len(lines) + 1};{money(sum(c for _, k, _, c, _ in rows if k == 'C'))}"
    )
    assert data.decode() == "".join(f"{line}\n" for line in lines)


def test_zeros_before_an_account_belong_to_its_hash_total() -> None:
    layout = """
    {fixed: 12, line_end: lf, records: [{record: R, fields: [{constant: R, length: 1}, {column: a, length: 9, align: right, fill: "0"%s}, {blank: true, length: 2}]},
      {record: T, at: end, fields: [{constant: T, length: 1}, {sum: a, digits: [1, 8], length: 11}]}]}
    """
    accounts = ["012345678", "000000019", "987654321"]

    for match in ("", ", match: '[0-9]{9}'"):
        (data,) = shape(layout % match, columns_of("a"), [[each] for each in accounts])

        total = sum(int(each[:8]) for each in accounts)
        assert data.decode() == "".join(f"R{each}  \n" for each in accounts) + f"T{total:011d}\n"


SIGNS = """
{fixed: 100, line_end: lf, encoding: cp1140, records: [{record: R, fields: [{column: id, length: 4}, {column: m, name: a, length: 12, sign: trailing, fill: " "},
  {column: m, name: b, length: 12, sign: leading, plain_positive: true, align: left}, {column: m, name: c, length: 12, sign: overpunch, plain_positive: true, implied: true},
  {column: m, name: d, length: 12, sign: overpunch}, {column: m, name: e, length: 12, fill: "*"}, {column: m, name: f, length: 12, sign: absolute, align: left, implied: true},
  {column: o, name: g, length: 10, optional: true, implied: true}, {column: o, name: h, length: 10, optional: true, scale: 5, sign: trailing, plain_positive: true}, {blank: true, length: 4}]}]}
"""


def test_every_form_of_a_sign_in_ebcdic() -> None:
    rows = [(-1230, 1), (0, None), (9999999, -10000), (-1, 12345), (5, 0)]

    (data,) = shape(
        SIGNS,
        columns_of("id", "m:2", "o:4"),
        [
            [f"{n}", money(c), None if o is None else f"{'-' if o < 0 else ''}{abs(o) // 10000}.{abs(o) % 10000:04d}"]
            for n, (c, o) in enumerate(rows)
        ],
    )

    expected = ""
    for n, (c, o) in enumerate(rows):
        size = money(abs(c))
        punched = zoned(c, 12) if c < 0 else f"{c:012d}"
        point = zoned(c, 12)[1:]
        expected += f"{n:<4}" + (size + "+-"[c < 0]).rjust(12) + money(c).ljust(12) + punched
        expected += f"{point[:-2]}.{point[-2:]}" + money(c).rjust(12, "*") + str(abs(c)).ljust(12)
        if o is None:
            expected += " " * 20
        else:
            tail = "-" if o < 0 else ""
            expected += ("-" if o < 0 else "") + f"{abs(o):0{9 if o < 0 else 10}d}"
            expected += f"{abs(o) // 10000}.{abs(o) % 10000:04d}0".zfill(10 - len(tail)) + tail
        expected += "    \n"
    assert data == expected.encode("cp1140")


@pytest.mark.parametrize(("empty", "lines"), [("send", 2), ("header-only", 1), ("skip", 0)])
def test_a_batch_without_rows_in_ebcdic_with_blocks_and_an_open_last_line(empty: str, lines: int) -> None:
    layout = f"""
    {{fixed: 20, encoding: cp500, line_end: crlf, last_line: open, end_of_file: "\\x1A", empty: {empty}, block: {{lines: 5, fill: "98"}}, records: [
      {{record: FH, at: start, fields: [{{constant: FH, length: 2}}, {{sum: m, implied: true, sign: overpunch, length: 9}}, {{number: sequence, length: 9}}]}},
      {{record: RR, fields: [{{constant: RR, length: 2}}, {{column: id, length: 8}}, {{column: m, sign: leading, length: 10}}]}},
      {{record: FT, at: end, fields: [{{constant: FT, length: 2}}, {{count: rows, length: 18}}]}}]}}
    """

    files = shape(layout, columns_of("id", "m:2"), [])

    shown = [f"FH00000000{{{FIRST_SEQUENCE:09d}", f"FT{0:018d}"][:lines] + ["98" * 10] * (5 - lines)
    assert files == ([("\r\n".join(shown) + "\x1a").encode("cp500")] if lines else [])


@pytest.mark.parametrize(
    ("delimiter", "quote", "encoding"),
    [
        ("\t", "never", "cp1252"),
        ("|~|", "minimal", "utf-8"),
        ("%%", "always", "latin-1"),
        ("^", "never", "cp1140"),
        (" ", "minimal", "ascii"),
        ("ab", "never", "ascii"),
        ("1", "minimal", "ascii"),
        ("#EndOfF#", "never", "cp037"),
    ],
)
def test_titles_keep_their_case_whatever_the_delimiter(delimiter: str, quote: str, encoding: str) -> None:
    layout = f"""
    {{delimited: {delimiter!r}, quote: {quote}, encoding: {encoding}, line_end: cr, records: [{{record: titles, titles: true}},
      {{record: R, fields: [{{name: "CustomerID", column: id}}, {{name: full_NAME, column: name, optional: true}}, {{name: nN, column: n, optional: true}}, {{column: m, scale: 3, name: Amount}}]}}]}}
    """.replace("'\\t'", '"\\t"')

    (data,) = shape(
        layout, columns_of("id", "name", "n:integer", "m:2"), [["B", "Zo X", "5", "1.5"], ["A", None, None, "-0.25"]]
    )

    def cell(text: str) -> str:
        if text and (quote == "always" or (quote == "minimal" and delimiter in text)):
            return f'"{text}"'
        return text

    table = [["CustomerID", "full_NAME", "nN", "Amount"], ["B", "Zo X", "5", "1.500"], ["A", "", "", "-0.250"]]
    assert data == "".join(delimiter.join(map(cell, row)) + "\r" for row in table).encode(encoding)


def test_rows_whose_records_overlap_are_sealed_though_their_number_is_not_counted_again() -> None:
    layout = layout_of(
        "{delimited: ',', line_end: lf, records: [{record: A, when: {kind: [A, B]}, fields: [{constant: A}, {column: m}]},"
        "{record: B, when: {kind: [B, C]}, fields: [{constant: B}, {column: kind}]},"
        "{record: T, at: end, fields: [{constant: T}, {count: rows}, {count: lines}, {sum: m}]}]}"
    )
    columns = columns_of("kind", "m:2")

    written = write(layout, columns, staged(columns, [["A", "1.00"], ["B", "2.00"], ["C", "4.00"]]))

    assert written.files == [b"A,1.00\nA,2.00\nB,B\nB,C\nT,3,5,7.00\n"]
    reader = Rereader(layout, columns, FACTS).file(Place(sequence=FIRST_SEQUENCE, parts=1))
    reader.feed(written.files[0])
    assert reader.check(written.shaped.files[0]).rows == 3
    assert [f.name for f, _ in uncountable(layout, {column.name: column for column in columns})] == ["count", "m"]
