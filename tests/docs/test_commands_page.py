"""docs/commands.md: every verb and every argument of `./sealift` is on it, each with a meaning."""

from __future__ import annotations

import re

from cli.__main__ import VERBS
from docs.generate.commands import parser_of, render


def test_every_verb_has_its_heading() -> None:
    assert re.findall(r"^## (\w+)$", render(), re.MULTILINE) == list(VERBS)


def test_every_argument_has_a_meaning() -> None:
    assert [line for line in render().splitlines() if re.search(r"\|\s*\|$", line)] == []


def test_a_verb_inside_a_verb_has_its_own_table() -> None:
    assert "### batch resend\n\nDeliver the same bytes again" in render()
    assert "### adf check\n" in render()


def test_a_verb_that_takes_its_arguments_elsewhere_has_no_parser() -> None:
    assert parser_of("adf") is None
    assert parser_of("demo") is not None
