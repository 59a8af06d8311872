"""The container image itself, where a container engine can run; elsewhere these tests are skipped and say why."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable

import pytest
from azure.storage.blob import ContainerClient
from dbt_site import ONE, ROOT, Site, group_definition, wait_for

from cli.dbt import image_command
from local.container_groups.container import Backend
from local.container_groups.server import ContainerGroups

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("built")]


@pytest.fixture(scope="module")
def engine() -> str:
    for name in ("podman", "docker"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True).returncode == 0:
            return name
    pytest.skip("no container engine runs here (podman or docker)")


def pinned_base() -> str:
    [found] = re.findall(r"^FROM (\S+) AS pinned$", (ROOT / "dbt_runner" / "Dockerfile").read_text(), re.MULTILINE)
    return str(found)


@pytest.fixture(scope="module")
def image(engine: str) -> str:
    """Build the image on the base that SEALIFT_BASE_IMAGE names, or on the default one if this machine has it.

    SEALIFT_BUILD_OPTIONS are further options, such as the volume with the settings of a package registry.
    """
    named = os.environ.get("SEALIFT_BASE_IMAGE")
    base = named or pinned_base()
    if subprocess.run([engine, "image", "inspect", base], capture_output=True).returncode:
        pytest.skip(f"the base image {base} is not on this machine; SEALIFT_BASE_IMAGE names another")
    command = image_command(engine, None, "sealift-dbt:test", named)
    command[2:2] = os.environ.get("SEALIFT_BUILD_OPTIONS", "").split()
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    return "sealift-dbt:test"


def test_image_runs_as_nobody_in_particular(engine: str, image: str) -> None:
    answer = subprocess.run([engine, "run", "--rm", "--entrypoint", "id", image, "-u"], capture_output=True, text=True)

    assert answer.stdout.strip() == "10001"


def test_image_has_no_pip(engine: str, image: str) -> None:
    answer = subprocess.run(
        [engine, "run", "--rm", "--entrypoint", "python", image, "-m", "pip"], capture_output=True, text=True
    )

    assert "No module named pip" in answer.stderr


def test_image_builds_with_a_read_only_root(engine: str, image: str, site: Site) -> None:
    settings = site.settings | site.secrets | {"REQUEST": json.dumps({"run_id": str(uuid.uuid4()), "select": ONE})}
    del settings["ARTIFACTS_URL"], settings["DBT_PROJECT_DIR"]
    options = [option for name in settings for option in ("--env", name)]

    ran = subprocess.run(
        [engine, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "host", *options, image],
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1])["status"] == "success"


def test_container_group_runs_the_image(
    engine: str, image: str, site: Site, container: ContainerClient, ask: Callable[..., str]
) -> None:
    run_id = ask(select=ONE)
    definition = group_definition(site)
    inside = definition["properties"]["containers"][0]["properties"]
    inside["image"] = image
    inside["environmentVariables"] = [
        each for each in inside["environmentVariables"] if each["name"] != "DBT_PROJECT_DIR"
    ]

    with ContainerGroups(site.ca, site.identity, site.folder / "image", backend=Backend(engine=engine)) as groups:
        groups.put_group(definition)
        wait_for(lambda: groups.container().state["state"] == "Terminated", seconds=120)
        assert groups.container().state["exitCode"] == 0, groups.container().logs(None, timestamps=False)

    summary = json.loads(container.download_blob(f"runs/{run_id}/summary.json").readall())
    assert summary["status"] == "success"
