"""What the environment says; nothing else says where things are.

ARTIFACTS_URL     https address of the blob container; without it nothing is stored and REQUEST must say what to do
REQUEST           the request as JSON; without it the newest open one in the container is taken
EXIT_MODE         verdict (default): the exit code reports it, see summary.EXIT_CODES; recorded: 0 once the verdict is in
                  storage, for platforms that start a container again when it ends with anything else
DBT_PROJECT_DIR   the project; WORK_DIR where to write; IMAGE, GIT_SHA what runs here, for the summary
PGHOST ...        the warehouse, see project/profiles.yml
WAREHOUSE_LOGIN   entra, or the address of a secret: how dbt signs in there, see warehouse_login.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dbt_runner.request import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says; see the module."""

    artifacts_url: str
    request: str
    records: bool
    project: Path
    work: Path
    image: str
    git_sha: str
    warehouse_login: str
    secrets: tuple[str, ...] = field(repr=False)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raise RequestError when one is missing or wrong."""
    mode = environment.get("EXIT_MODE", "verdict")
    if mode not in ("verdict", "recorded"):
        raise RequestError(f"EXIT_MODE is {mode!r}", "it must be verdict or recorded")
    url, request = environment.get("ARTIFACTS_URL", ""), environment.get("REQUEST", "")
    if not url and not request:
        raise RequestError("neither ARTIFACTS_URL nor REQUEST is set", "name the blob container, or say what to run")
    if url and not url.startswith("https://"):
        raise RequestError("ARTIFACTS_URL does not begin with https://", "tokens go over TLS only")
    login = environment.get("WAREHOUSE_LOGIN", "")
    if login not in ("", "entra") and not login.startswith("https://"):
        raise RequestError(f"WAREHOUSE_LOGIN is {login!r}", "it must be entra, or the https address of a secret")
    return Settings(
        artifacts_url=url,
        request=request,
        records=mode == "recorded",
        project=Path(environment.get("DBT_PROJECT_DIR", str(Path(__file__).with_name("project")))),
        work=Path(environment.get("WORK_DIR") or tempfile.mkdtemp(prefix="dbt-")),
        image=environment.get("IMAGE", ""),
        git_sha=environment.get("GIT_SHA", ""),
        warehouse_login=login,
        secrets=tuple(value for name, value in environment.items() if name.startswith("DBT_ENV_SECRET_") and value),
    )
