"""docs/partners.md says what the layout language does: each of its examples is run, and no key is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from layout_support import columns_of, shape

from partners.layout import Layout, Record, RecordField, ShortForm
from partners.refusals import FileRefused

PAGE = (Path(__file__).parents[2] / "docs" / "partners.md").read_text(encoding="utf-8")

_ROW = re.compile(
    r"^\| (text|decimal|date|timestamp) \| (?:`(.*?)`)? *\| (?:`(.*?)`|NULL) \| (?:`(.*?)`|refused: (.*?)) \|$",
    re.MULTILINE,
)
EXAMPLES = [found.groups() for found in _ROW.finditer(PAGE)]


_KEY = re.compile(r"^\| [^|]+ \| `(?P<layout>.+?)` \| (?:`(?P<rows>.*?)`)? ?\| `(?P<files>[^`]*)` \|$", re.MULTILINE)
KEYS = [
    found.groups("")
    for found in _KEY.finditer(PAGE.split("## One example of each key")[1].split("## A whole example")[0])
]


@pytest.mark.parametrize(("layout", "rows", "files"), KEYS)
def test_each_example_of_a_key_gives_its_file(layout: str, rows: str, files: str) -> None:
    given = [[None if value == "-" else value for value in row.split(" ")] for row in rows.split(";") if row]
    full = [[*row, *["C", "1.00"][len(row) - 1 :]] for row in given]

    written = shape(f"{{{layout}}}", columns_of("a", "kind", "m:2"), full)

    assert [data.decode() for data in written] == [
        each.replace("\\r", "\r").replace("\\n", "\n") for each in files.split(" + ")
    ]


@pytest.mark.parametrize("model", [Layout, Record, RecordField])
def test_every_key_is_in_an_example_that_is_run(model: type[Layout | Record | RecordField]) -> None:
    run = " ".join([*(layout for layout, _, _ in KEYS), *(f"{{{form}}}" for _, form, *_ in EXAMPLES)])

    assert [name for name in model.model_fields if not re.search(rf"(^|[{{ ,'])({name})'?:", run)] == []


def test_the_table_of_forms_is_found() -> None:
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize(("kind", "form", "value", "written", "reason"), EXAMPLES)
def test_each_form_writes_what_the_page_says(
    kind: str, form: str | None, value: str | None, written: str | None, reason: str | None
) -> None:
    column = {"decimal": "a:2", "text": "a"}.get(kind, f"a:{kind}")
    field = f"{{column: a{', ' + form if form else ''}}}"
    layout = f"{{delimited: ';', quote: never, line_end: lf, records: [{{record: R, fields: [{field}]}}]}}"

    if reason is not None:
        with pytest.raises(FileRefused, match=re.escape(reason)):
            shape(layout, columns_of(column), [[value]])
    else:
        assert shape(layout, columns_of(column), [[value]])[0].decode() == f"{written or ''}\n"


def test_the_whole_example_gives_the_files_of_the_page() -> None:
    layout = yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0])["layout"]
    files = [part.split("```")[0] for part in PAGE.split("```text\n")[1:]]

    written = shape(layout, columns_of("payee", "amount:2"), [["ANN", "1.50"], ["BOB", "2.00"], ["CY", "10.00"]])

    assert [data.decode() for data in written] == files


@pytest.mark.parametrize("model", [Layout, Record, RecordField, ShortForm])
def test_every_key_is_on_the_page_and_has_a_description(model: type[Layout | Record | RecordField | ShortForm]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name}"
        assert re.search(rf"[`{{( ]\"?{name}\"?[`:,}} )]", PAGE), f"{model.__name__}.{name}"
