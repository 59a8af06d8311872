"""`./sealift partner lint`: all faults of a file in one round, in plain words, each with its line; what would fail at night is refused."""

# ruff: noqa: E501 - a layout reads best on one line

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from layout_support import columns_of, layout_of

from cli.partner_lint import lint
from partners import PartnerInvalid
from partners.checking import layout_faults, layout_notes
from partners.loading import EXAMPLES, FOLDER, read_partner

LLOYDS = (EXAMPLES / "lloyds.yaml").read_text()
ROW = "{record: R, fields: [{constant: R}, {column: a}]}"


def faults_of(layout: str, order_by: tuple[str, ...] = ("a",)) -> list[str]:
    columns = columns_of("a", "g", "kind", "n:integer", "m:2", "d:date", "t:timestamp")
    return [text for _, text in layout_faults(layout_of(layout), columns, order_by)]


def test_every_fault_is_found_in_one_round_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    wrong = {
        "constant: 123456-12345678, length: 15": "constant: 01, lenght: 15",
        "encoding: ascii": "encodng: ascii",
        "column: reference, max: 18": "column: referense, max: 18",
        "    table: marts": "    tabel: marts",
        "quote: never": "quote: nevr",
        "order_by: [payment_id]": "order_by: payment_id",
        'match: "[0-9]{6}"': 'match: "([0-9])([0-9])"',
    }
    text = LLOYDS
    for good, bad in wrong.items():
        assert good in text
        text = text.replace(good, bad)
    (tmp_path / "lloyds.yaml").write_text(text)

    with pytest.raises(PartnerInvalid) as caught:
        read_partner(tmp_path / "lloyds.yaml")

    found = [line.removeprefix(str(tmp_path)) for line in str(caught.value).splitlines()]

    def line(part: str) -> int:
        return text.split(part)[0].count("\n") + 1

    at = f"/lloyds.yaml:{line('lenght')}: feeds.credits.layout.records.1.fields.2"
    assert found == [
        f"/lloyds.yaml:{line('tabel')}: feeds.credits.tabel: tabel is not a key here; did you mean table?",
        f"/lloyds.yaml:{line('order_by')}: feeds.credits.order_by: this must be a list: write [payment_id]",
        f"/lloyds.yaml:{line('nevr')}: feeds.credits.layout.quote: 'nevr' is not known here; did you mean 'never'?",
        f"/lloyds.yaml:{line('encodng')}: feeds.credits.layout.encodng: encodng is not a key here; did you mean encoding?",
        f'{at}.constant: this must be a text, and YAML reads a number, a date or a boolean: put it in quotes, such as "01"',
        f"{at}.lenght: lenght is not a key here; did you mean length?",
        f"/lloyds.yaml:{line('([0-9])')}: feeds.credits.layout.records.2.fields.3.match: write (?:...) for a group: groups that capture are not allowed",
        f"/lloyds.yaml:{line('referense')}: feeds.credits.layout.records.2.fields.4: 'referense' is not a column of this feed; did you mean 'reference'?",
    ]


