"""A partner that a company adds works on its laptop as the examples do."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
import yaml

from cli.partner_lint import lint
from local.partner import expected_file
from local.stack import Stack

PARTNERS = Path(__file__).resolve().parent / "partner_files"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the examples, of which one has a second feed, and a partner of the company's own."""
    for path in PARTNERS.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    northwind = yaml.safe_load((tmp_path / "northwind.yaml").read_text())
    second = {
        **northwind["feeds"]["accruals"],
        "folder": "/second",
        "file_name": "SECOND_{date:%Y%m%d}_{sequence:06d}.txt",
    }
    northwind["feeds"]["second"] = second
    (tmp_path / "northwind.yaml").write_text(yaml.safe_dump(northwind))
    (tmp_path / "acme.yaml").write_text((PARTNERS / "northwind.yaml").read_text().replace("northwind", "acme"))
    return tmp_path


def test_every_feed_has_its_inbox_here(folder: Path) -> None:
    stack = Stack(partner_files=folder)
    try:
        assert sorted(stack.partners) == ["acme", "cedarway", "northwind", "tidewater"]
        assert stack.partners["northwind"].inbox_of("second").name == "second"
        assert stack.partners["northwind"].inbox_of("accruals") == stack.partners["northwind"].inbox
    finally:
        stack.close()


def test_only_the_demo_s_own_feeds_are_compared_with_the_mart() -> None:
    for feed in (("acme", "accruals"), ("northwind", "second")):
        assert expected_file("", *feed, date(2026, 11, 21)) is None


def test_lint_tells_the_faults_of_all_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(folder) == 0
    (folder / "acme.yaml").write_text("name: acme\n")
    (folder / "zeta.yaml").write_text("")

    assert lint(folder) == 1

    told = capsys.readouterr().out
    assert "x partners/acme.yaml:1: feeds: " in told
    assert "x partners/zeta.yaml:1: " in told
    assert "+ partners/northwind.yaml: 2 feed(s): accruals, second" in told


def test_lint_answers_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "zeta.yaml").write_text("name: zeta\n")

    assert lint(folder, as_json=True) == 1

    found = {each["file"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["partners/zeta.yaml"]["faults"]
    assert found["partners/northwind.yaml"]["faults"] == []
