"""Claims and pointers in blob storage when two processes want the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient
from dbt_site import Site

from dbt_runner.artifacts import Artifacts, StorageError
from dbt_runner.claims import _earlier as earlier
from dbt_runner.summary import EXIT_CODES

POINTER = "state/current.json"


@pytest.fixture
def artifacts(site: Site, container: ContainerClient) -> Iterator[Artifacts]:
    opened = Artifacts(site.artifacts_url)
    yield opened
    opened.release()


def test_run_is_claimed_once(artifacts: Artifacts, site: Site) -> None:
    other = Artifacts(site.artifacts_url)

    assert artifacts.claim("one", {})
    assert not other.claim("one", {})


def test_claim_is_taken_over_only_after_its_holder_let_go(artifacts: Artifacts, site: Site) -> None:
    other = Artifacts(site.artifacts_url)
    artifacts.claim("one", {})

    assert not other.take_over("one")
    artifacts.release()
    assert other.take_over("one")
    other.release()


def test_a_run_that_another_container_still_works_on_is_busy_and_not_done(
    artifacts: Artifacts, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbt_runner.claims.RESTART_WAIT_SECONDS", 0.0)
    artifacts.claim("one", {})

    verdict = earlier(Artifacts(site.artifacts_url), "one")

    assert verdict.status == "busy"
    assert EXIT_CODES[verdict.status] == 3


def test_pointer_that_another_run_has_moved_is_left_alone(artifacts: Artifacts, tmp_path: Path) -> None:
    assert artifacts.promote(POINTER, "first", None)
    restored = artifacts.restore(POINTER, [], tmp_path)
    assert restored is not None
    run_id, etag = restored

    assert artifacts.promote(POINTER, "second", etag)
    assert not artifacts.promote(POINTER, "third", etag)
    assert not artifacts.promote(POINTER, "fourth", None)

    assert run_id == "first"
    assert artifacts.read_json(POINTER) == {"run_id": "second"}


def test_pointer_to_artifacts_that_are_gone_restores_nothing(artifacts: Artifacts, tmp_path: Path) -> None:
    artifacts.point(POINTER, "gone")

    run_id, etag = artifacts.restore(POINTER, ["manifest.json"], tmp_path) or ("", "")

    assert run_id is None
    assert artifacts.promote(POINTER, "next", etag)


def test_request_that_nobody_waits_for_any_more_is_not_taken(artifacts: Artifacts) -> None:
    artifacts.write_json("requests/one.json", {})

    assert artifacts.newest_request(timedelta(minutes=90)) == "one"
    assert artifacts.newest_request(timedelta(seconds=-1)) is None


def test_identity_that_never_comes_up_is_named(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "unknown")

    with pytest.raises(StorageError, match="no token for storage") as refused:
        Artifacts(artifacts.url).wait_for_identity(seconds=0)
    assert "AZURE_CLIENT_ID" in refused.value.hint
