"""The site of docs/: every page is in its navigation, and the examples of the how-to pages are what the program prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.__main__ import main
from docs.generate import site

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
HOW_TO = (DOCS / "take-on-a-partner.md").read_text("utf-8")


def pages_of(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(each)


def test_every_page_is_in_the_navigation_once() -> None:
    listed = list(pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    decisions = [page for page in pages if re.match(r"decisions/\d", page)]  # those are listed by their own README

    assert sorted(listed) == sorted([*(set(pages) - set(decisions)), *site.ALSO.values()]), "see nav in mkdocs.yml"


@pytest.mark.parametrize(
    ("source", "link", "there"),
    [
        ("docs/index.md", "[kit](../partner_kit/README.md)", "[kit](kit/README.md)"),
        ("docs/index.md", "[x](cost.md#a)", "[x](cost.md#a)"),
        ("partner_kit/README.md", "[x](OPENPGP.md)", "[x](OPENPGP.md)"),
        ("SECURITY.md", "[x](docs/FORMAT.md)", "[x](FORMAT.md)"),
        ("docs/index.md", "[files](../partners/examples)", "files"),
        ("docs/index.md", "[x](https://example.com)", "[x](https://example.com)"),
    ],
)
def test_a_link_leads_to_the_page_of_the_site(
    source: str, link: str, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)

    assert site.LINK.sub(lambda found: site.link_on_site(source, *found.groups()), link) == there


def test_a_link_to_code_leads_to_the_repository_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "acme/sealift")

    assert site.link_on_site("docs/index.md", "x", "../adf", "") == "[x](https://github.com/acme/sealift/tree/main/adf)"


def test_the_fixed_width_example_gives_the_file_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = yaml.safe_load(HOW_TO.split("```yaml\n")[1].split("```")[0])["layout"]
    shown = HOW_TO.split("```text\n")[1].split("```")[0].splitlines()
    partner = yaml.safe_load((ROOT / "partners" / "northwind.yaml").read_text())
    feed = partner["feeds"]["accruals"]
    del feed["control"]
    columns = ["transaction_id", "member_number", {"name": "amount", "type": "decimal", "scale": 2}]
    feed |= {"layout": layout, "columns": columns, "route": "function"}
    (tmp_path / "northwind.yaml").write_text(yaml.safe_dump(partner))

    assert main(["partner", "preview", str(tmp_path / "northwind.yaml"), "accruals", "--rows", "2"]) == 0

    printed = [line[12:].rstrip() for line in capsys.readouterr().out.splitlines()]
    dates = re.compile(r"^(H)\d{8}")  # the page was written on a day
    assert [dates.sub(r"\1", line.rstrip()) for line in shown] == [
        dates.sub(r"\1", line) for line in printed if re.match(r"[HDT]\S", line)
    ]


def test_the_preview_of_the_page_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = HOW_TO.split("partner preview lloyds")[1].split("\n", 1)[1].split("$ ./sealift")[0]

    assert main(["partner", "preview", "lloyds", "credits", "--rows", "2"]) == 0

    days = re.compile(r"\d{8}(?=[_,])|(?<=,)\d{8}(?=,)")
    printed = capsys.readouterr().out
    assert days.sub("", shown).split() == days.sub("", printed).split()
