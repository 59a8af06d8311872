"""Builds dbt's image in the registry (no Docker here) and lets a second pass of provisioning make its container group.

The tag is a hash of what goes into the image, so nothing is built twice; the group is given the image by digest, so a
moved tag changes nothing. A group starts when it is made; without a request it ends at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from infra.hooks.commands import HookFailed, finish, run, say, setting
from infra.tools import ROOT

FOLDER = ROOT / "dbt_runner"
LEFT_OUT = {"target", "logs", "__pycache__", ".user.yml", ".pytest_cache"}


def content_tag(folder: Path, arguments: Sequence[str] = ()) -> str:
    """Twelve hex digits that change with any file of the image's context and with any build argument."""
    digest = hashlib.sha256("\n".join([*arguments, ""]).encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not LEFT_OUT.intersection(path.relative_to(folder).parts):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:12]


def main() -> None:
    registry, server = setting("AZURE_CONTAINER_REGISTRY_NAME"), setting("AZURE_CONTAINER_REGISTRY_ENDPOINT")
    # The parse that the image carries is of use only for the warehouse that it will meet.
    names = {
        "PGHOST": "SEALIFT_WAREHOUSE_HOST",
        "PGDATABASE": "SEALIFT_WAREHOUSE_DATABASE",
        "PGUSER": "SEALIFT_DBT_USER",
    }
    arguments = [f"{name}={setting(source)}" for name, source in names.items()]
    image = f"dbt:{content_tag(FOLDER, arguments)}"
    digest = _digest(registry, image)
    if not digest:
        _build(registry, server, image, arguments)
        digest = _digest(registry, image)
    if not digest:
        raise HookFailed(f"{registry} has no {image} after the build", "look at the build's log above")
    full = f"{server}/dbt@{digest}"
    if os.environ.get("SEALIFT_DBT_IMAGE") == full:
        say(f"{image} is in place")
        return
    run(["azd", "env", "set", "SEALIFT_DBT_IMAGE", full])
    say("provisioning once more: the container group can be made now that its image exists")
    run(["azd", "provision", "--no-prompt"], show=True)


def _build(registry: str, server: str, image: str, arguments: Sequence[str]) -> None:
    """Build in the registry; where Azure refuses that, as on free credit, build here and push."""
    given = [word for argument in arguments for word in ("--build-arg", argument)]
    say(f"building {image} in {registry}")
    try:
        build = ["az", "acr", "build", "--registry", registry, "--image", image, "--platform", "linux/amd64"]
        run([*build, *given, "."], show=True, folder=FOLDER)
    except HookFailed as error:
        program = next((name for name in ("docker", "podman") if shutil.which(name)), None)
        if "TasksOperationsNotAllowed" not in str(error) or program is None:
            raise
        _build_here(program, registry, f"{server}/{image}", given)


def _build_here(program: str, registry: str, full: str, given: list[str]) -> None:
    server, _, image = full.partition("/")
    say(f"the registry builds nothing on this subscription: building {image} here with {program}")
    token = run(["az", "acr", "login", "--name", registry, "--expose-token", "--query", "accessToken", "-o", "tsv"])
    run([program, "build", "--platform", "linux/amd64", "--tag", full, *given, "."], show=True, folder=FOLDER)
    with tempfile.TemporaryDirectory(prefix="sealift-") as folder:
        # The user of a registry's token is always this one; both programs read where to sign in from a file.
        sign_in = base64.b64encode(f"00000000-0000-0000-0000-000000000000:{token}".encode()).decode()
        file = Path(folder) / "config.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps({"auths": {server: {"auth": sign_in}}}))
        where = {"DOCKER_CONFIG": folder, "REGISTRY_AUTH_FILE": str(file)}
        run([program, "push", full], show=True, extra=where)


def _digest(registry: str, image: str) -> str:
    """The digest of an image, empty where the registry does not have it."""
    query = ["az", "acr", "repository", "show", "--name", registry, "--image", image, "--query", "digest", "-o", "tsv"]
    try:
        return run(query)
    except HookFailed as error:
        if "not found" in str(error).lower():
            return ""
        raise


if __name__ == "__main__":
    sys.exit(finish(main))
