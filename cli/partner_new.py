"""`./sealift partner new NAME`: a new partner's file, from answers or flags: server, key, what opens it, a table of the marts.

Nothing is trusted by itself: the server's host key is shown, and pinned when its fingerprint is given (--host-key) or a
person says that the partner read out the same. The file is written once, when all fits; an existing one is never touched.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from cli import console
from cli.console import CommandFailed
from cli.partner_tables import columns_of, tables_of
from cli.seal import read_file
from delivery.keys import HostKey
from encryption.doctor import diagnose
from encryption.openpgp import is_openpgp
from partners.errors import PartnerError
from partners.loading import FOLDER, read_partner

# What the partner opens files with -> the format that it opens by itself (docs/partners.md has the whole table).
OPENS = {"gpg": "openpgp", "windows": "smime", "openssl": "cms", "java": "cms", "kit": "native"}
NUMERIC = re.compile(r"(?:numeric|decimal)\((\d+),\s*(\d+)\)")
NAME = re.compile(r"[a-z][a-z0-9-]{1,30}")


class NotEnough(CommandFailed):
    """Something that only a person can answer is missing, and there is no terminal to ask at."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to know: its flag, what to ask, and what is taken when the answer is empty."""

    flag: str
    text: str
    default: str = ""
    choices: tuple[str, ...] = ()


QUESTIONS = (
    Question("title", "The partner's name, as people write it"),
    Question("zone", "Its time zone, such as Europe/London", "UTC"),
    Question("host", "Its SFTP server"),
    Question("port", "and port", "22"),
    Question("user", "The account that it gave us"),
    Question("folder", "The folder for our files", "/inbox"),
    Question("opens-with", "What does it open files with", "kit", tuple(OPENS)),
    Question("table", "Which table of the marts holds its rows", choices=tuple(tables_of())),
    Question("feed", "A short name for this kind of file", "daily"),
    Question("by", "Until when must a day's file be there, by its clock", "06:00"),
)


def add_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `new` with a flag for every question."""
    new = verbs.add_parser("new", help="write a new partner's file from answers, and say what is left to do")
    new.add_argument("name", metavar="NAME", help="of the file, such as northwind")
    for question in QUESTIONS:
        new.add_argument(f"--{question.flag}", choices=question.choices or None, metavar="VALUE", help=question.text)
    new.add_argument("--host-key", metavar="SHA256:...", help="the fingerprint that the partner read out by telephone")
    new.add_argument(
        "--certificate", type=Path, metavar="FILE", help="its certificate (PEM) or OpenPGP key, to look at"
    )
    new.add_argument("--columns", nargs="+", metavar="NAME", help="what may leave (default: every column of the table)")


def run(arguments: argparse.Namespace, folder: Path = FOLDER, ask: Callable[[str], str] | None = None) -> int:
    """Ask what the flags leave open, check it, write the file and print what it gives and what is left to do."""
    target = folder / f"{arguments.name}.yaml"
    if not NAME.fullmatch(arguments.name):
        raise CommandFailed(f"{arguments.name!r} is not a name for a partner", "small letters, digits and hyphens")
    if target.exists():
        raise CommandFailed(f"{target} exists", "edit it, or choose another name")
    ask = ask or (input if sys.stdin.isatty() else None)
    answers = {question.flag: answer(question, arguments, ask) for question in QUESTIONS}
    form = certificate(arguments.certificate) or OPENS[answers["opens-with"]]
    key = pinned(answers["host"], int(answers["port"]), arguments.host_key, ask)
    text = document(arguments.name, answers, form, key, arguments.columns or [])
    refuse_invalid(arguments.name, text)
    with target.open("x", encoding="utf-8") as file:
        file.write(text)
    console.say(f"\nwrote {target}")
    left(arguments.name, answers["feed"], form)
    return 0


def refuse_invalid(name: str, text: str) -> None:
    """Raise CommandFailed for a text that makes no valid partner file."""
    with TemporaryDirectory() as scratch:
        draft = Path(scratch) / f"{name}.yaml"
        draft.write_text(text, "utf-8")
        try:
            read_partner(draft)
        except PartnerError as error:
            raise CommandFailed(f"the answers make no valid file: {error}", error.hint) from error


def answer(question: Question, arguments: argparse.Namespace, ask: Callable[[str], str] | None) -> str:
    """Return a flag's value, else what a person answers, else the default. Raises NotEnough."""
    given = getattr(arguments, question.flag.replace("-", "_"))
    if given:
        return str(given)
    if ask is None:
        if question.default:
            return question.default
        raise NotEnough(f"--{question.flag} is missing", f"give it: {question.text.lower()}")
    shown = f" ({', '.join(question.choices)})" if question.choices else ""
    suggested = f" [{question.default}]" if question.default else ""
    while True:
        found = ask(f"{question.text}{shown}{suggested}: ").strip() or question.default
        if found and (not question.choices or found in question.choices):
            return found


def certificate(path: Path | None) -> str | None:
    """Look at a certificate and return the format that it decides: an OpenPGP key is for PGP files. Raises CommandFailed."""
    if path is None:
        return None
    found = diagnose(read_file(path), datetime.now(UTC))
    for name, value in found.facts:
        console.say(f"  {name}: {value}")
    if not found.is_usable:
        problem = next(each for each in found.problems if each.grave)
        raise CommandFailed(f"{path}: {problem.text}", problem.fix)
    console.say("  compare its fingerprint with the partner by telephone: who can swap it can read the files")
    return "openpgp" if found.pem and is_openpgp(found.pem) else None


