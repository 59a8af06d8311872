"""Real services for the tests, each started once per test process; ports and folders are the system's choice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before anything of ours is imported: the tests have partners of their own, so that yours may be any.
os.environ["PARTNERS_FOLDER"] = str(Path(__file__).resolve().parent / "partner_files")

from local.azurite import Azurite
from local.key_vault.identity import IdentityEndpoint
from local.stack import Stack
from local.wire.certificates import CertificateAuthority

# A busy machine is slow, not wrong: no property test has a time limit of its own.
settings.register_profile("sealift", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sealift")


if os.environ.get("SEALIFT_TEST_ENGINE") == "microsoft":  # see tests/local/test_microsoft_engine.py
    from local.functions_host.host import FunctionHost

    ENGINE = Path(__file__).parent / "local" / "microsoft_worker.py"
    MARK, PACKAGES = os.environ["SEALIFT_TEST_MARK"], os.environ["SEALIFT_TEST_PACKAGES"]
    FunctionHost.worker_program = [sys.executable, str(ENGINE), MARK, PACKAGES]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose few tests take longest, so that no process is left alone with them at the end."""
    order = {"dbt_runner": 0, "e2e": 1, "delivery": 2, "batches": 3}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services that a developer left up with `demo --keep` are none of the tests' business."""
    monkeypatch.setattr("local.kept.KEPT", Path("/nowhere/kept.json"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def identity() -> Iterator[IdentityEndpoint]:
    with IdentityEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Storage over plain http with connection strings, as `func start` users have it."""
    with Azurite(tmp_path_factory.mktemp("azurite"), in_memory=True) as storage:
        yield storage


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The whole system, for tests that follow a batch from the warehouse to the partner."""
    before = dict(os.environ)
    with Stack() as running:
        yield running
    assert dict(os.environ) == before


@pytest.fixture
def repository() -> Path:
    return Path(__file__).resolve().parent.parent
