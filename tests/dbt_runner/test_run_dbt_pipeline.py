"""adf/pipeline/run_dbt.json, executed against the container-group stand-in and the real runner."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient
from dbt_site import ONE, ROOT, Site, end_queries, endless_queries, group_definition, make_endless, wait_for

from adf_runner import Factory, Overrides, PipelineRun, load_factory, run_pipeline
from local.container_groups.server import GROUP_ID, ContainerGroups
from local.wire.faults import Fault

Run = Callable[..., PipelineRun]


@pytest.fixture(scope="module")
def factory() -> Factory:
    return load_factory(ROOT / "adf")


@pytest.fixture
def run(site: Site, built: None, container: ContainerClient, groups: ContainerGroups, factory: Factory) -> Run:
    groups.put_group(group_definition(site), starts=False)

    def start(storage_url: str = "", **parameters: Any) -> PipelineRun:
        overrides = Overrides(
            global_parameters={
                "resourceManagerUrl": groups.url,
                "containerGroupId": GROUP_ID,
                "dbtStorageUrl": storage_url or site.azurite.blob_url("sealifthost"),
                "pollSeconds": 1,
            },
            credential=DefaultAzureCredential(),
            sleep=lambda seconds: time.sleep(min(seconds, 0.1)),
        )
        return run_pipeline(factory, "run_dbt", {"select": ONE} | parameters, overrides)

    return start


@pytest.fixture
def endless(site: Site, groups: ContainerGroups, project: Path, run: Run) -> Iterator[None]:
    """Let the container's dbt run for ever."""
    make_endless(project)
    groups.put_group(group_definition(site, DBT_PROJECT_DIR=str(project)), starts=False)
    yield
    groups.container().kill()
    end_queries(site)


def message(run: PipelineRun) -> str:
    return json.dumps([activity.error for activity in run.walk() if activity.error])


def assert_green(run: PipelineRun) -> None:
    assert run.status == "Succeeded", message(run)


def test_good_run_is_green_and_returns_the_totals(run: Run) -> None:
    ran = run(select="")

    assert_green(ran)
    assert ran.return_value["status"] == "success"
    assert "NORTHWIND" in ran.return_value["controlTotals"]


def test_red_dbt_is_a_red_run_with_dbts_message_and_the_log(run: Run, site: Site) -> None:
    site.execute("update loyalty.members set status = 'CANARY-STATUS' where member_id = 3")

    try:
        ran = run(select=f"{ONE}+1")
    finally:
        site.execute("update loyalty.members set status = 'active' where member_id = 3")

    assert ran.status == "Failed"
    assert "accepted_values_stg_loyalty__members_member_status__active__closed: 1 rows" in message(ran)
    assert "accepted_values" in ran.find("Read the log of the failed run").output["content"]
    assert "CANARY" not in json.dumps(ran.to_json())
    assert site.postgres.password not in json.dumps(ran.to_json())


def test_selector_that_matches_nothing_is_red(run: Run) -> None:
    ran = run(select='no_such_model "x')

    assert ran.status == "Failed"
    assert "no_such_model" in message(ran)


def test_state_of_the_run_before_is_not_taken_for_this_one(run: Run, groups: ContainerGroups) -> None:
    assert_green(run())
    groups.faults.stale_reads = 4  # the first look and three polls

    ran = run()

    assert_green(ran)
    assert groups.faults.stale_reads <= 0


def test_restart_after_a_failure_does_not_run_dbt_twice(
    run: Run, groups: ContainerGroups, container: ContainerClient
) -> None:
    groups.faults.restarts = 1

    ran = run(select="no_such_model")

    wait_for(lambda: not groups.container().is_alive)
    assert ran.status == "Failed"
    assert "no_such_model" in message(ran)
    assert groups.container().restart_count == 1
    assert len([blob for blob in container.list_blobs() if blob.name.endswith("claim.json")]) == 1


def test_group_in_transition_is_tried_again(run: Run, groups: ContainerGroups) -> None:
    groups.faults.busy_starts = 2

    assert_green(run())