def pinned(host: str, port: int, fingerprint: str | None, ask: Callable[[str], str] | None) -> HostKey:
    """Return the server's host key when a person has compared it. Raises CommandFailed."""
    from delivery.connection import shown_host_key  # loads paramiko, which other verbs do not need

    try:
        key = shown_host_key(host, port)
    except OSError as error:
        raise CommandFailed(
            f"{host}:{port} cannot be reached: {error.strerror or error}", "is the address right?"
        ) from error
    console.say(f"  {host} shows the {key.algorithm} key {key.sha256}")
    if fingerprint:
        if fingerprint.strip() != key.sha256:
            raise CommandFailed(
                f"the server shows the fingerprint {key.sha256}, not {fingerprint}",
                "ask the partner which is right; pin neither until then",
            )
        return key
    if ask is None:
        raise NotEnough(
            "the host key was not compared", f"when the partner reads out the same: --host-key {key.sha256}"
        )
    if ask("Did the partner read out the same by telephone? Then type yes: ").strip().lower() != "yes":
        raise CommandFailed("the host key was not compared", "ask the partner for its fingerprint, then run this again")
    return key


def document(name: str, answers: Mapping[str, str], form: str, key: HostKey, wanted: Sequence[str]) -> str:
    """Return the partner's file. Raises CommandFailed for columns that the table does not have, or that a file cannot hold."""
    types = columns_of(answers["table"])
    if unknown := [column for column in wanted if column not in types]:
        raise CommandFailed(f"{answers['table']} has no column {unknown[0]!r}", f"it has: {', '.join(types)}")
    dates = [column for column, kind in types.items() if kind == "date"]
    if not dates:
        raise CommandFailed(
            f"{answers['table']} has no date column", "a batch is a business date: add one to the model"
        )
    leaving = list(wanted) or [column for column in types if column not in ("partner_code", dates[0])]
    order = next((column for column in leaving if column.endswith("_id")), leaving[0])
    feed = {
        "title": f"{answers['title']}: {answers['feed']}",
        "table": answers["table"],
        **({"where": {"partner_code": name.upper()}} if "partner_code" in types else {}),
        "business_date": dates[0],
        "order_by": [order],
        "columns": [column_entry(column, types[column]) for column in leaving],
        "layout": {"delimiter": ",", "line_end": "lf", "header": True, "encoding": "utf-8"},
        "file_name": f"{name.upper().replace('-', '_')}_{{date:%Y%m%d}}_{{sequence:06d}}.csv",
        "folder": answers["folder"],
        "format": form,
        "route": "function",
        "expected": {
            "by": answers["by"],
            "days_after": 1,
            "since": datetime.now(UTC).date() - timedelta(days=1),
        },
    }
    partner = {
        "name": name,
        "title": answers["title"],
        "time_zone": answers["zone"],
        "certificate": f"{name}-certificate",
        "sftp": {
            "host": answers["host"],
            "port": int(answers["port"]),
            "user": answers["user"],
            "private_key": f"{name}-sftp-key",
            "host_keys": [key.line],
        },
        "feeds": {answers["feed"]: feed},
    }
    head = f"# {answers['title']}. Every key is described in docs/partners.md.\n"
    return head + yaml.safe_dump(partner, sort_keys=False, allow_unicode=True, width=130)


def column_entry(name: str, kind: str) -> str | dict[str, str | int]:
    """Return a column as the file names it, with the type that its SQL type means. Raises CommandFailed."""
    if kind in ("integer", "bigint", "smallint", "int", "int4", "int8"):
        return {"name": name, "type": "integer"}
    if found := NUMERIC.fullmatch(kind):
        return {"name": name, "type": "decimal", "scale": int(found[2])}
    if kind == "date":
        return {"name": name, "type": "date"}
    if kind in ("timestamptz", "timestamp with time zone"):
        return {"name": name, "type": "timestamp"}
    if kind in ("text", "varchar", "character varying", "char", "") or kind.startswith(("varchar(", "char(")):
        return name
    raise CommandFailed(
        f"column {name!r} is {kind}, which a file cannot hold exactly", "leave it out with --columns, or cast it"
    )


def left(name: str, feed: str, form: str) -> None:
    """Print what only people can do, in order."""
    key = "OpenPGP key" if form == "openpgp" else "certificate"
    steps = {
        f"./sealift partner preview {name} {feed}": "look at the file that it will get",
        "./sealift partner lint": "deadlines of the next 400 days, table and columns",
        "./sealift demo": "deliver to a server of this machine, with sample data",
        "./sealift deploy secrets": "write down which secrets it needs, then azd provision (docs/runbook.md: Onboard a partner)",
        f"./sealift keys import {name} FILE": f"its {key} into the vault",
        f"./sealift partner check {name}": "connect as production does",
        f"./sealift partner kit {name} --out kit": "what the partner receives",
    }
    width = max(map(len, steps))
    console.say("what is left:")
    for command, what in steps.items():
        console.say(f"  {command:<{width}}   {what}")
