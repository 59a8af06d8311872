"""`./sealift adf check | run | eval | cases`: lint or run any factory, evaluate an expression, run golden cases."""

from __future__ import annotations

import importlib
import sys

VERBS = {
    "check": ("cli.adf_check:check_main", "lint a factory: errors, what is not run here, advice"),
    "run": ("cli.adf_run:run_main", "run one pipeline of any factory folder"),
    "eval": ("cli.adf_cases:eval_main", "evaluate one expression"),
    "cases": ("cli.adf_cases:cases_main", "run a file of golden cases"),
}
USAGE = "usage: sealift adf VERB ...\n\n" + "".join(f"  {verb:<6} {text}\n" for verb, (_, text) in VERBS.items())


def main(argv: list[str]) -> int:
    """Run one verb: 0 all is well, 1 something is not, 2 wrong usage."""
    if argv and argv[0] in VERBS:
        module, _, function = VERBS[argv[0]][0].partition(":")
        code: int = getattr(importlib.import_module(module), function)(argv[1:])
        return code
    asked = argv[:1] in (["-h"], ["--help"])
    print(USAGE, end="", file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2