@pytest.mark.parametrize("value", ["00", "1", "NO", "ON", "2026-11-27", "1.5"])
def test_what_yaml_reads_as_something_else_must_be_quoted(tmp_path: Path, value: str) -> None:
    (tmp_path / "x.yaml").write_text(LLOYDS.replace("constant: H", f"constant: {value}"))

    with pytest.raises(PartnerInvalid, match='put it in quotes, such as "01"'):
        read_partner(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("fixed: 9, records: [{record: R, fields: [{constant: R, length: 1}, {column: a, length: 7}]}]", "the lengths of the fields add up to 8, and the record is fixed: 9"),
        ("fixed: 9, records: [{record: R, fields: [{column: a}]}]", "field 1 'a' needs a length: the record is fixed: 9"),
        ("fixed: 9, delimited: ';', records: [%s]", "either fixed: LENGTH or delimited: TEXT"),
        ("delimited: ';', records: [{record: H, at: start, fields: [{constant: H}]}]", "a layout needs a record with at: row"),
        ("delimited: ';', records: [%s, {record: T, at: end, fields: [{column: a}]}]", "a record at: end belongs to no row"),
        ("delimited: ';', records: [%s, {record: G, at: group, fields: [{constant: G}, {column: a}]}]", "need group_by"),
        ("delimited: ';', group_by: [g], records: [%s]", "order_by must begin with g"),
        ("delimited: ';', group_by: [a], records: [%s, {record: G, at: group, fields: [{constant: G}, {column: g}]}]", "a group's record may use the columns of group_by only: a"),
        ("delimited: ';', records: [{record: R, fields: [{column: a}, {count: rows}]}]", "a total does not belong to a row"),
        ("delimited: ';', records: [{record: R, fields: [{column: a, sum: m}]}]", "exactly one of"),
        ("delimited: ';', records: [{record: R, fields: [{name: x}]}]", "it has none"),
        ("delimited: ';', quote: never, records: [{record: R, fields: [{constant: 'a;b'}, {column: a}]}]", "'a;b' holds the delimiter, and this layout quotes nothing"),
        ("delimited: ';', encoding: ascii, records: [{record: R, fields: [{constant: 'Zoë'}, {column: a}]}]", "'Zoë' holds a letter that ascii lacks"),
        ("delimited: ';', records: [{record: R, fields: [{column: a, max: 2, values: [OK, LONG]}]}]", "'LONG' is longer than 2"),
        ("delimited: ';', records: [{record: R, fields: [{column: a, max: 2, map: {A: LONG}}]}]", "'LONG' is longer than 2"),
        ("delimited: ';', records: [{record: R, fields: [{column: a, match: '(a)(b)'}]}]", "groups that capture are not allowed"),
        ("delimited: ';', records: [{record: R, fields: [{column: a, match: 'a(?=b)b'}]}]", "look-ahead, look-behind and references are not allowed"),
        ("delimited: ';', records: [{record: R, fields: [{column: a, match: '(?i)a'}]}]", "flags such as (?i) are not allowed"),
        ("delimited: ';', records: [{record: R, fields: [{column: a, match: '[a'}]}]", "this is not a regular expression"),
        ("delimited: ';', records: [{record: R, fields: [{column: a, match: 'a$b'}]}]", "no value was found that this pattern accepts"),
        ("delimited: ';', records: [{record: R, fields: [{column: d, format: '%H'}]}]", "%H is a time of day, and this is a date"),
        ("delimited: ';', records: [{record: R, fields: [{column: d, format: '%b'}]}]", "%b is not known in a date"),
        ("delimited: ';', records: [{record: R, fields: [{column: t, format: '%H', zone: UTC+2}]}]", "'UTC+2' is not a time zone"),
        ("delimited: ';', records: [{record: R, fields: [{column: a, sign: none}]}]", "sign belongs to numbers"),
        ("delimited: ';', records: [{record: R, fields: [{column: n, implied: true}]}]", "implied needs decimals"),
        ("delimited: ';', records: [{record: R, fields: [{column: n, fill: '0', align: left, length: 5}]}]", "zeros after a number make it another number"),
        ("delimited: ';', records: [{record: R, fields: [{column: n, truncate: true, max: 5}]}]", "a number is never cut"),
        ("delimited: ';', records: [%s, {record: T, at: end, fields: [{sum: a}]}]", "a is a text"),
        ("delimited: ';', records: [%s, {record: T, at: end, fields: [{count: groups}]}]", "count: groups needs group_by"),
        ("delimited: ';', line_end: none, records: [%s]", "a delimited file needs line ends"),
        ("fixed: 4, quote: always, records: [{record: R, fields: [{column: a, length: 4}]}]", "quote belongs to delimited files"),
        ("delimited: ';', records: [{record: A, fields: [{column: a}, {column: g}]}, {record: B, when: {kind: X}, fields: [{column: kind}, {column: a}]}]", "could be one of record"),
    ],
)  # fmt: skip
def test_what_would_fail_at_night_is_refused_before(layout: str, words: str) -> None:
    found = faults_of(f"{{{layout.replace('%s', ROW)}}}")

    assert any(words in text for text in found), found


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("records: [%s, {record: T, at: end, fields: [{name: total, sum: m}]}]", "the total 'total' is not counted again when the file is read back: the rows of the file do not show"),
        ("rows_per_file: 5, records: [%s, {record: T, at: end, fields: [{name: all, count: rows, over: batch}]}]", "it spans several files"),
        ("records: [{record: R, fields: [{column: m, length: 10, implied: true}]}, {record: T, at: end, fields: [{name: total, sum: m, length: 12, implied: true}]}]", "'total' of record T has room for 100 rows with the largest value"),
        ("rows_per_file: 1000, records: [%s, {record: T, at: end, fields: [{name: how many, count: rows, length: 3}]}]", "'how many' of record T has room for 999 rows"),
        ("records: [{record: R, fields: [{column: a}, {name: running, number: row, length: 4}]}]", "'running' of record R has room for 9,999 rows"),
    ],
)  # fmt: skip
def test_what_is_not_recounted_or_may_outgrow_its_field_is_a_note(layout: str, words: str) -> None:
    columns = columns_of("a", "m:2")
    full = layout_of(f"{{delimited: ';', {layout.replace('%s', ROW)}}}")

    assert list(layout_faults(full, columns, ["a"])) == []
    assert words in "\n".join(layout_notes(full, {column.name: column for column in columns}))


