from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ServiceRequestError, ServiceResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient, LinearRetry
from service_support import Become

from local.azurite import Azurite
from local.wire.certificates import CertificateAuthority
from local.wire.fault_proxy import FaultProxy
from local.wire.faults import Fault

QUICK: dict[str, Any] = {
    "retry_policy": LinearRetry(backoff=0, retry_total=2, random_jitter_range=0),
    "read_timeout": 3,
}


@pytest.fixture
def proxy(secure_azurite: Azurite, authority: CertificateAuthority) -> Iterator[FaultProxy]:
    with FaultProxy(secure_azurite.blob_url("sealiftraw").rpartition("/")[0], authority) as running:
        yield running


@pytest.fixture
def container(proxy: FaultProxy, secure_azurite: Azurite, become: Become) -> Iterator[ContainerClient]:
    url = proxy.before(secure_azurite.blob_url("sealiftraw"))
    with BlobServiceClient(url, become("function-app"), **QUICK) as service:
        container = service.get_container_client(f"proxied-{time.monotonic_ns()}")
        container.create_container()
        yield container


def test_requests_pass_unchanged(container: ContainerClient) -> None:
    content = bytes(range(256)) * 40_000
    container.upload_blob("folder/a b+\u00fc", content, metadata={"key": "value"}, max_concurrency=3)

    assert container.download_blob("folder/a b+\u00fc").readall() == content
    assert container.get_blob_client("folder/a b+\u00fc").get_blob_properties().metadata == {"key": "value"}
    assert [blob.name for blob in container.list_blobs()] == ["folder/a b+\u00fc"]


def test_account_key_goes_on_working(proxy: FaultProxy, secure_azurite: Azurite, become: Become) -> None:
    become("operator")
    key = {"account_name": "sealiftraw", "account_key": secure_azurite.accounts["sealiftraw"]}
    with BlobServiceClient(proxy.before(secure_azurite.blob_url("sealiftraw")), key) as service:
        list(service.list_containers())


@pytest.mark.parametrize("status", [500, 503])
def test_sdk_rides_out_a_busy_storage(container: ContainerClient, proxy: FaultProxy, status: int) -> None:
    proxy.faults.add(Fault(method="PUT", path="*/busy", status=status, times=2))
    container.upload_blob("busy", b"content")

    assert proxy.faults.injected == 2
    assert container.download_blob("busy").readall() == b"content"


def test_error_is_worded_as_storage_words_it(container: ContainerClient, proxy: FaultProxy) -> None:
    proxy.faults.add(Fault(path="*/busy", status=503, times=None))
    with pytest.raises(HttpResponseError) as failure:
        container.download_blob("busy")

    assert failure.value.status_code == 503
    assert "ErrorCode:ServerBusy" in str(failure.value)


def test_answer_can_be_lost_after_the_deed(container: ContainerClient, proxy: FaultProxy) -> None:
    proxy.faults.add(Fault(method="PUT", path="*/once", drop=True, after=True))
    # The SDK sends it again and storage says that it is there already: what every conditional commit must bear.
    with pytest.raises(ResourceExistsError):
        container.upload_blob("once", b"content", overwrite=False)

    assert container.download_blob("once").readall() == b"content"


def test_download_that_breaks_off_is_taken_up_again(container: ContainerClient, proxy: FaultProxy) -> None:
    content = bytes(1_000_000)
    container.upload_blob("long", content)
    proxy.faults.add(Fault(method="GET", path="*/long", cut_after_bytes=1000))

    assert container.download_blob("long").readall() == content
    assert proxy.faults.injected == 1


def test_answer_that_never_comes_ends_in_a_timeout(container: ContainerClient, proxy: FaultProxy) -> None:
    proxy.faults.add(Fault(path="*/slow", delay_seconds=30, times=None))
    started = time.monotonic()
    with pytest.raises((ServiceResponseError, ServiceRequestError)):
        container.get_blob_client("slow").get_blob_properties(timeout=1, read_timeout=0.3)

    assert time.monotonic() - started < 20


def test_some_requests_can_pass_first(container: ContainerClient, proxy: FaultProxy) -> None:
    proxy.faults.add(Fault(query="*comp=block&*", status=500, skip=1, times=1))
    block = container.get_blob_client("blocks")
    block.stage_block("MDE=", b"first")
    block.stage_block("MDI=", b"second")
    block.commit_block_list(["MDE=", "MDI="])  # type: ignore[list-item]  # the SDK takes plain ids too

    assert proxy.faults.injected == 1
