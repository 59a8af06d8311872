"""The container's entry point as a process, against a real warehouse and real blob storage."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobLeaseClient, ContainerClient
from dbt_site import ONE, Runner, Site, edit, end_queries, endless_queries, make_endless, wait_for

from dbt_runner.invocation import STUCK_SECONDS

Ask = Callable[..., str]


def read(container: ContainerClient, name: str) -> Any:
    return json.loads(container.download_blob(name).readall())


def names(container: ContainerClient, prefix: str) -> set[str]:
    return {blob.name.removeprefix(prefix) for blob in container.list_blobs(name_starts_with=prefix)}


def test_good_run_leaves_verdict_artifacts_and_state(run_dbt: Runner, ask: Ask, container: ContainerClient) -> None:
    run_id = ask(docs=True, full_refresh=True)

    ran = run_dbt()

    assert ran.code == 0, ran.errors
    assert ran.summary["status"] == "success"
    assert ran.summary == read(container, f"runs/{run_id}/summary.json")
    assert ran.summary["rows"]["int_transactions_judged"] == 2000
    assert {total["partner"] for total in ran.summary["control_totals"]} == {"NORTHWIND", "CEDARWAY", "TIDEWATER"}
    assert names(container, f"runs/{run_id}/") == {
        *("claim.json", "summary.json", "manifest.json", "run_results.json", "partial_parse.msgpack", "catalog.json"),
        *("log.jsonl", "docs/index.html"),
    }
    assert read(container, "state/current.json") == {"run_id": run_id}
    assert read(container, f"runs/{run_id}/run_results.json")["metadata"]["env"] == {"RUN_ID": run_id}


def test_without_a_request_nothing_happens(run_dbt: Runner, container: ContainerClient) -> None:
    ran = run_dbt()

    assert (ran.code, ran.summary) == (0, {"status": "no request"})
    assert list(container.list_blobs()) == []


def test_second_start_of_a_run_repeats_its_verdict_and_does_no_work(run_dbt: Runner, ask: Ask, site: Site) -> None:
    ask(select=ONE)
    first = run_dbt()
    made = site.execute("select 'staging.stg_loyalty__members'::regclass::oid")

    second = run_dbt()

    assert second.summary == first.summary
    assert site.execute("select 'staging.stg_loyalty__members'::regclass::oid") == made


def test_newest_request_is_taken(run_dbt: Runner, ask: Ask) -> None:
    ask(select="no_such_model")
    # Storage reports times by the second.
    second = int(time.time())
    wait_for(lambda: int(time.time()) > second)
    newest = ask(select=ONE)

    assert run_dbt().summary["run_id"] == newest


def test_selector_that_matches_nothing_is_red(run_dbt: Runner, ask: Ask) -> None:
    ask(select=f"{ONE} stg_loyalty__membres")

    ran = run_dbt()

    assert (ran.code, ran.summary["status"]) == (2, "error")
    assert "stg_loyalty__membres" in ran.summary["message"]


def test_partial_success_does_not_become_the_state_to_compare_with(
    run_dbt: Runner, ask: Ask, container: ContainerClient
) -> None:
    run_id = ask(select=ONE)

    assert run_dbt().code == 0
    assert names(container, "state/") == {"last.json", "runs.json", "verdicts.json"}
    assert read(container, "state/last.json") == {"run_id": run_id}
    assert [(each["run_id"], each["status"]) for each in read(container, "state/runs.json")["runs"]] == [
        (run_id, "success")
    ]


def test_failing_data_test_is_red_with_a_count_and_no_row(run_dbt: Runner, ask: Ask, site: Site) -> None:
    site.execute("update loyalty.members set status = 'CANARY-STATUS' where member_id in (3, 4)")
    ask(select=f"{ONE}+1")

    try:
        ran = run_dbt()
    finally:
        site.execute("update loyalty.members set status = 'active' where member_id in (3, 4)")

    assert (ran.code, ran.summary["status"]) == (1, "failures")
    failed = ran.summary["failed"][0]
    assert failed["name"].startswith("accepted_values_stg_loyalty__members_member_status")
    assert failed["message"] == "1 rows"
    assert failed["name"] in ran.summary["message"]
    assert "CANARY" not in ran.output + ran.errors


@pytest.mark.parametrize(
    ("breaks", "status", "says"),
    [
        ("row in an error", "failures", "invalid input syntax for type integer"),
        ("row in a detail", "failures", "violates not-null constraint"),
        ("contract", "failures", "contract"),
        ("compile", "error", "no_such_model"),
    ],
)
def test_broken_project_is_red_and_quotes_no_row(
    breaks: str,
    status: str,
    says: str,
    run_dbt: Runner,
    ask: Ask,
    container: ContainerClient,
    project: Path,
    site: Site,
) -> None:
    members = project / "models" / "staging" / "stg_loyalty__members.sql"
    accruals = project / "models" / "marts" / "partner_daily_accruals.sql"
    select = "partner_daily_accruals"
    if breaks == "row in an error":
        edit(members, "    member_number,", "    member_number,\n    member_number::integer as number_value,")
        edit(accruals, "members.member_number,", "members.number_value::text as member_number,")
        select = "stg_loyalty__members partner_daily_accruals"
    elif breaks == "row in a detail":
        edit(accruals, "members.member_number,", "null::text as member_number,")
    elif breaks == "contract":
        edit(accruals, "qualifying_transactions.points", "qualifying_transactions.points::text as points")
    else:
        edit(accruals, "ref('stg_loyalty__members')", "ref('no_such_model')")
    run_id = ask(select=select)

    ran = run_dbt(DBT_PROJECT_DIR=str(project))

    assert (ran.summary["status"], ran.code) == (status, 1 if status == "failures" else 2)
    assert says in ran.summary["message"]
    number = site.execute("select member_number from loyalty.members where member_id = 1")[0][0]
    stored = [
        container.download_blob(blob.name).readall()
        for blob in container.list_blobs(name_starts_with=f"runs/{run_id}/")
    ]
    for text in [ran.output, ran.errors, *(blob.decode("utf-8", "ignore") for blob in stored)]:
        assert "M0001" not in text
        assert number not in text
        assert site.postgres.password not in text


def test_warehouse_out_of_reach_is_an_error_without_secrets(run_dbt: Runner, ask: Ask, site: Site) -> None:
    ask(select=ONE)

    ran = run_dbt(PGPORT="1")

    assert (ran.code, ran.summary["status"]) == (2, "error")
    assert "Connection refused" in ran.summary["message"]
    assert site.postgres.password not in ran.output


def test_docs_without_a_warehouse_leave_a_verdict(run_dbt: Runner, ask: Ask, container: ContainerClient) -> None:
    run_id = ask(command="docs")

    ran = run_dbt(PGPORT="1")

    assert (ran.code, ran.summary["status"]) == (2, "error")
    assert read(container, f"runs/{run_id}/summary.json") == ran.summary


def test_storage_out_of_reach_ends_with_its_own_code(run_dbt: Runner) -> None:
    ran = run_dbt(ARTIFACTS_URL="https://127.0.0.1:1/sealifthost/dbt")

    assert ran.code == 3
    assert ran.summary["status"] == "infrastructure"


def test_request_that_is_no_request_is_refused(run_dbt: Runner, container: ContainerClient) -> None:
    container.upload_blob("requests/odd.json", json.dumps({"run_id": "odd", "select": "--profiles-dir /etc"}))

    ran = run_dbt()

    assert (ran.code, ran.summary["status"]) == (2, "error")
    assert "select" in read(container, "runs/odd/summary.json")["message"]


def test_recorded_mode_ends_with_zero_once_the_verdict_is_stored(run_dbt: Runner, ask: Ask) -> None:
    ask(select="no_such_model")

    ran = run_dbt(EXIT_MODE="recorded")

    assert (ran.code, ran.summary["status"]) == (0, "error")


def test_modified_builds_only_what_differs(
    run_dbt: Runner, ask: Ask, container: ContainerClient, project: Path
) -> None:
    ask()
    assert run_dbt(DBT_PROJECT_DIR=str(project)).code == 0
    nothing = ask(mode="modified")
    unchanged = run_dbt(DBT_PROJECT_DIR=str(project))
    ask(mode="modified", select="no_such_model")
    misspelt = run_dbt(DBT_PROJECT_DIR=str(project))
    edit(project / "models" / "marts" / "partner_batch_totals.sql", "count(*)", "count(1)")
    ask(mode="modified")

    changed = run_dbt(DBT_PROJECT_DIR=str(project))

    assert (unchanged.summary["run_id"], unchanged.summary["status"]) == (nothing, "success")
    assert unchanged.summary["counts"] == {}
    assert (misspelt.code, misspelt.summary["status"]) == (2, "error")
    assert changed.summary["status"] == "success"
    assert set(changed.summary["rows"]) == {"partner_batch_totals"}
    assert read(container, "state/current.json") == {"run_id": changed.summary["run_id"]}


def test_retry_runs_what_failed_and_what_was_skipped(run_dbt: Runner, ask: Ask, project: Path) -> None:
    accruals = project / "models" / "marts" / "partner_daily_accruals.sql"
    edit(accruals, "inner join merchants", "inner join marts.no_such_table on true inner join merchants")
    ask()
    broken = run_dbt(DBT_PROJECT_DIR=str(project))
    edit(accruals, "inner join marts.no_such_table on true inner join merchants", "inner join merchants")
    ask(command="retry")

    ran = run_dbt(DBT_PROJECT_DIR=str(project))

    assert broken.summary["status"] == "failures"
    assert ran.summary["status"] == "success"
    assert ran.summary["state_from"] == broken.summary["run_id"]
    assert set(ran.summary["rows"]) == {"partner_daily_accruals", "partner_batch_totals"}


def test_retry_does_not_pass_over_a_last_run_that_left_no_results(
    run_dbt: Runner, ask: Ask, container: ContainerClient
) -> None:
    ask(select=ONE)
    assert run_dbt().code == 0
    ask(select=ONE)
    assert run_dbt(PGPORT="1").code == 2
    ask(command="retry")

    ran = run_dbt()

    assert (ran.code, ran.summary["status"]) == (2, "error")
    assert "no earlier run with results" in ran.summary["message"]


@pytest.mark.parametrize("status", ["deadline", "cancelled", "interrupted", "error"])
def test_retry_of_a_run_that_was_stopped_is_refused(
    run_dbt: Runner, ask: Ask, container: ContainerClient, status: str
) -> None:
    for name, content in (("manifest.json", {}), ("run_results.json", {}), ("summary.json", {"status": status})):
        container.upload_blob(f"runs/stopped/{name}", json.dumps(content))
    container.upload_blob("state/last.json", json.dumps({"run_id": "stopped"}), overwrite=True)
    ask(command="retry")

    ran = run_dbt()

    assert (ran.code, ran.summary["status"]) == (2, "error")
    assert "build again" in ran.summary["message"]


def test_retry_without_an_earlier_run_is_red(run_dbt: Runner, ask: Ask) -> None:
    ask(command="retry")

    ran = run_dbt()

    assert (ran.code, ran.summary["status"]) == (2, "error")
    assert "no earlier run" in ran.summary["message"]


@pytest.fixture
def old_sources(site: Site) -> Iterator[None]:
    site.execute("update loyalty.transactions set loaded_at = loaded_at - interval '30 days'")
    yield
    site.execute("update loyalty.transactions set loaded_at = loaded_at + interval '30 days'")


@pytest.mark.usefixtures("old_sources")
def test_old_sources_stop_the_build(run_dbt: Runner, ask: Ask, container: ContainerClient) -> None:
    run_id = ask(freshness=True, select=ONE)

    ran = run_dbt()

    assert (ran.code, ran.summary["status"]) == (1, "stale")
    assert ran.summary["freshness"] == {"loyalty.transactions": "error"}
    assert ran.summary["counts"] == {}
    assert "sources.json" in names(container, f"runs/{run_id}/")


def test_freshness_of_no_source_is_red(run_dbt: Runner, ask: Ask) -> None:
    ask(command="freshness", select="source:no_such")

    ran = run_dbt()

    assert (ran.code, ran.summary["status"]) == (2, "error")
    assert "nothing was selected" in ran.summary["message"]


def test_an_age_that_cannot_be_read_is_an_error_and_no_old_source(run_dbt: Runner, ask: Ask, project: Path) -> None:
    sources = project / "models" / "staging" / "loyalty__sources.yml"
    edit(sources, "loaded_at_field: loaded_at", 'loaded_at_field: "(transaction_id::timestamptz)"')
    ask(command="freshness")

    ran = run_dbt(DBT_PROJECT_DIR=str(project))

    assert (ran.code, ran.summary["status"]) == (2, "error")
    assert "could not be read" in ran.summary["message"]


@pytest.fixture
def fresh_sources(site: Site) -> Iterator[None]:
    site.execute("update loyalty.transactions set loaded_at = now() where transaction_id = 'T00000000001'")
    yield
    site.execute("update loyalty.transactions set loaded_at = transaction_at where transaction_id = 'T00000000001'")


@pytest.mark.usefixtures("fresh_sources")
def test_fresh_sources_let_it_pass(run_dbt: Runner, ask: Ask) -> None:
    ask(freshness=True, select=ONE)

    ran = run_dbt()

    assert ran.summary["status"] == "success"
    assert ran.summary["freshness"] == {"loyalty.transactions": "pass"}


def test_sigterm_cancels_the_query_and_leaves_a_verdict_within_five_seconds(
    run_dbt: Runner, ask: Ask, site: Site, container: ContainerClient, project: Path
) -> None:
    make_endless(project)
    run_id = ask(select="stg_loyalty__members")
    process = run_dbt.popen(DBT_PROJECT_DIR=str(project))
    wait_for(lambda: endless_queries(site) == 1)

    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)

    took = time.monotonic() - began
    assert took < 5
    assert process.returncode == 3
    assert json.loads(output.splitlines()[-1])["status"] == "cancelled"
    assert read(container, f"runs/{run_id}/summary.json")["status"] == "cancelled"
    if took < STUCK_SECONDS:  # a machine so busy that dbt is given up leaves no results of it
        assert "run_results.json" in names(container, f"runs/{run_id}/")
    assert endless_queries(site) == 0


def test_warehouse_that_never_answers_does_not_hold_up_the_end(
    run_dbt: Runner, ask: Ask, container: ContainerClient
) -> None:
    run_id = ask(select=ONE)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = run_dbt.popen(PGPORT=str(silent.getsockname()[1]))
        connection, _ = silent.accept()
        with connection:
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
            took = time.monotonic() - began

    assert took < 5
    assert process.returncode == 3
    assert read(container, f"runs/{run_id}/summary.json")["status"] == "cancelled"


def test_container_that_still_waits_for_its_identity_can_be_stopped(run_dbt: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = run_dbt.popen(IDENTITY_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}/msi/token")
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)

    assert process.returncode == 3


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lets a signal be sent to one thread")
def test_signal_that_does_not_wake_the_wait_ends_it_too(run_dbt: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = run_dbt.popen(IDENTITY_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}/msi/token")
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)  # now the main thread waits for an answer
            time.sleep(0.2)
            others = [
                int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir() if int(task.name) != process.pid
            ]
            # Taken by another thread, as one that comes just before the wait begins: the system call goes on.
            assert ctypes.CDLL(None).tgkill(process.pid, others[0], signal.SIGTERM) == 0
            process.communicate(timeout=10)

    assert process.returncode == 3


def test_deadline_ends_the_run(run_dbt: Runner, ask: Ask, site: Site, project: Path) -> None:
    make_endless(project)
    ask(select="stg_loyalty__members", deadline_seconds=8)

    ran = run_dbt(DBT_PROJECT_DIR=str(project))

    assert (ran.code, ran.summary["status"]) == (3, "deadline")
    assert "deadline" in ran.summary["message"]
    assert endless_queries(site) == 0


def test_two_starts_at_once_work_once(run_dbt: Runner, ask: Ask, site: Site, project: Path) -> None:
    make_endless(project)
    ask(select="stg_loyalty__members")
    first = run_dbt.popen(DBT_PROJECT_DIR=str(project))
    wait_for(lambda: endless_queries(site) == 1)
    second = run_dbt.popen(DBT_PROJECT_DIR=str(project))

    first.send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=60)[0].splitlines()[-1] for process in (first, second)]

    assert json.loads(outputs[0]) == json.loads(outputs[1])
    assert json.loads(outputs[0])["status"] == "cancelled"


def test_container_that_died_is_recorded_as_interrupted_when_it_starts_again(
    run_dbt: Runner, ask: Ask, site: Site, container: ContainerClient, project: Path
) -> None:
    make_endless(project)
    run_id = ask(select="stg_loyalty__members")
    process = run_dbt.popen(DBT_PROJECT_DIR=str(project))
    wait_for(lambda: endless_queries(site) == 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    break_lease(container, f"runs/{run_id}/claim.json")

    ran = run_dbt()

    assert (ran.code, ran.summary["status"]) == (3, "interrupted")
    assert read(container, f"runs/{run_id}/summary.json")["status"] == "interrupted"
    end_queries(site)


def break_lease(container: ContainerClient, name: str) -> None:
    """Stand for the minute after which a lease that nobody renews ends by itself."""
    BlobLeaseClient(container.get_blob_client(name)).break_lease(0)
