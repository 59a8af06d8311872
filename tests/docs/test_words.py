"""Words that a reader had to read twice must not come back: docs, comments, errors and tests say the common word."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GONE = {
    r"\bmend(s|ed|ing)?\b|_mend(s|ed)?\b": "fix",
    r"\bown opener\b.*\bwants\b": "your own opener",
    r"\bnothing to mend\b": "no action needed",
    r"\btell whether\b": "return whether",
    r"\bwhoever\b": "the caller, anyone who",
    r"\babove all\b": "especially",
    r"\ban own\b": "your own, our own",
    r"(?<!there )\bis no (key|date|name|number|time zone|file|column|table|YAML|certificate)\b": "is not a",
}
TEXT = {".py", ".md", ".yaml", ".yml", ".bicep", ".sh", ".mjs", ".java", ".json"}


def test_no_word_that_was_replaced_is_back() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    found = []
    for name in listed:
        path = ROOT / name
        if path.suffix not in TEXT or not path.is_file() or path == Path(__file__) or name.startswith("tests/vectors/"):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            found += [
                f"{name}:{number}: write '{good}'" for bad, good in GONE.items() if re.search(bad, line, re.IGNORECASE)
            ]

    assert found == []
