from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import picture

ROOT = Path(__file__).resolve().parents[2]

PAGES = ["architecture", "azure", "cost", "runbook", "scaling", "security-model", "roles"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("circle a 0 0 run: x", "neither title, box nor arrow"),
        ("box a 0 0 lake: x", "unknown kind 'lake'"),
        ("box a 0 0 run: " + "x" * 60, "wider than its box"),
        ("arrow a right -> b left: x", "there is no box 'a'"),
    ],
)
def test_a_line_that_cannot_be_drawn_is_named(line: str, message: str) -> None:
    with pytest.raises(picture.InvalidPicture, match=message) as caught:
        picture.draw(f"title: t\n{line}\n")

    assert "line 2" in str(caught.value)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()

    for target, anchor in re.findall(r"\]\(([\w./-]+)(?:#([\w-]+))?\)", text):
        assert (ROOT / "docs" / target).is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / target).read_text(), re.MULTILINE)
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}
    for path in re.findall(r"`((?:infra|adf|dbt_runner|batches|partners|docs)/[\w./-]+)`", text):
        assert (ROOT / path).exists() or Path(path).suffix == "", path


@pytest.mark.parametrize("page", PAGES)
def test_parameters_that_the_pages_name_exist(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    declared = set(re.findall(r"^param (\w+)", (ROOT / "infra" / "main.bicep").read_text(), re.MULTILINE))
    variables = set(re.findall(r"SEALIFT_\w+", (ROOT / "infra" / "main.parameters.json").read_text()))
    outputs = set(re.findall(r"^output (\w+)", (ROOT / "infra" / "main.bicep").read_text(), re.MULTILINE))

    assert set(re.findall(r"`(\w+)=\w+`", text)) <= declared | variables
    switches = {"SEALIFT_CONTRACT_TESTS"}  # read by the hooks themselves
    assert set(re.findall(r"SEALIFT_\w+", text)) <= variables | outputs | switches


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_the_pages_name_exist(page: str) -> None:
    from cli.__main__ import VERBS

    assert set(re.findall(r"\./sealift (\w+)", (ROOT / "docs" / f"{page}.md").read_text())) <= set(VERBS)
