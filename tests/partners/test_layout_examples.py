"""Whole files against their specification: made here by other code, field by field, and by `./sealift partner render`."""

# ruff: noqa: E501 - a layout reads best on one line

from __future__ import annotations

import csv
import gzip
import io
import subprocess
import sys
import uuid
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest

from partners.loading import FOLDER

EXAMPLES = Path(__file__).parents[2] / "partners" / "examples"
HEAD = (FOLDER / "cedarway.yaml").read_text().split("feeds:")[0].replace("name: cedarway", "name: trial")


def render(
    folder: Path, feed: str, rows: list[dict[str, str]], *more: str, code: int = 0, repository: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Write a partner file and a CSV file, run the command, return what it printed."""
    (folder / "any.yaml").write_text(
        HEAD
        + "feeds:\n  one:\n    title: One\n    table: marts.one\n    business_date: business_date\n    route: function\n    folder: /in\n"
        + feed
    )
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    command = [
        sys.executable,
        "-m",
        "cli",
        "partner",
        "render",
        str(folder / "any.yaml"),
        "one",
        "--rows",
        str(folder / "rows.csv"),
    ]
    given = [
        "--business-date",
        "2026-11-27",
        "--made",
        "2026-11-28T03:04:05Z",
        "--sequence",
        "9",
        "--out",
        str(folder / "out"),
        *more,
    ]
    done = subprocess.run([*command, *given], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == code, done.stderr
    return done


def render_example(
    folder: Path, example: str, columns: str, rows: list[list[str]], code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Render an example's own partner file from rows, made on 28 November 2026 at 03:04:05 UTC."""
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns.split(), *rows])
    partner, feed = example.split(".")
    command = [sys.executable, "-m", "cli", "partner", "render", str(EXAMPLES / f"{partner}.yaml"), feed]
    given = ["--business-date", "2026-11-27", "--made", "2026-11-28T03:04:05Z", "--sequence", "9"]
    paths = ["--rows", str(folder / "rows.csv"), "--out", str(folder / "out")]
    done = subprocess.run([*command, *given, *paths], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == code, done.stderr
    return done


LLOYDS = """
    order_by: [e2e]
    columns: [name, account, sort, ref, {name: amount, type: decimal, scale: 2}, asap, {name: pay_on, type: date}, e2e]
    file_name: "LB_{date:%Y%m%d}_{sequence:010d}.csv"
    layout:
      {delimited: ",", quote: never, line_end: crlf, encoding: ascii, rows_per_file: 25, empty: skip, records: [
        {record: H, at: start, fields: [{name: record type, constant: H}, {name: date, date: business, format: "%Y%m%d"},
          {name: file identifier, number: sequence, length: 10}, {name: number of credits, count: rows}, {name: total value, sum: amount, scale: 2}]},
        {record: D, at: start, fields: [{constant: D}, {name: debit reference, constant: SEALIFT PAYMENTS, max: 18}, {name: debit account, constant: "123456-12345678"}]},
        {record: C, at: row, fields: [{constant: C}, {name: beneficiary name, column: name, max: 18}, {name: account number, column: account, match: "[0-9]{8}"},
          {name: sort code, column: sort, match: "[0-9]{6}"}, {name: reference, column: ref, max: 18}, {name: amount, column: amount, scale: 2, sign: none}, {name: as soon as possible, column: asap, values: ["Y", "N"]},
          {name: payment date, column: pay_on, format: "%Y%m%d", blank_when: {asap: "Y"}}, {name: end-to-end reference, column: e2e, max: 256, optional: true}]}]}
"""


def some_credits(count: int) -> list[dict[str, str]]:
    return [
        {
            "name": "J O'NEIL",
            "account": f"{16779531 + n}",
            "sort": "057456",
            "ref": f"INV {n}",
            "amount": f"{19241 + n}.69",
            "asap": "Y" if n % 4 == 0 else "N",
            "pay_on": "2026-12-03",
            "e2e": f"E2E/{n:03d}",
        }
        for n in range(count)
    ]


def test_lloyds_files_are_those_of_their_specification_byte_for_byte(tmp_path: Path) -> None:
    """Of developer.lloydsbanking.com/lbg-support/batch-file-template: every field, the totals in the header of each file of 25 credits.
    Inferred: ASCII, CR LF, no quotes, amounts with two decimals, one file identifier a file."""
    paid = some_credits(60)
    columns = "payment_id beneficiary account_number sort_code reference amount asap pay_on end_to_end"
    rows = [[f"{n:03d}", *credit.values()] for n, credit in enumerate(paid)]

    render_example(tmp_path, "lloyds.credits", columns, rows)

    for part in range(3):
        mine = paid[part * 25 : part * 25 + 25]
        total = sum(Decimal(row["amount"]) for row in mine)
        lines = [f"H,20261127,{9 + part:010d},{len(mine)},{total}", "D,SEALIFT PAYMENTS,123456-12345678"]
        for row in mine:
            day = "" if row["asap"] == "Y" else "20261203"
            lines.append(
                f"C,{row['name']},{row['account']},{row['sort']},{row['ref']},{row['amount']},{row['asap']},{day},{row['e2e']}"
            )
        data = (tmp_path / "out" / f"LB_20261127_{9 + part:010d}.csv").read_bytes()
        assert data == ("\r\n".join(lines) + "\r\n").encode("ascii")


def test_rows_that_do_not_fit_are_reported_and_leave_no_file(tmp_path: Path) -> None:
    rows = some_credits(3)
    rows[1]["name"] = "DOE, JANE"
    rows[2]["account"] = "1677"

    done = render(tmp_path, LLOYDS, rows, code=1)

    assert (
        "row 2, record C, field 2 'beneficiary name': holds the delimiter, and this layout quotes nothing"
        in done.stderr
    )
    assert "row 3, record C, field 3 'account number': does not match the pattern" in done.stderr
    assert "JANE" not in done.stderr + done.stdout
    assert list((tmp_path / "out").iterdir()) == []


VIVA = "presentment_id card_token authorization_id transaction_type reversal indicator amount"


def test_viva_s_file_is_that_of_its_specification_byte_for_byte(tmp_path: Path) -> None:
    """Of developer.viva.com/issuing/clearing-file-specification: the name, UTF-8, `;`, each field of H and T, fields 1 to 7 of R, and
    212.50 EUR as 000000021250. Inferred, since the page that was read does not show it: that the amount is field 8 and the last,
    CR LF, no quotes. The page gives no GUID of a file either; ours is derived from the batch, so it is the same each time.
    """
    presentments = [f"00000000-0000-4000-8000-{n:012d}" for n in range(7)]
    kinds = ["00", "18", "01", "09", "12", "20", "28"]
    authorization = "10000000-0000-4000-8000-00000000000a"
    rows = [
        [presentments[n], f"{n:040d}", "" if n == 2 else authorization, kinds[n], "R" if n == 3 else "", "DC"[n % 2], a]
        for n, a in enumerate(["212.50", "0.01", "0.00", "9999999999.99", "1.00", "12", "0.5"])
    ]

    render_example(tmp_path, "viva.clearing", VIVA, rows)

    file_id = str(uuid.uuid5(uuid.UUID("5f0c1a0e-6a5b-5d0c-9d5e-3f6f2b7c4e11"), "viva.clearing.2026-11-27.1/1"))
    expected = [
        f"H;{file_id}",
        f"R;{presentments[0]};{0:040d};{authorization};00;;D;000000021250",
        f"R;{presentments[1]};{1:040d};{authorization};18;;C;000000000001",
        f"R;{presentments[2]};{2:040d};;01;;D;000000000000",
        f"R;{presentments[3]};{3:040d};{authorization};09;R;C;999999999999",
        f"R;{presentments[4]};{4:040d};{authorization};12;;D;000000000100",
        f"R;{presentments[5]};{5:040d};{authorization};20;;C;000000001200",
        f"R;{presentments[6]};{6:040d};{authorization};28;;D;000000000050",
        "T;000000000007;0000000000021400;0001000000001200",
    ]
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == "Clearing_VivaBank_20261128050405.txt"
    assert written.read_bytes() == "".join(line + "\r\n" for line in expected).encode("utf-8")


def test_viva_s_count_starts_at_1_so_a_day_without_rows_is_refused(tmp_path: Path) -> None:
    assert "no rows" in render_example(tmp_path, "viva.clearing", VIVA, [], code=1).stderr


PUNCHED = """
    order_by: [id]
    columns: [id, name, {name: amount, type: decimal, scale: 2}, {name: opened, type: timestamp}]
    file_name: "OP_{date:%y%j}_{letter}.dat"
    layout:
      fixed: 250
      line_end: {end}
      encoding: {encoding}
      records:
        - record: header
          at: start
          fields:
            - {name: type, constant: "01", length: 2}
            - {name: records, count: rows, length: 9}
            - {name: total, sum: amount, scale: 2, implied: true, sign: overpunch, length: 15}
            - {name: hash, sum: id, digits: [2, 9], modulo: 100000, length: 5}
            - {name: filler, blank: true, length: 219}
        - record: detail
          at: row
          fields:
            - {name: type, constant: "02", length: 2}
            - {column: id, length: 12}
            - {column: name, length: 40}
            - {column: amount, scale: 2, implied: true, sign: overpunch, length: 11}
            - {column: opened, format: "%Y%m%d%H%M%S", zone: America/New_York, length: 14}
            - {name: number, number: row, length: 9}
            - {name: filler, blank: true, length: 162}
"""


def punched(cents: int, width: int) -> str:
    """Write a zoned decimal as COBOL does."""
    digits = str(abs(cents)).zfill(width)
    return digits[:-1] + ("}JKLMNOPQR" if cents < 0 else "{ABCDEFGHI")[int(digits[-1])]


@pytest.mark.parametrize(
    ("encoding", "end", "line_end"),
    [("ascii", "lf", "\n"), ("cp037", "none", ""), ("cp500", "lf", "\n"), ("cp1140", "crlf", "\r\n")],
)
def test_records_of_250_bytes_have_overpunched_totals_in_the_header(
    tmp_path: Path, encoding: str, end: str, line_end: str
) -> None:
    amounts = [12345, -678, 0, -1000000, 99]
    rows = [
        {
            "id": f"A{12345678 + n:08d}",
            "name": f"NAME {n}",
            "amount": f"{'-' if c < 0 else ''}{abs(c) // 100}.{abs(c) % 100:02d}",
            "opened": "2026-07-01T03:30:00+00:00",
        }
        for n, c in enumerate(amounts)
    ]

    render(tmp_path, PUNCHED.replace("{end}", end).replace("{encoding}", encoding), rows, "--revision", "2")

    checksum = sum(12345678 + n for n in range(5)) % 100000
    expected = ["01" + "000000005" + punched(sum(amounts), 15) + f"{checksum:05d}" + " " * 219]
    for n, (row, cents) in enumerate(zip(rows, amounts, strict=True), 1):
        expected.append(f"02{row['id']:<12}{row['name']:<40}{punched(cents, 11)}20260630233000{n:09d}{'':162}")
    assert {len(line) for line in expected} == {250}
    assert (tmp_path / "out" / "OP_26331_B.dat").read_bytes() == "".join(line + line_end for line in expected).encode(
        encoding
    )


NACHA = (Path(__file__).parent / "nacha.yaml").read_text()


def test_groups_have_hash_totals_and_the_file_whole_blocks(tmp_path: Path) -> None:
    rows = [
        {
            "batch_no": f"{n // 5 + 1}",
            "company": f"ACME {n // 5}",
            "entry_no": f"{n}",
            "code": "22" if n % 3 else "27",
            "routing": f"{98765432 + n:08d}{n % 10}",
            "account": f"ACC-{n}",
            "amount": f"{1000 + n}.05",
            "person": f"Zoë Łódź {n}",
            "direction": "C" if n % 3 else "D",
        }
        for n in range(13)
    ]

    render(tmp_path, NACHA, rows)

    lines = ["101 09100001912345678902611280504A094101" + f"{'FEDERAL BANK':<23}{'SEALIFT INC':<23}{'':8}"]

    def totals(mine: list[dict[str, str]]) -> str:
        checksum = sum(int(row["routing"][:8]) for row in mine) % 10**10
        sums = [sum(int(Decimal(row["amount"]) * 100) for row in mine if row["direction"] == d) for d in "DC"]
        return f"{checksum:010d}{sums[0]:012d}{sums[1]:012d}"

    for batch in range(3):
        mine = rows[batch * 5 : batch * 5 + 5]
        lines.append(
            f"5200{'ACME ' + str(batch):<16}{'':20}1234567890PPDPAYROLL   {'':6}261127{'':3}109100001{batch + 1:07d}"
        )
        lines += [
            f"6{row['code']}{row['routing']}{row['account']:<17}{int(Decimal(row['amount']) * 100):010d}{'':15}{'Zoe Lodz ' + row['entry_no']:<22}  009100001{int(row['entry_no']) + 1:07d}"
            for row in mine
        ]
        lines.append(f"8200{len(mine):06d}{totals(mine)}1234567890{'':25}09100001{batch + 1:07d}")
    count = len(lines) + 1
    blocks = -(-count // 10)
    lines.append(f"9{3:06d}{blocks:06d}{13:08d}{totals(rows)}{'':39}")
    lines += ["9" * 94] * (blocks * 10 - count)
    assert {len(line) for line in lines} == {94}
    assert (tmp_path / "out" / "ACH_20261127_A.txt").read_bytes() == "".join(line + "\r\n" for line in lines).encode(
        "ascii"
    )


TITLES = """
    order_by: [points, id]
    columns: [id, name, {name: points, type: integer}, {name: day, type: date}]
    file_name: "{partner}_{date:%d%m%Y}.csv"
    layout:
      delimited: "||"
      quote: always
      line_end: lf
      last_line: open
      encoding: utf-8-bom
      records:
        - {record: titles, titles: true}
        - {record: row, at: row, fields: [{name: Member ID, column: id}, {name: "Full Name", column: name, optional: true}, {name: pointsEarned, column: points}, {name: DAY, column: day, format: "%d/%m/%Y"}]}
"""


def test_titles_keep_their_letters_and_rows_are_sorted_by_size(tmp_path: Path) -> None:
    rows = [
        {"id": "B", "name": 'say "x"', "points": "10", "day": "2026-11-27"},
        {"id": "A", "name": "Zoë||", "points": "-3", "day": "2026-11-27"},
        {"id": "C", "name": "", "points": "2", "day": "2026-01-02"},
    ]

    done = render(tmp_path, TITLES, rows)

    assert "note: the rows were sorted by order_by" in done.stderr
    assert (tmp_path / "out" / "trial_27112026.csv").read_text(encoding="utf-8-sig") == (
        '"Member ID"||"Full Name"||"pointsEarned"||"DAY"\n'
        '"A"||"Zoë||"||"-3"||"27/11/2026"\n'
        '"C"||||"2"||"02/01/2026"\n'
        '"B"||"say ""x"""||"10"||"27/11/2026"'
    )


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_compressed_files_have_the_same_bytes_each_time(tmp_path: Path, kind: str) -> None:
    feed = TITLES.replace("last_line: open", f"compress: {kind}").replace(
        ".csv", ".csv.zip" if kind == "zip" else ".csv.gz"
    )
    rows = [{"id": f"{n}", "name": "x", "points": "1", "day": "2026-11-27"} for n in range(2000)]

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    render(tmp_path / "a", feed, rows)
    render(tmp_path / "b", feed, rows)

    (first,), (second,) = (list((tmp_path / name / "out").iterdir()) for name in "ab")
    data = first.read_bytes()
    assert data == second.read_bytes()
    if kind == "gzip":
        plain = gzip.decompress(data)
    else:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.namelist() == ["trial_27112026.csv"]
            plain = archive.read("trial_27112026.csv")
    assert plain.count(b"\n") == 2001


def test_a_preview_shows_each_record_under_its_ruler_and_the_table_of_its_fields(tmp_path: Path) -> None:
    (tmp_path / "any.yaml").write_text(
        HEAD
        + "feeds:\n  one:\n    title: One\n    table: marts.one\n    business_date: business_date\n    route: function\n    folder: /in\n"
        + NACHA
    )

    def preview(*more: str) -> str:
        command = [sys.executable, "-m", "cli", "partner", "preview", str(tmp_path / "any.yaml"), "one", *more]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout

    shown = preview("--rows", "3").splitlines()
    assert (
        "            ----+----1----+----2----+----3----+----4----+----5----+----6----+----7----+----8----+----9----"
        in shown
    )
    assert (
        "            12 3         4         5     6   78  9 |11                     12                     13" in shown
    )
    assert sum(line.startswith("entry") for line in shown) == 3
    table = preview("--spec").splitlines()
    assert table[0].split() == ["record", "number", "field", "from", "to", "length", "source"]
    assert any(line.split()[:6] == ["entry", "5", "amount", "30", "39", "10"] for line in table)
