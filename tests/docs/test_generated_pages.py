"""`./sealift docs`: the generated pages are those that the code gives now, and a stale page is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from docs.generate.pages import PAGES, main


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_is_what_the_code_gives(page: Path) -> None:
    assert page.read_text("utf-8") == PAGES[page](), "run: ./sealift docs"


def test_a_stale_page_is_named_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("old")
    pages: dict[Path, Callable[[], str]] = {page: lambda: "new"}
    monkeypatch.setattr("docs.generate.pages.PAGES", pages)

    assert main(["--check"]) == 1

    assert page.read_text() == "old"
    assert "page.md is out of date" in capsys.readouterr().err
    assert main([]) == 0
    assert page.read_text() == "new"
    assert main(["--check"]) == 0
