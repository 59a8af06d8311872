"""`./sealift VERB ...`: finds the verb's module and calls it. Modules are imported only when their verb is used."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from difflib import get_close_matches
from types import FrameType

from fault import Fault

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("cli.demo:main", "the main job, end to end, on real local services"),
    "test": ("cli.develop:test_main", "the tests (all arguments go to pytest; --slow adds the slow ones)"),
    "lint": ("cli.develop:lint_main", "the linters, the type checker and the pipeline checks"),
    "run": ("cli.run:main", "run a pipeline of adf/ on local services"),
    "batch": ("cli.batch:main", "list | show | resend | replay | verify | purge | reindex: the operator's verbs"),
    "feeds": ("cli.feeds:main", "how every feed stands and when it runs next; explain: why one is due or not"),
    "monitor": ("cli.monitor:main", "open the operators' page of a kept demo or of a deployed app"),
    "census": ("cli.census:main", "look for a canary, or for plaintext that is too old, wherever the product writes"),
    "trigger": ("cli.trigger:main", "list or run the windows of a trigger"),
    "adf": (
        "cli.adf:main",
        "check | run | eval | cases: lint or run any factory, evaluate an expression, run golden cases",
    ),
    "seal": ("cli.seal:seal_main", "seal a file for one or more certificates"),
    "open": ("cli.seal:open_main", "open a sealed file with a private key"),
    "inspect": ("cli.seal:inspect_main", "show a sealed file's header; needs no key"),
    "keys": (
        "cli.keys:main",
        "check | import | export: what a key file is, certificates into the vault, our OpenPGP key out",
    ),
    "partner": (
        "cli.partner:main",
        "new | lint | schema | preview | render | check | kit: what a partner receives and how",
    ),
    "dbt": ("cli.dbt:main", "run | runs | show | docs | image: dbt on demand"),
    "doctor": ("cli.doctor:main", "what is installed and set up, here or for a stage, and the one next command"),
    "azure": ("cli.azure:main", "setup | status: from an empty subscription to a stage that is ready, step by step"),
    "deploy": ("infra.deploy:main", "plan | apply | drift | secrets: bring adf/ to Azure"),
    "bench": (
        "cli.develop:bench_main",
        "seal | shape | adf | blob | sftp | dbt | monitor: speed as ratios against peers",
    ),
    "completion": ("cli.completion:main", "print a script that completes verbs and options in bash or zsh"),
    "docs": (
        "docs.generate.pages:main",
        "write the generated pages of docs/; docs serve | build: the site of these pages",
    ),
    "lock": ("cli.develop:lock_main", "compile the requirement lists anew (needs uv)"),
}

# The developer's verbs work on the repository; for all others a path is relative to where the user stands.
AT_HOME = frozenset({"test", "lint", "bench", "docs", "lock"})


def main(argv: list[str]) -> int:
    """Run one verb; return its exit code: 0 done, 1 failed, 2 wrong usage, 130 stopped."""
    signal.signal(signal.SIGTERM, _interrupt)
    logging.getLogger("azure.identity").setLevel(logging.ERROR)  # it lists every way to log in that did not work
    try:
        code = _call(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: the rest is for nobody
        return 1
    except Exception as error:
        told = _explain(error)
        if told is None:
            raise
        print("\n".join(told), file=sys.stderr)
        return 1
    return code


def _explain(error: Exception) -> list[str] | None:
    """Return the lines error, text with a caret where there is one, and hint; None for a defect of ours."""
    from adf_runner.errors import FactoryError
    from adf_runner.expressions import ExpressionError

    if isinstance(error, Fault | FactoryError):
        caret = [error.caret] if isinstance(error, ExpressionError) and error.caret else []
        return [f"error: {error}", *caret, f"hint: {error.hint or 'no action needed'}"]
    found = _explain_foreign(error)
    return found and [f"error: {found[0]}", f"hint: {found[1]}"]


def _explain_foreign(error: Exception) -> tuple[str, str] | None:
    """Return cause and action for what the operating system or Azure refused."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", "check the path and its permissions"
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError

    if isinstance(error, ClientAuthenticationError):
        return (
            "Azure does not know who you are",
            "log in with `az login`; on a laptop leave services up: ./sealift demo --keep",
        )
    if isinstance(error, HttpResponseError) and error.status_code in (401, 403, 404):
        return (
            f"Azure answered {error.status_code} {error.reason}",
            "is the address right, and has your identity the role?",
        )
    if isinstance(error, ServiceRequestError):
        return (
            f"the service cannot be reached: {str(error).rpartition(': ')[2]}",
            "is the address right, and the network up?",
        )
    return None


def _call(argv: list[str]) -> int:
    if argv and argv[0] == "help" and len(argv) > 1:
        argv = [argv[1], "--help"]
        if argv[0] in AT_HOME:  # its arguments are another program's
            print(f"./sealift {argv[0]}: {VERBS[argv[0]][1]}")
            return 0
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] not in VERBS:
        near = get_close_matches(argv[0], VERBS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        print(f"error: there is no verb {argv[0]!r}\nhint: {hint}./sealift help lists them", file=sys.stderr)
        return 2
    if argv[0] not in AT_HOME:
        os.chdir(os.environ.get("SEALIFT_CALLED_FROM", "."))
    module, _, function = VERBS[argv[0]][0].partition(":")
    code: int = getattr(importlib.import_module(module), function)(argv[1:])
    return code


def _usage() -> str:
    width = max(map(len, VERBS))
    return "usage: ./sealift VERB ...  (./sealift help VERB says more of one)\n\n" + "\n".join(
        f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items()
    )


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Let SIGTERM unwind as Ctrl-C does, so that every service stops."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
