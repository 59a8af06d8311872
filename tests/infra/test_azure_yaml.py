"""azure.yaml, the hooks and the workflows: what can be said of them without azd, az and GitHub."""

from __future__ import annotations

import ast
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from infra_templates import ROOT, Template

from infra.hooks.image import content_tag

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
        [names] = re.findall(r"^for name in \[(.+)\]:$", path.read_text(), re.MULTILINE)
        for module in re.findall(r'"(\w+)"', names):
            assert (ROOT / "infra" / "hooks" / f"{module}.py").is_file()


def test_a_hook_file_stands_alone() -> None:
    # azd runs it in its own folder, where `infra` cannot be imported.
    for hook in AZURE_YAML["hooks"].values():
        tree = ast.parse((ROOT / hook["run"]).read_text())
        imported = {name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names}
        imported |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert imported <= {"__future__", "subprocess", "sys", "pathlib"}


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


def packaged_by_azd(folder: Path) -> set[str]:
    """The files of a folder that azd packages: its matcher's last rule that fits a path decides, and `*` crosses `/`.

    A folder that is ignored is not entered; one that is let in does not let its content in.
    """
    rules = [line for line in (ROOT / ".funcignore").read_text().splitlines() if line and not line.startswith("#")]

    def is_ignored(path: str) -> bool:
        verdict = False
        for rule in rules:
            pattern = rule.removeprefix("!")
            if "/" in pattern:
                fits = fnmatch.fnmatchcase(path, pattern.removeprefix("/").removeprefix("**/"))
                fits = fits or (pattern.startswith("**/") and fnmatch.fnmatchcase(path, pattern[1:]))
                fits = fits or (pattern.startswith("**/") and fnmatch.fnmatchcase(path, f"*{pattern[2:]}"))
            else:
                fits = fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], pattern)
            verdict = verdict if not fits else not rule.startswith("!")
        return verdict

    found = set()
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        folders[:] = [name for name in folders if name != ".git" and not is_ignored((inside / name).as_posix())]
        found |= {(inside / name).as_posix() for name in files if not is_ignored((inside / name).as_posix())}
    return found


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
    wanted = {"fault.py", "function_app.py", "host.json", "requirements.txt"}
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

    assert needed == {"function_app", "batches", "delivery", "encryption", "fault", "monitor", "partners"}
    assert packaged(tmp_path) == wanted
    assert packaged_by_azd(tmp_path) == wanted


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
    assert packaged_by_azd(tmp_path) == set(names)


def test_the_host_starts_from_exactly_what_azd_packages(tmp_path: Path) -> None:
    checkout, package = tmp_path / "checkout", tmp_path / "package"
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], check=True, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name) if (ROOT / name).is_file() else None
    for name in packaged_by_azd(checkout):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkout / name, package / name)
    source = "import function_app; print(len(function_app.app.get_functions()))"

    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=package,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
    assert {path.name for path in package.iterdir()} == {path.partition("/")[0] for path in packaged(checkout)}


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
                assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}|\./\.github/actions/\w+", step["uses"]), step["uses"]
            # A script from the network never runs unseen: archives are checked by hash, packages by their locks.
            assert not re.search(r"\|\s*(ba|z|da)?sh\b", step.get("run", "")), step["run"]
            assert "pip install" not in step.get("run", "") or "--require-hashes" in step["run"], step["run"]
            # Text from outside reaches a shell through the environment only.
            assert "${{ github.event" not in step.get("run", "")


def test_there_is_a_workflow_to_test_to_plan_to_apply_to_see_drift_and_to_audit() -> None:
    assert [path.stem for path in WORKFLOWS] == ["apply", "audit", "ci", "drift", "plan", "sqlserver"]


@pytest.mark.parametrize("name", ["apply", "drift", "plan"])
def test_azd_is_there_before_anybody_signs_in(name: str) -> None:
    job = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())["jobs"][name]
    used = [step.get("uses", "").split("@")[0] for step in job["steps"]]

    assert used.index("./.github/actions/azd") < used.index("azure/login")


@pytest.mark.parametrize("name", ["apply", "drift", "plan"])
def test_a_workflow_that_does_nothing_says_so(name: str) -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())["jobs"]

    assert jobs["not-deployed"]["if"] == "vars.AZURE_SUBSCRIPTION_ID == ''"
    assert jobs[name]["if"].startswith("vars.AZURE_SUBSCRIPTION_ID != ''")
    assert "::warning::" in jobs["not-deployed"]["steps"][0]["run"]


def test_the_plan_asks_for_no_right_to_write() -> None:
    assert "--validation-level ProviderNoRbac" in (ROOT / ".github" / "workflows" / "plan.yml").read_text()


def test_the_archive_of_azd_is_checked_before_anything_of_it_runs() -> None:
    [step] = yaml.safe_load((ROOT / ".github" / "actions" / "azd" / "action.yml").read_text())["runs"]["steps"]
    lines = step["run"].splitlines()

    assert re.fullmatch(r"[0-9a-f]{64}", step["env"]["AZD_SHA256"])
    checked = next(at for at, line in enumerate(lines) if "sha256sum --check" in line)
    assert checked < next(at for at, line in enumerate(lines) if line.startswith("tar "))
    assert step["env"]["AZD_VERSION"] in yaml.safe_load((ROOT / "azure.yaml").read_text())["requiredVersions"]["azd"]


def test_every_lock_is_audited_and_gets_proposals() -> None:
    locks = {
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("requirements*.txt"), *ROOT.glob("*/requirements*.txt"), *ROOT.glob(".github/*.txt")]
    }
    audit = yaml.safe_load((ROOT / ".github" / "workflows" / "audit.yml").read_text())["jobs"]
    proposals = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    folders = {
        (each["package-ecosystem"], folder)
        for each in proposals
        for folder in each.get("directories", [each.get("directory")])
    }

    assert set(audit["python"]["strategy"]["matrix"]["lock"]) == locks
    assert {("pip", f"/{Path(lock).parent}".rstrip(".")) for lock in locks} <= folders
    assert {
        ("npm", "/local/azurite"),
        ("npm", "/tests/monitor/axe"),
        ("docker", "/dbt_runner"),
        ("github-actions", "/"),
    } <= folders
    assert (ROOT / "local" / "azurite" / "package-lock.json").exists()
    assert any("npm audit" in step.get("run", "") for step in audit["node"]["steps"])


def test_the_image_s_base_is_pinned_by_its_digest() -> None:
    text = (ROOT / "dbt_runner" / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)

    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64}", bases[0])
    assert set(bases[1:]) == {"${BASE_IMAGE}"}
    assert "ARG BASE_IMAGE=pinned\n" in text


def test_a_new_base_makes_a_new_tag_so_that_the_image_is_built_anew(tmp_path: Path) -> None:
    shutil.copy(ROOT / "dbt_runner" / "Dockerfile", tmp_path)
    before = content_tag(tmp_path)
    text = (tmp_path / "Dockerfile").read_text()

    (tmp_path / "Dockerfile").write_text(re.sub(r"@sha256:[0-9a-f]{64}", "@sha256:" + "0" * 64, text))

    assert content_tag(tmp_path) != before
