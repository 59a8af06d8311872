"""`./sealift adf check [FOLDER]`: what Azure would refuse, what is not run here, and advice; for people and for CI."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from adf_runner import read_factory
from adf_runner.errors import Finding
from adf_runner.lint.lint import findings
from cli import console

ADF = Path(__file__).resolve().parent.parent / "adf"
STYLES = {"error": "bold red", "not run": "yellow", "advice": "cyan"}
LEVELS = {"error": "error", "not run": "note", "advice": "warning"}  # of SARIF
COMMANDS = {"error": "error", "not run": "notice", "advice": "warning"}  # of a GitHub workflow


def check_main(argv: list[str]) -> int:
    """Print every finding; exit 1 when there is an error, with --strict when there is anything."""
    parser = argparse.ArgumentParser("sealift adf check", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ADF, help="the factory's folder (adf/)")
    parser.add_argument(
        "--strict", action="store_true", help="exit 1 for advice, and for what is not run here, as well"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the findings as JSON")
    form.add_argument("--github", action="store_true", help="print them as annotations of a GitHub workflow")
    form.add_argument("--sarif", type=Path, metavar="FILE", help="write them as SARIF 2.1.0 as well")
    arguments = parser.parse_args(argv)
    found, files = check(arguments.folder)
    if arguments.json:
        print(json.dumps([as_json(finding) for finding in found], indent=2))
    elif arguments.github:
        print("\n".join(as_command(finding) for finding in found))
    else:
        for finding in sorted(found, key=lambda item: list(STYLES).index(item.kind)):
            console.console.print(
                Text.assemble((f"{finding.kind:<8}", STYLES[finding.kind]), str(finding)), soft_wrap=True
            )
    if arguments.sarif:
        arguments.sarif.write_text(json.dumps(sarif(found), indent=2))
    print(f"{files} files checked: {verdict(found)}", file=sys.stderr)
    return int(bool(found) if arguments.strict else any(finding.kind == "error" for finding in found))


def check(folder: Path) -> tuple[list[Finding], int]:
    """Return every finding about a factory folder, and how many files it holds."""
    factory = read_factory(folder)
    return findings(factory), len(factory.documents)


def verdict(found: Sequence[Finding]) -> str:
    """Return the counts in words."""
    if not found:
        return "no action needed"
    counts = Counter(finding.kind for finding in found)
    errors = counts["error"]
    parts = [
        f"{errors} error{'' if errors == 1 else 's'}",
        f"{counts['not run']} not run here",
        f"{counts['advice']} advice",
    ]
    return ", ".join(part for part in parts if not part.startswith("0 "))


def as_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as an object of its four fields."""
    return {"kind": finding.kind, "file": finding.file, "path": finding.path, "message": finding.message}


def as_command(finding: Finding) -> str:
    """Return a finding as a workflow command; a text's own % and line ends are escaped as GitHub wants them."""
    text = ": ".join(part for part in (finding.path, finding.message) if part)
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{COMMANDS[finding.kind]} file={finding.file}::{escaped}"


def sarif(found: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as a SARIF 2.1.0 log; a place is a logical one, as JSON is not read with its lines."""
    results = [
        {
            "ruleId": finding.kind.replace(" ", "-"),
            "level": LEVELS[finding.kind],
            "message": {"text": ": ".join(part for part in (finding.path, finding.message) if part)},
            "locations": [
                {
                    "physicalLocation": {"artifactLocation": {"uri": finding.file}},
                    "logicalLocations": [{"fullyQualifiedName": finding.path}],
                }
            ],
        }
        for finding in found
    ]
    rules = [
        {"id": "error", "shortDescription": {"text": "Azure refuses it, or the run goes wrong"}},
        {"id": "not-run", "shortDescription": {"text": "Azure's, but not run by this runner"}},
        {"id": "advice", "shortDescription": {"text": "neither of both"}},
    ]
    return {
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{"tool": {"driver": {"name": "sealift adf check", "rules": rules}}, "results": results}],
    }
