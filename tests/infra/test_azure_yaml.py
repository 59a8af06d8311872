"""azure.yaml, the hooks and the workflows: what can be said of them without azd, az and GitHub."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from infra_templates import ROOT, Template

AZURE_YAML: dict[str, Any] = yaml.safe_load((ROOT / "azure.yaml").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCHEMA = os.environ.get("SEALIFT_AZD_SCHEMA", "")
COMMAND_HOOKS = {"preprovision", "postprovision", "predeploy", "postdeploy", "preup", "postup", "predown", "postdown"}


@pytest.mark.skipif(not SCHEMA, reason="SEALIFT_AZD_SCHEMA does not name a copy of azd's schema")
def test_azure_yaml_fits_azd_s_schema() -> None:
    jsonschema.validate(AZURE_YAML, json.loads(Path(SCHEMA).read_text()))


def test_every_hook_is_a_python_file_that_is_there() -> None:
    assert set(AZURE_YAML["hooks"]) <= COMMAND_HOOKS
    for name, hook in AZURE_YAML["hooks"].items():
        path = ROOT / hook["run"]
        assert path.is_file(), name
        assert path.stem == name
        assert hook["kind"] == "python"
        for module in re.findall(r'"(infra\.hooks\.\w+)"', path.read_text()):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_a_hook_file_stands_alone() -> None:
    # azd runs it in its own folder, where `infra` cannot be imported.
    for hook in AZURE_YAML["hooks"].values():
        tree = ast.parse((ROOT / hook["run"]).read_text())
        imported = {name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names}
        imported |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert imported <= {"subprocess", "sys", "pathlib"}


def test_the_service_is_the_app_that_the_template_tags(templates: dict[str, Template]) -> None:
    [site] = templates["dev"].of("Microsoft.Web/sites")

    assert set(AZURE_YAML["services"]) == {site["tags"]["azd-service-name"]}
    assert AZURE_YAML["services"]["app"] == {"project": ".", "language": "python", "host": "function"}
    assert (ROOT / "host.json").is_file()
    assert (ROOT / "requirements.txt").is_file()


def test_infra_is_where_azure_yaml_says() -> None:
    folder = ROOT / AZURE_YAML["infra"]["path"]

    assert (folder / f"{AZURE_YAML['infra']['module']}.bicep").is_file()
    assert (folder / f"{AZURE_YAML['infra']['module']}.parameters.json").is_file()


def test_what_is_not_the_app_stays_out_of_its_package() -> None:
    left_out = {line.strip().strip("/") for line in (ROOT / ".funcignore").read_text().splitlines()}

    for name in (
        "adf",
        "dbt_runner",
        "infra",
        "local",
        "tests",
        "docs",
        "partner_kit",
        "benchmarks",
        ".github",
    ):
        assert name in left_out, name
    for name in ("batches", "delivery", "encryption", "partners", "function_app.py", "host.json", "requirements.txt"):
        assert name not in left_out, name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_no_secret_and_few_rights(path: Path) -> None:
    text = path.read_text()
    workflow = yaml.safe_load(text)

    assert "secrets." not in text
    assert workflow["permissions"] in ({"contents": "read"}, {"contents": "read", "id-token": "write"})
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            # A tag can be moved; a commit cannot.
            if "uses" in step:
                assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
            # Text from outside reaches a shell through the environment only.
            assert "${{ github.event" not in step.get("run", "")


def test_there_is_a_workflow_to_test_to_plan_to_apply_and_to_see_drift() -> None:
    assert [path.stem for path in WORKFLOWS] == ["apply", "ci", "drift", "plan"]
