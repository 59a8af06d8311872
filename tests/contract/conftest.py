"""The app under contract: the one at BASE_URL, else our own on the local function host.

    BASE_URL=https://sealift-dev.azurewebsites.net KEY=... [RAW_STORAGE=<connection string or account URL>] pytest tests/contract

BASE_URL may also be a `func start --enableAuth`. With RAW_STORAGE the suite also stages a file and has it sealed: the batch
that it leaves behind is of the last century.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, ContainerClient
from contract_target import Target


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    with requests.Session() as session:
        if "BASE_URL" in os.environ:
            raw = _raw(os.environ.get("RAW_STORAGE"))
            yield Target(url=os.environ["BASE_URL"].rstrip("/"), key=os.environ["KEY"], raw=raw, session=session)
        else:
            stack = request.getfixturevalue("stack")
            yield Target(url=stack.function.url, key=stack.function_key, raw=stack.container("raw"), session=session)


def _raw(storage: str | None) -> ContainerClient | None:
    if not storage:
        return None
    if storage.startswith("https://"):
        return BlobServiceClient(storage, DefaultAzureCredential()).get_container_client("raw")
    return BlobServiceClient.from_connection_string(storage).get_container_client("raw")


@pytest.fixture(scope="module")
def window() -> dict[str, str]:
    """A window that no real run has: a random day of the last century, in winter, when London's midnight is UTC's."""
    day = datetime(random.randint(1973, 1999), 1, random.randint(1, 28), tzinfo=UTC)
    return {"windowStart": day.isoformat(), "windowEnd": (day + timedelta(days=1)).isoformat()}
