"""The contract and a night on the engine that runs the app in Azure: Microsoft's runtime package in the place of our worker."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.wire.processes import ROOT

RUNTIME = "azure_functions_runtime"
FOLDER = ROOT / ".venv-functions-runtime"


@pytest.fixture
def engine() -> dict[str, str]:
    """Return the settings that make the host's workers Microsoft's."""
    if importlib.util.find_spec(RUNTIME) is not None:
        return {"SEALIFT_TEST_ENGINE": "microsoft", "SEALIFT_TEST_PACKAGES": ""}
    if (FOLDER / RUNTIME).is_dir():
        return {"SEALIFT_TEST_ENGINE": "microsoft", "SEALIFT_TEST_PACKAGES": str(FOLDER)}
    pytest.skip(f"{RUNTIME} is not installed; test_function_differential.py says how to get it")


@pytest.mark.parametrize(
    "tests",
    ["tests/contract", "tests/e2e/test_main_job.py tests/e2e/test_function_route.py", "tests/batches/test_openapi.py"],
    ids=["contract", "night", "document"],
)
def test_app_keeps_its_promises_on_the_runtime_of_azure(engine: dict[str, str], tests: str, tmp_path: Path) -> None:
    mark = tmp_path / "loaded"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *tests.split()],
        cwd=ROOT,
        env={**os.environ, **engine, "SEALIFT_TEST_MARK": str(mark)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
    assert mark.exists(), "the app was loaded by Microsoft's runtime"