def test_group_that_stays_in_transition_is_red(run: Run, groups: ContainerGroups) -> None:
    groups.faults.busy_starts = 100

    ran = run()

    assert ran.status == "Failed"
    assert "still transitioning" in message(ran)


def test_image_that_cannot_be_pulled_is_red_and_the_group_is_stopped(run: Run, groups: ContainerGroups) -> None:
    groups.faults.never_pulls = True

    ran = run(startSeconds=1)

    assert ran.status == "Failed"
    assert "did not start within 1 s" in message(ran)
    assert "Failed to pull image" in message(ran)
    assert groups.container().group_state == "Stopped"


def test_identity_that_comes_late_is_waited_for(run: Run, groups: ContainerGroups) -> None:
    groups.faults.identity_delay_seconds = 3

    assert_green(run())


def test_unknown_state_is_no_end(run: Run, groups: ContainerGroups) -> None:
    groups.faults.odd_state = "Node Pending"

    assert_green(run())


@pytest.mark.usefixtures("endless")
def test_killed_container_is_red_with_its_exit_code(run: Run, groups: ContainerGroups, site: Site) -> None:
    def kill() -> None:
        wait_for(lambda: endless_queries(site) == 1)
        groups.container().kill()

    threading.Thread(target=kill).start()

    ran = run()

    assert ran.status == "Failed"
    assert "left no verdict: the container ended with exit code 137 (Error)" in message(ran)


@pytest.mark.usefixtures("endless")
def test_deadline_is_red(run: Run) -> None:
    ran = run(deadlineSeconds=6)

    assert ran.status == "Failed"
    assert "deadline" in message(ran)


@pytest.mark.usefixtures("endless")
def test_second_run_at_once_is_refused_and_leaves_the_first_alone(
    run: Run, groups: ContainerGroups, site: Site
) -> None:
    first: list[PipelineRun] = []
    thread = threading.Thread(target=lambda: first.append(run()))
    thread.start()
    wait_for(lambda: endless_queries(site) == 1)

    second = run()

    assert second.status == "Failed"
    assert "the container group is Running" in message(second)
    assert endless_queries(site) == 1
    groups.container().stop()
    thread.join()
    assert "stopped by a signal" in message(first[0])


def test_a_session_that_only_asks_for_endless_queries_is_none(site: Site) -> None:
    """It is still listed for a moment after it was closed: the test above began its second run too early, and failed."""
    with psycopg.connect(site.dsn, autocommit=True) as asking:
        asking.execute("select count(*) from pg_stat_activity where query like '%pg_sleep(600)%'")

        assert endless_queries(site) == 0


def test_busy_group_can_be_waited_for(run: Run, groups: ContainerGroups, site: Site) -> None:
    groups.put_group(group_definition(site, ["python", "-c", "import time; print('up', flush=True); time.sleep(2)"]))
    wait_for(lambda: groups.container().state["state"] == "Running")

    ran = run(whenBusy="wait")

    # The other run's program took the place of dbt in this group, so there is no verdict; but it was started after it.
    assert "left no verdict" in message(ran)
    assert groups.container().previous is not None


def test_resource_manager_out_of_order_is_red(run: Run, groups: ContainerGroups) -> None:
    groups.web_faults.add(Fault(path="*/containerGroups/*", method="GET", status=500, skip=2, times=None))

    ran = run()

    assert ran.status == "Failed"
    assert "the container group cannot be read" in message(ran)


def test_passing_fault_of_the_resource_manager_is_survived(run: Run, groups: ContainerGroups) -> None:
    groups.web_faults.add(Fault(path="*/containerGroups/*", method="GET", status=503, skip=1, times=2))

    assert_green(run())


def test_storage_out_of_reach_is_red_before_anything_starts(run: Run, groups: ContainerGroups) -> None:
    ran = run(storage_url="https://127.0.0.1:1/sealifthost")

    assert ran.status == "Failed"
    assert groups.container().previous is None


def test_retry_of_a_good_run_has_nothing_to_do(run: Run) -> None:
    assert_green(run())

    ran = run(command="retry", select="")

    assert_green(ran)
    assert ran.return_value["message"] == "dbt: nothing of the earlier run is left to do"
