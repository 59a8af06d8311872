"""`./sealift docs build | serve`: the site of docs/, made by MkDocs in `.venv-docs`, which the first call installs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from fault import Fault

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-docs"
REQUIREMENTS = ROOT / "requirements-docs.txt"


class SiteFailed(Fault):
    """MkDocs could not be installed."""


def make_site(verb: str) -> int:
    """Build the site into out/site, or serve it until Ctrl-C; return MkDocs' exit code. Raises SiteFailed."""
    stamp = VENV / ".sealift-stamp"
    wanted = REQUIREMENTS.read_text("utf-8")
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        print("first use: installing MkDocs, 60 MB, into .venv-docs ...", file=sys.stderr)
        _install()
        stamp.write_text(wanted, "utf-8")
    options = ["--dev-addr", f"127.0.0.1:{_free_port()}", "--open"] if verb == "serve" else ["--quiet"]
    command = [str(VENV / "bin" / "python"), "-m", "mkdocs", verb, *options]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # its makers' advertisement
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if verb == "build" and code == 0:
        print("wrote out/site/index.html")
    return code


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _install() -> None:
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        [*pip, "--require-hashes", "--requirement", str(REQUIREMENTS)],
    ]
    for step in steps:
        if subprocess.run(step, check=False).returncode:
            raise SiteFailed("MkDocs could not be installed", hint="is a package registry reachable? Then run it again")
