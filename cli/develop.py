"""The developer's verbs: test, lint, bench, lock. Each runs the well-known tool with the project's own settings."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TYPED = [
    "function_app.py",
    "fault.py",
    "batches",
    "encryption",
    "partners",
    "delivery",
    "monitor",
    "adf_runner",
    "local",
    "cli",
    "infra",
    "dbt_runner",
    "docs/generate",
]
BENCHES = {name: f"benchmarks.{name}" for name in ("seal", "shape", "adf", "blob", "sftp", "dbt", "monitor", "night")}


def test_main(argv: list[str]) -> int:
    """Run the tests, in one process more than the machine has cores (many wait) unless -n says otherwise."""
    arguments = [argument for argument in argv if argument != "--slow"]
    if not any(argument.startswith("-n") for argument in arguments):
        arguments = [
            "-n",
            str(min((os.cpu_count() or 2) + 1, 8)),
            "--dist",
            "loadfile",
            "--no-loadscope-reorder",
            *arguments,
        ]
    if "--slow" not in argv and not any(argument.startswith("-m") for argument in arguments):
        arguments = ["-m", "not slow", *arguments]
    return _run([sys.executable, "-m", "pytest", *arguments])


def lint_main(argv: list[str]) -> int:
    """Run ruff, mypy, shellcheck and the pipeline lint; --fix corrects what ruff can correct."""
    fix = ["--fix"] if "--fix" in argv else []
    typed = [path for path in TYPED if (ROOT / path).exists()]
    commands = [
        [sys.executable, "-m", "ruff", "check", *fix, "."],
        [sys.executable, "-m", "ruff", "format", *([] if fix else ["--check"]), "."],
        [sys.executable, "-m", "mypy", *typed],
        [str(Path(sys.executable).with_name("shellcheck")), "sealift", ".ci/run"],
        [sys.executable, "-m", "cli", "adf", "check", "--strict"],
    ]
    return max([_run(command) for command in commands])


def bench_main(argv: list[str]) -> int:
    """Run one benchmark; each prints ratios against peers of the same run."""
    if not argv or argv[0] not in BENCHES:
        print(f"usage: ./sealift bench {'|'.join(BENCHES)} ...", file=sys.stderr)
        return 2
    code: int = importlib.import_module(BENCHES[argv[0]]).main(argv[1:])
    return code


LOCKS = (
    "requirements",
    "requirements-dev",
    "requirements-node",
    "requirements-sqlserver",
    "requirements-docs",
    "dbt_runner/requirements",
    ".github/requirements-linters",
)


def lock_main(argv: list[str]) -> int:  # noqa: ARG001 - every verb takes its arguments
    """Compile every requirements list from its .in file, for all supported Pythons at once."""
    environment = os.environ | {"UV_CUSTOM_COMPILE_COMMAND": "./sealift lock"}
    options = [
        "--universal",
        "--generate-hashes",
        "--python-version",
        "3.11",
        "--no-emit-index-url",
        "--no-strip-extras",
    ]
    for name in LOCKS:
        command = ["uv", "pip", "compile", *options, "--no-emit-find-links", "-q", f"{name}.in", "-o", f"{name}.txt"]
        try:
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
        except FileNotFoundError:
            print("error: uv was not found\nhint: pip install uv, then ./sealift lock", file=sys.stderr)
            return 1
        except subprocess.CalledProcessError as error:
            return error.returncode
    return 0


def _run(command: list[str]) -> int:
    return subprocess.run(command, cwd=ROOT, check=False).returncode
