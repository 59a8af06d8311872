"""azure.yaml, the hooks and the workflows: what can be said of them without azd, az and GitHub."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
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


def packaged(folder: Path) -> set[str]:
    """The files of a folder that .funcignore lets through, by git's own rules."""
    command = ["git", "-C", str(folder), "ls-files", "--others", f"--exclude-from={ROOT / '.funcignore'}"]
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())


def app_imports(start: str) -> set[str]:
    """What is imported from this folder by `start`, and by that, and so on: top-level names."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        found.add(name)
        for path in [*(ROOT / name).rglob("*.py"), *ROOT.glob(f"{name}.py")]:
            for node in ast.walk(ast.parse(path.read_text())):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                tops = {module.partition(".")[0] for module in modules} - found
                waiting += [top for top in tops if (ROOT / top).is_dir() or (ROOT / f"{top}.py").is_file()]
    return found


def test_only_what_the_app_needs_is_in_its_package(tmp_path: Path) -> None:
    needed = app_imports("function_app")
    wanted = {"function_app.py", "host.json", "requirements.txt"}
    for path in set(ROOT.iterdir()) - {ROOT / ".git"}:
        if path.is_dir():
            (tmp_path / path.name / "within").mkdir(parents=True)
            (tmp_path / path.name / "within" / "file").touch()
            wanted |= {f"{path.name}/within/file"} & {f"{name}/within/file" for name in needed}
        else:
            (tmp_path / path.name).touch()
    for stranger in (
        "key.pem",
        "host.json.bak",
        ".env",
        "local.settings.json",
        "work/batches/a.py",
        "batches_old/a.py",
    ):
        (tmp_path / stranger).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / stranger).touch()

    assert needed == {"function_app", "batches", "delivery", "encryption", "partners"}
    assert packaged(tmp_path) == wanted


def test_every_file_of_the_app_s_packages_is_in_its_package(tmp_path: Path) -> None:
    names = [
        str(path.relative_to(ROOT))
        for package in app_imports("function_app")
        for path in [*(ROOT / package).rglob("*"), *ROOT.glob(f"{package}.py")]
        if path.is_file() and "__pycache__" not in path.parts
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert packaged(tmp_path) == set(names)


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
