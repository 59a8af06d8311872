"""Whatever a partner file holds, it is that partner's fault with file and line: no other partner loses a night to it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners import PartnerInvalid, load_partners
from partners.loading import FOLDER

GOOD = (FOLDER / "cedarway.yaml").read_text()
NORTHWIND = (FOLDER / "northwind.yaml").read_text()
ODD = ["2026-02-30", "!!int x", "{", "*x", "&x", ".inf", "1e999", "-0", "~", "!!set {a}", "0o8", "9" * 400, "\\ud800"]
PLACE = re.compile(r"partners/northwind\.yaml:[1-9][0-9]*: [ -~\xa0-\U0010ffff]+\Z")


def fault_of(folder: Path, content: bytes | str) -> str:
    """Read a folder of one good file and this one; return the fault of this one, after the other was returned."""
    (folder / "cedarway.yaml").write_text(GOOD)
    bad = folder / "northwind.yaml"
    bad.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return read(folder)


def read(folder: Path) -> str:
    faults: dict[str, PartnerInvalid] = {}
    good = load_partners(folder=folder, on_fault=faults.__setitem__)
    assert [partner.name for partner in good] == ["cedarway"]
    assert faults["northwind"].hint
    for line in str(faults["northwind"]).split("\n"):
        assert PLACE.match(line), line
        assert len(line) < 800
    return str(faults["northwind"])


def with_feed(line: str) -> str:
    """Northwind's file with one more line in its first feed, on line 22 or so."""
    head, tail = NORTHWIND.split("    title:", 1)
    return f"{head}    {line}\n    title:{tail}"


def with_file_name(pattern: str) -> str:
    return re.sub(r"file_name: .*", f'file_name: "{pattern}"', NORTHWIND, count=1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("since: 2026-02-30\n", ":1: this is not a value of type timestamp: day is out of range for month"),
        ("name: x\nport: !!int abc\n", ":2: this is not a value of type int: "),
        ("a: !!float x\n", ":1: this is not a value of type float"),
        ("a: !!bool maybe\n", ":1: this is not a value of type bool"),
        ("a: !!timestamp x\n", ":1: this is not a value of type timestamp"),
        ("a: !!binary é\n", ":1: "),
        ("a: !!python/object/apply:os.system [x]\n", ":1: could not determine a constructor"),
        ("\n\n" + "{a: " * 1500 + "1" + "}" * 1500, ":3: it is nested more than 32 deep"),
        ("[" * 100_000, ":1: it is nested more than 32 deep"),
        ("a: " + "9" * 5000, ":1: "),
        ("a: &x [*x]\n", ":1: "),
        ("<<: [1]\n", ":1: "),
        ("? [a]\n: 1\n", ":1: "),
        ("? {a: 1}\n: 1\n", ":1: "),
        ("name: a\nname: b\n", ":2: the key name is written twice"),
        ("name: [\n\n", ":3: "),
        ('name: "\\ud800"\n', ":1: "),
        (b"name: a\ntitle: \xff\n", ":2: this is not UTF-8"),
        (b"name: a\ntitle: \x00\n", ":2: the character 0 is not allowed"),
        ("", ":1: "),
        ("---\na: 1\n---\nb: 2\n", ":3: "),
        ("[]", ":1: "),
        ("null", ":1: "),
        ("x" * 300_000, ":1: the file has 262,145 bytes"),
        ("\n".join(f"k{n}: 1" for n in range(10_000)), "more faults"),
        ("\x1b[31m: 1", ":1: "),
        (with_file_name("NW_{sequence:0999999999d}.txt"), ": feeds.accruals.file_name: file_name"),
        (with_file_name("NW_{sequence}_{date:%999999999Y}.txt"), "file_name"),
        (with_file_name("NW_{sequence:{sequence}d}.txt"), "file_name"),
        (with_file_name("NW_{sequence!r}.txt"), "file_name"),
        (with_file_name("NW_{sequence"), "file_name"),
        (NORTHWIND.replace("closed: {2026-12-24", "closed: {0001-01-01"), ": feeds.accruals.holidays.closed"),
        (NORTHWIND.replace("since: 2026-11-21", "since: 9999-12-31"), ":39: feeds.accruals.expected.since"),
    ],
)
def test_any_content_is_one_partner_s_fault_with_its_line(tmp_path: Path, content: bytes | str, words: str) -> None:
    assert words in fault_of(tmp_path, content)


def test_a_date_that_no_calendar_has_is_named_with_its_line(tmp_path: Path) -> None:
    content = with_feed("since: 2026-02-30")

    line = content.split("2026-02-30")[0].count("\n") + 1
    assert f"partners/northwind.yaml:{line}: this is not a value of type timestamp" in fault_of(tmp_path, content)


def test_closed_days_without_an_end_are_refused_with_the_file(tmp_path: Path) -> None:
    """Else every deadline of every partner would end with the error of this calendar."""
    days = ", ".join(f"2026-{month:02d}-{day:02d}: x" for month in (4, 5, 6, 7) for day in range(1, 31))
    closed = f"closed: {{{days}, 2026-05-31: x}}"
    content = NORTHWIND.replace("closed: {2026-12-24: Christmas Eve}", closed)
    content = content.replace("days_after: 1", "when_closed: next")

    assert "no working day within two months of 2026-04-01" in fault_of(tmp_path, content)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nowhere")])
def test_what_is_no_file_is_a_fault_too(tmp_path: Path, make: object) -> None:
    (tmp_path / "cedarway.yaml").write_text(GOOD)
    make(tmp_path / "northwind.yaml")  # type: ignore[operator]

    assert "this is not a regular file" in read(tmp_path)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))))
def test_no_bytes_whatever_end_the_reading(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    fault_of(tmp_path_factory.mktemp("p"), content)


@given(st.data())
def test_no_damage_to_a_good_file_ends_the_reading(
    tmp_path_factory: pytest.TempPathFactory, drawn: st.DataObject
) -> None:
    lines = NORTHWIND.split("\n")
    at = drawn.draw(st.integers(0, len(lines) - 1))
    lines[at] = lines[at].split(":")[0] + ": " + drawn.draw(st.sampled_from(ODD))
    folder = tmp_path_factory.mktemp("p")
    (folder / "cedarway.yaml").write_text(GOOD)
    (folder / "northwind.yaml").write_text("\n".join(lines))
    faults: dict[str, PartnerInvalid] = {}

    names = [partner.name for partner in load_partners(folder=folder, on_fault=faults.__setitem__)]

    assert "cedarway" in names
    assert len(names) + len(faults) == 2
