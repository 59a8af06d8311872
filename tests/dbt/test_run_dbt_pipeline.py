"""adf/pipeline/run_dbt.json, executed against the container-group stand-in and the real runner."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient
from conftest import ROOT, Site, group_definition

from local.factory import Factory, Overrides, PipelineRun, run_pipeline
from local.services.container_groups import GROUP_ID, ContainerGroups

Pipeline = Callable[..., PipelineRun]


@pytest.fixture
def pipeline(site: Site, container: ContainerClient, groups: ContainerGroups) -> Pipeline:
    def run(definition: dict[str, Any] | None = None, **parameters: Any) -> PipelineRun:
        groups.put_group(definition or group_definition(site), starts=False)
        return run_again(**parameters)

    def run_again(**parameters: Any) -> PipelineRun:
        overrides = Overrides(
            global_parameters={
                "resourceManagerUrl": groups.url,
                "containerGroupId": GROUP_ID,
                "dbtStorageUrl": site.azurite.blob_url("sealifthost"),
                "pollSeconds": 1,
            },
            credential=DefaultAzureCredential(),
            sleep=lambda seconds: time.sleep(min(seconds, 0.1)),
        )
        return run_pipeline(Factory.load(ROOT / "adf"), "run_dbt", parameters, overrides)

    run.again = run_again  # type: ignore[attr-defined]
    return run


def test_good_run_is_green_and_returns_the_totals(pipeline: Pipeline) -> None:
    run = pipeline()

    assert run.status == "Succeeded", run.message
    assert run.return_value["status"] == "success"
    assert "NORTHWIND" in run.return_value["controlTotals"]
