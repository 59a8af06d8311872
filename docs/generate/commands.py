"""docs/commands.md: every verb of `./sealift` with its arguments, from the parsers that read them."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from cli.__main__ import AT_HOME, VERBS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "commands.md"

INTRODUCTION = """# Commands

Every verb of `./sealift`, from its own parser by `./sealift docs`; do not edit by hand. `./sealift help VERB` prints the same.
Exit codes: 0 done, 1 failed or something was found, 2 wrong usage, 130 stopped.
"""


def render() -> str:
    """Return the page."""
    return INTRODUCTION + "".join(_verb(verb, text) for verb, (_, text) in VERBS.items())


def _verb(verb: str, text: str) -> str:
    head = f"\n## {verb}\n\n"
    if verb in AT_HOME - {"docs"}:
        return head + f"{_sentence(text)}\n"
    parser = parser_of(verb)
    if parser is None:
        return head + f"{_sentence(text)}\n" + "".join(_inner(verb, name) for name in _named(text))
    return head + _described(parser) + "".join(_described(each, 3, text) for each, text in _inner_parsers(parser))


def parser_of(*words: str) -> argparse.ArgumentParser | None:
    """Return the parser that answers `--help` of a verb; None where the verb prints its help without one."""
    found: list[argparse.ArgumentParser] = []

    def take(parser: argparse.ArgumentParser, _file: object = None) -> None:
        found.append(parser)

    module, _, function = VERBS[words[0]][0].partition(":")
    main: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
    with patch.object(argparse.ArgumentParser, "print_help", take), patch("builtins.print"), suppress(SystemExit):
        main([*words[1:], "--help"])
    return found[0] if found else None


def _inner(verb: str, name: str) -> str:
    parser = parser_of(verb, name)
    return _described(parser, 3) if parser else ""


def _named(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.partition(":")[0]) if "|" in text.partition(":")[0] else []


def _arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return what the parser reads, without its help and its inner verbs; argparse has no public list of it."""
    others = (argparse._HelpAction, argparse._SubParsersAction)  # noqa: SLF001
    actions = parser._actions  # noqa: SLF001
    return [each for each in actions if not isinstance(each, others) and each.help != argparse.SUPPRESS]


def _inner_parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of what it reads
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for choice in action._choices_actions:  # noqa: SLF001
                yield action.choices[choice.dest], choice.help or ""


def _described(parser: argparse.ArgumentParser, level: int = 0, help_text: str = "") -> str:
    title = f"\n{'#' * level} {parser.prog.removeprefix('sealift ')}\n\n" if level else ""
    text = re.sub(r"\n(?!\n)\s*", " ", (parser.description or help_text).strip().split("\n\n")[0])
    rows = [
        f"| {_call(action)} | {_escape(' '.join(_help(action, parser).split()))} |\n" for action in _arguments(parser)
    ]
    table = "\n| argument | meaning |\n|---|---|\n" + "".join(rows) if rows else ""
    return f"{title}{_sentence(text)}\n{table}"


def _call(action: argparse.Action) -> str:
    value = action.metavar if action.metavar is not None else ("" if action.nargs == 0 else action.dest.upper())
    shown = " ".join(value) if isinstance(value, tuple) else value
    if action.choices and action.metavar is None and action.nargs != 0:
        shown = "|".join(map(str, action.choices))
    names = action.option_strings or [shown.lower() if action.metavar is None else shown]
    taken = f" {shown}" if action.option_strings and action.nargs != 0 and shown else ""
    return ", ".join(f"`{name}{taken}`" for name in names).replace("|", "\\|")


def _help(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    values = {**vars(action), "prog": parser.prog}
    return (action.help or "") % values


def _sentence(text: str) -> str:
    return text if not text or text[-1] in ".?!" else f"{text[0].upper()}{text[1:]}."


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
