"""`./sealift adf check | eval | cases`: lint adf/, evaluate an expression, run golden cases."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from adf_runner import read_factory
from adf_runner.errors import Finding
from adf_runner.lint.lint import findings

ADF = Path(__file__).resolve().parent.parent / "adf"
USAGE = """usage: sealift adf VERB ...

  check  lint the files of adf/ as strictly as Azure would, and beyond
  eval   evaluate one expression
  cases  run a file of golden cases
"""


def main(argv: list[str]) -> int:
    """Run one verb: 0 all is well, 1 something is not, 2 wrong usage."""
    if argv[:1] == ["check"]:
        return check_main(argv[1:])
    if argv[:1] == ["eval"]:
        from cli.adf_cases import eval_main

        return eval_main(argv[1:])
    if argv[:1] == ["cases"]:
        from cli.adf_cases import cases_main

        return cases_main(argv[1:])
    print(USAGE, end="", file=sys.stdout if argv[:1] in (["-h"], ["--help"]) else sys.stderr)
    return 0 if argv[:1] in (["-h"], ["--help"]) else 2


def check_main(argv: list[str]) -> int:
    """Print `file: path: message` for everything that is wrong; exit 1 when there is anything."""
    parser = argparse.ArgumentParser("sealift adf check", description="Lint the files of a Data Factory strictly.")
    parser.add_argument("folder", nargs="?", type=Path, default=ADF, help="the factory's folder (adf/)")
    folder: Path = parser.parse_args(argv).folder
    findings, files = check(folder)
    for finding in findings:
        print(finding)
    verdict = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}" if findings else "no action needed"
    print(f"{files} files checked: {verdict}", file=sys.stderr)
    return 1 if findings else 0


def check(folder: Path) -> tuple[list[Finding], int]:
    """Return every finding about a factory folder, and how many files it holds."""
    factory = read_factory(folder)
    return findings(factory), len(factory.documents)
