"""Imports run one way between packages, never in a circle between modules, and each package keeps to its libraries.

Imports inside functions and under TYPE_CHECKING count like any other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEPLOYED = ("function_app", "monitor", "batches", "partners", "delivery", "encryption", "fault")

# What a package may import of ours. A package that is not named as a key may be imported by nobody but tests.
MAY_IMPORT: dict[str, set[str]] = {
    "fault": set(),
    "encryption": {"fault"},
    "delivery": {"fault"},
    "partners": {"delivery", "fault"},
    "batches": {"fault", "delivery", "encryption", "partners"},
    "monitor": {"batches", "encryption", "fault", "partners"},
    "function_app": {"batches", "encryption", "fault", "monitor", "partners"},
    "adf_runner": set(),
    "dbt_runner": set(),
    "infra": {"fault", "partners"},
    "local": {"fault", "adf_runner", "function_app", "infra", "partners"},
    "docs": {"fault", "adf_runner", "benchmarks", "cli", "function_app", "partners"},
    "benchmarks": {"adf_runner", "batches", "delivery", "encryption", "local", "monitor", "partners"},
    "cli": {
        "fault",
        "adf_runner",
        "batches",
        "benchmarks",
        "delivery",
        "encryption",
        "infra",
        "local",
        "monitor",
        "partners",
    },
}

# Which libraries a deployed package may import.
LIBRARIES: dict[str, set[str]] = {
    "fault": set(),
    "encryption": {"cryptography"},
    "delivery": {"cryptography", "paramiko"},
    "partners": {"holidays", "pydantic", "pydantic_core", "yaml"},
    "batches": {"azure", "cryptography", "opentelemetry", "pydantic", "pydantic_core"},
    "monitor": {"azure", "jinja2", "markupsafe", "pydantic"},
    "function_app": {"azure", "pydantic"},
}
EDGES = {"encryption.vault": {"azure", "cryptography"}}


def name_of(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def files_of(package: str) -> list[Path]:
    found = [path for path in (ROOT / package).rglob("*.py") if not {"node_modules", "project"} & set(path.parts)]
    return found or [ROOT / f"{package}.py"]


MODULES = {name_of(path): path for package in MAY_IMPORT for path in files_of(package)}


def imports_of(path: Path) -> Iterator[str]:
    """Yield every imported module by its full name; `from package import module` gives the module."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_the_packages_below_it(package: str) -> None:
    for path in files_of(package):
        ours = {name.partition(".")[0] for name in imports_of(path)} & (set(MAY_IMPORT) | {"tests"})
        assert ours <= MAY_IMPORT[package] | {package}, f"{path.relative_to(ROOT)} imports {sorted(ours)}"


def test_packages_stand_in_layers() -> None:
    assert list(TopologicalSorter(MAY_IMPORT).static_order())


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: set(imports_of(path)) & set(MODULES) - {name} for name, path in MODULES.items()}

    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))

    assert len(order) == len(MODULES)


def test_deployed_code_never_reaches_what_stays_at_home() -> None:
    reached, waiting = set(), ["function_app"]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += [name for name in imports_of(MODULES[module]) if name in MODULES]

    assert {name.partition(".")[0] for name in reached} <= set(DEPLOYED)


@pytest.mark.parametrize("package", DEPLOYED)
def test_deployed_package_imports_only_its_libraries(package: str) -> None:
    for path in files_of(package):
        allowed = EDGES.get(name_of(path), LIBRARIES[package]) | set(MAY_IMPORT) | set(sys.stdlib_module_names)
        found = {name.partition(".")[0] for name in imports_of(path)} - allowed
        assert not found, f"{path.relative_to(ROOT)} imports {', '.join(sorted(found))}"


def test_the_app_starts_without_what_only_some_invocations_need() -> None:
    code = "import sys, function_app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert "delivery" in loaded
    assert not loaded & {"paramiko", "invoke", "nacl", "jinja2", "monitor"}


@pytest.mark.parametrize("package", DEPLOYED)
def test_what_is_deployed_never_asks_where_it_runs(package: str) -> None:
    for path in files_of(package):
        text = path.read_text().lower()
        assert "azurite" not in text, path
        assert "127.0.0.1" not in text, path


def test_no_package_holds_more_than_a_third_of_the_product() -> None:
    lines = {package: sum(len(path.read_text().splitlines()) for path in files_of(package)) for package in MAY_IMPORT}

    assert max(lines.values()) <= sum(lines.values()) / 3, lines
