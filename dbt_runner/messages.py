"""What an error message may say outside the warehouse.

PostgreSQL quotes rows and values in its messages ("Failing row contains (...)", "Key (email)=(...) already exists",
'invalid input syntax for type integer: "..."'). Summaries, logs and a pipeline's output leave the warehouse's circle, so
every message passes through here: the first paragraph only, nothing quoted but the names of database objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LIMIT = 500

# These lines, and what follows them, hold rows or the text of a statement.
_DETAIL = re.compile(r"^\s*(DETAIL|CONTEXT|HINT|QUERY|STATEMENT|LINE \d+):", re.MULTILINE)
# A word in double quotes is kept when it names an object; otherwise it is a value.
_QUOTED = re.compile(r'(?P<before>\w+|^|\W)(?P<space>\s+)?"(?P<text>[^"\n]*)"')
_NAMED = frozenset(
    [
        "at",
        "attribute",
        "column",
        "columns",
        "constraint",
        "cursor",
        "database",
        "extension",
        "field",
        "function",
        "host",
        "index",
        "near",
        "operator",
        "relation",
        "role",
        "schema",
        "sequence",
        "server",
        "table",
        "trigger",
        "type",
        "user",
        "view",
    ]
)
# After a colon comes a value, which may hold quotes and line ends of its own: all up to the last quote goes.
_VALUE_AFTER_COLON = re.compile(r'(?<=: )"(?:.*"|.*)', re.DOTALL)
_VALUE_IN_BRACKETS = re.compile(r"(Key|key) \([^)]*\)=\([^)]*\)|[Ff]ailing row contains \(.*\)")
_SPACES = re.compile(r"\s+")


def clean(text: str, secrets: Iterable[str] = (), limit: int = LIMIT) -> str:
    """Return the message as one line without values, rows, statements and secrets, at most `limit` characters long."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "*****")
    cut = _DETAIL.search(text)
    if cut:
        text = text[: cut.start()]
    text = _VALUE_IN_BRACKETS.sub("…", text)
    text = _VALUE_AFTER_COLON.sub('"…"', text)
    text = _QUOTED.sub(_keep_names, text)
    text = _SPACES.sub(" ", text).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _keep_names(found: re.Match[str]) -> str:
    is_name = found["before"].lower() in _NAMED
    return f'{found["before"]}{found["space"] or ""}"{found["text"] if is_name else "…"}"'