def test_tables_and_columns_that_dbt_does_not_build_are_found_with_other_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (FOLDER / "northwind.yaml").read_text()
    text = text.replace("marts.partner_daily_accruals", "marts.partner_daily_acruals").replace(
        "delimiter:", "delimeter:"
    )
    (tmp_path / "northwind.yaml").write_text(text)
    other = (FOLDER / "cedarway.yaml").read_text()
    (tmp_path / "cedarway.yaml").write_text(
        other.replace("      - currency\n", "      - curency\n").replace(
            "rows: transaction_count", "rows: transactions"
        )
    )

    assert lint(tmp_path) == 1

    shown = capsys.readouterr().out
    assert (
        "'marts.partner_daily_acruals' is not a table of the dbt project; did you mean 'marts.partner_daily_accruals'?"
        in shown
    )
    assert "delimeter is not a key here; did you mean delimiter?" in shown
    assert "'curency' is not a column of marts.partner_daily_accruals; did you mean 'currency'?" in shown
    assert "'transactions' is not a column of marts.partner_batch_totals; did you mean 'transaction_count'?" in shown


@pytest.mark.parametrize(("kind", "is_noted"), [("cms", True), ("smime", False)])
def test_lint_says_what_opens_a_cms_file_and_recommends_smime(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, is_noted: bool
) -> None:
    text = (FOLDER / "cedarway.yaml").read_text().replace("format: detached", f"format: {kind}")
    (tmp_path / "cedarway.yaml").write_text(text)

    assert lint(tmp_path) == 0

    assert ("! purchases: cms is opened by openssl 3" in capsys.readouterr().out) is is_noted


def test_the_partner_files_of_the_repository_have_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(EXAMPLES.parent) == 0

    assert "+ partners/examples/lloyds.yaml: 1 feed(s): credits" in capsys.readouterr().out


def test_every_field_of_the_json_schema_has_a_description() -> None:
    from partners.model import Partner

    schema = Partner.model_json_schema()
    bare = [
        f"{name}.{key}"
        for name, model in {"Partner": schema, **schema["$defs"]}.items()
        for key, each in model.get("properties", {}).items()
        if not each.get("description")
    ]

    assert bare == []
    assert yaml.safe_load(LLOYDS)["name"] == "lloyds"
