"""What the README and docs/ say is so: verbs, links, settings, and the two commands at the top."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from cli.__main__ import VERBS, main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "partner_kit" / "README.md", *(ROOT / "docs").rglob("*.md")]
COMMAND = re.compile(r"(?:^|[`\s(])\./sealift ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)


def commands() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for page in PAGES:
        found |= {(verb, second or "") for verb, second in COMMAND.findall(page.read_text())}
    return found


def help_of(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    module, _, function = VERBS[verb][0].partition(":")
    try:
        code = getattr(importlib.import_module(module), function)(["--help"])
    except SystemExit as ended:
        code = ended.code
    assert code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_has_its_verb(page: Path) -> None:
    for verb, _ in COMMAND.findall(page.read_text()):
        assert verb in {*VERBS, "help"}, f"{page.name} names ./sealift {verb}"


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"test", "lint", "bench", "lock"}))
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(verb, capsys)

    assert f"sealift {verb}" in text
    for named, second in commands():
        if named == verb and second and f"{verb} {second}" not in ("run deliver", "trigger hourly"):
            assert second in text, f"a page names ./sealift {verb} {second}"


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0

    text = capsys.readouterr().out
    assert [verb for verb in VERBS if f"  {verb} " not in text] == []


def test_unknown_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deliver"]) == 2
    assert "hint: ./sealift help" in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_two_commands_stand_on_the_first_screen() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:28])

    assert "$ ./sealift demo" in first_screen
    assert "$ ./sealift test" in first_screen
    assert "docs/architecture.svg" in first_screen


def test_every_setting_that_the_app_reads_is_named() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    read: set[str] = set()
    for path in [ROOT / "function_app.py", *(ROOT / "batches").rglob("*.py")]:
        read |= set(re.findall(r'os\.environ(?:\.get\(|\[)"([A-Za-z_]+)"', path.read_text()))

    assert read
    assert {name for name in read if name.partition("__")[0] not in text} == set()


def test_the_recipe_for_func_start_makes_every_queue_of_the_app() -> None:
    queues = set(re.findall(r'queue_name="([a-z-]+)"', (ROOT / "function_app.py").read_text()))
    recipe = (
        (ROOT / "docs" / "settings.md").read_text().partition("make the containers")[2].partition("`func start`")[0]
    )

    assert queues <= set(re.findall(r"`([a-z-]+)`", recipe))
