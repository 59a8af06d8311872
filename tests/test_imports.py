"""Imports run one way, and each package keeps to what it may know."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

OURS = {"batches", "delivery", "encryption", "function_app", "infra", "local", "partners", "tests"}

# What a package may import of ours, and which libraries. A partner's host keys are checked by the package that uses them.
MAY_IMPORT = {
    "encryption": {"cryptography"},
    "delivery": {"cryptography", "paramiko", "holidays"},
    "partners": {"delivery", "pydantic", "yaml"},
    "batches": {"azure", "cryptography", "delivery", "encryption", "opentelemetry", "partners", "pydantic"},
    "function_app": {"azure", "batches", "encryption", "partners", "pydantic"},
}
EDGES = {"encryption/vault.py": {"azure", "cryptography"}}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_what_it_may(package: str, repository: Path):
    files = list((repository / package).rglob("*.py")) or [repository / f"{package}.py"]

    for path in files:
        allowed = EDGES.get(str(path.relative_to(repository)), MAY_IMPORT[package]) | {package}
        found = set(imports_of(path)) - set(sys.stdlib_module_names) - allowed
        assert not found, f"{path.relative_to(repository)} imports {', '.join(sorted(found))}"


def test_nothing_but_local_and_tests_imports_local(repository: Path):
    for package in OURS - {"local", "tests"}:
        for path in (repository / package).rglob("*.py"):
            assert not {"local", "tests"} & set(imports_of(path)), path


def test_what_is_deployed_asks_not_where_it_runs(repository: Path):
    for package in MAY_IMPORT:
        for path in list((repository / package).rglob("*.py")) or [repository / f"{package}.py"]:
            text = path.read_text().lower()
            assert "azurite" not in text, path
            assert "127.0.0.1" not in text, path
