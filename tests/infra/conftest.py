from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from infra_fakes import FACTORY_ID, FakeFactory
from infra_templates import (
    CHECKER,
    SETS,
    Bodies,
    Template,
    evaluate,
    golden,
    golden_is_of_these_files,
    templates_of,
)

from infra.deploy.arm import Factory
from local.key_vault.identity import IdentityEndpoint
from local.wire.certificates import CertificateAuthority

FILES: dict[str, dict[str, Any]] = {
    "linkedService/vault": {"type": "AzureKeyVault", "typeProperties": {"baseUrl": "https://placeholder/"}},
    "linkedService/storage": {"type": "AzureBlobStorage", "typeProperties": {"serviceEndpoint": "https://x/"}},
    "dataset/files": {
        "type": "Binary",
        "linkedServiceName": {"referenceName": "storage", "type": "LinkedServiceReference"},
        "annotations": [],
    },
    "pipeline/inner": {
        "activities": [
            {
                "name": "Copy it",
                "type": "Copy",
                "policy": {"retry": 1},
                "inputs": [{"referenceName": "files", "type": "DatasetReference"}],
            },
            {"name": "Pause", "type": "Wait", "typeProperties": {"waitTimeInSeconds": 5}},
        ]
    },
    "pipeline/outer": {
        "activities": [
            {
                "name": "Call",
                "type": "ExecutePipeline",
                "typeProperties": {"pipeline": {"referenceName": "inner", "type": "PipelineReference"}},
            }
        ]
    },
    "trigger/daily": {
        "type": "ScheduleTrigger",
        "runtimeState": "Stopped",
        "pipelines": [{"pipelineReference": {"referenceName": "outer", "type": "PipelineReference"}}],
        "typeProperties": {"recurrence": {"frequency": "Day", "interval": 1}},
    },
}


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def arm(ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFactory]:
    """An empty factory, and an environment in which DefaultAzureCredential and TLS lead to it."""
    with IdentityEndpoint() as identity:
        factory = FakeFactory(ca=ca, identity=identity)
        with factory.server:
            for name, value in (ca.environment | identity.environment("operator")).items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("AZURE_RESOURCE_MANAGER_URL", factory.url)
            monkeypatch.setenv("SEALIFT_FACTORY_ID", FACTORY_ID)
            yield factory


@pytest.fixture
def live(arm: FakeFactory) -> Iterator[Factory]:
    from azure.identity import DefaultAzureCredential

    with Factory(FACTORY_ID, DefaultAzureCredential(), endpoint=arm.url, backoff_seconds=0) as factory:
        yield factory


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(**{"kind/name": properties}) makes an adf/ folder; None leaves a file of FILES out."""

    def make(changes: dict[str, Any] | None = None) -> Path:
        folder = tmp_path / "adf"
        for path, properties in (FILES | (changes or {})).items():
            if properties is not None:
                file = folder / f"{path}.json"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps({"name": file.stem, "properties": properties}))
        return folder

    return make


@pytest.fixture
def stage_file(tmp_path: Path) -> Callable[..., Path]:
    """stage_file(**fields) writes stages/test.json and returns its folder."""

    def make(**fields: Any) -> Path:
        folder = tmp_path / "stages"
        folder.mkdir(exist_ok=True)
        (folder / "test.json").write_text(json.dumps({"factory": "${SEALIFT_FACTORY_ID}", **fields}))
        return folder

    return make


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bodies, str]:
    """What the checker makes of infra/ as it is now; skips where the checker is not beside the repository."""
    if not CHECKER.is_dir():
        pytest.skip(
            "the template's checker (../shared/tools/bicep_check) is not here: the golden files are not compared"
        )
    return evaluate(tmp_path_factory.mktemp("templates"))


@pytest.fixture(scope="session")
def templates(request: pytest.FixtureRequest) -> dict[str, Template]:
    """The present template where it can be evaluated, else the golden one; never one of other files than those here."""
    if CHECKER.is_dir():
        bodies, _ = request.getfixturevalue("evaluated")
        return templates_of(bodies)
    if not golden_is_of_these_files():
        pytest.skip("infra/ was changed since tests/infra/golden was made, and what evaluates it is not here")
    return templates_of(golden())


@pytest.fixture(params=SETS)
def template(request: pytest.FixtureRequest, templates: dict[str, Template]) -> Template:
    """Each parameter set in turn."""
    return templates[request.param]
