"""One container of a container group: its states, events, restarts and output, as the platform shows them.

The container is the image's own entry point, run as a process in `.venv-dbt`, or the image itself by podman or docker. It
sees the group's environment variables and nothing of this shell's. Not done: volumes, sidecars, probes, resource limits.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.wire.processes import LEASH, ROOT, ServiceNotInstalled, base_environment

GRACE_SECONDS = 10.0
RUNNING_LOG_BYTES = 4 * 1024 * 1024
ENDED_LOG_BYTES = 16 * 1024
ENDED_LOG_LINES = 1000
ENGINE_SETTINGS = ("CONTAINERS_", "DOCKER_", "XDG_RUNTIME_DIR")
ENTRY_POINT = ("python", "-m", "dbt_runner")


@dataclass(slots=True, kw_only=True)
class LifeFaults:
    """What the platform is documented to do now and then; a test sets it, and each number counts down as it happens."""

    stale_reads: int = 0  # so many reads after a start still show the state before it
    restarts: int = 0  # so many times a container that ended with another code than 0 is started again
    failed_pulls: int = 0  # so many starts end in an image that cannot be pulled
    never_pulls: bool = False  # every start does
    busy_starts: int = 0  # so many starts are refused with 409
    odd_state: str = ""  # shown as the group's state while the container waits or runs
    identity_delay_seconds: float = 0.0  # the identity endpoint refuses for so long after each start


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """What a group's definition says of its container."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    restart_policy: str = "Always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """How a container is run: `engine` is "" for a process, or the podman or docker program."""

    python: Path = ROOT / ".venv-dbt" / "bin" / "python"
    engine: str = ""

    def command(self, spec: ContainerSpec, environment: Mapping[str, str], mounts: Sequence[Path]) -> list[str]:
        """Return the command line; no environment value is on it, because every user of a machine sees command lines."""
        if self.engine:
            options = [option for name in sorted(environment) for option in ("--env", name)]
            options += [option for path in mounts for option in ("--volume", f"{path}:{path}:ro")]
            return [self.engine, "run", "--rm", "--network", "host", *options, spec.image, *spec.command]
        if not self.python.exists():
            raise ServiceNotInstalled(f"dbt is not installed in {self.python.parents[1]}", "run ./sealift once")
        program, *arguments = spec.command or ENTRY_POINT
        return [str(self.python) if program == "python" else program, *arguments]

    def environment(self, environment: Mapping[str, str], folder: Path) -> dict[str, str]:
        """Return the environment of the process that is started; `folder` is for its temporary files."""
        if self.engine:
            own = {name: value for name, value in os.environ.items() if name.startswith(ENGINE_SETTINGS)}
            return base_environment() | own | dict(environment)
        return base_environment() | {"TMPDIR": str(folder)} | dict(environment)


class Container:
    """A container that can be started again and again; every method is safe to call from any thread."""

    def __init__(
        self, spec: ContainerSpec, backend: Backend, folder: Path, faults: LifeFaults, mounts: Sequence[Path]
    ) -> None:
        self.spec = spec
        self.faults = faults
        self.state: dict[str, Any] = {"state": "Waiting", "detailStatus": ""}
        self.previous: dict[str, Any] | None = None
        self.events: list[dict[str, Any]] = []
        self.restart_count = 0
        self.group_state = "Pending"
        self.provisioning = "Pending"
        self.changed = threading.Condition()
        self._backend = backend
        self._folder = folder
        self._mounts = mounts
        self._output: deque[tuple[str, str]] = deque()
        self._output_bytes = 0
        self._leash: subprocess.Popen[bytes] | None = None
        self._life: threading.Thread | None = None
        self._stopping = False

    @property
    def is_alive(self) -> bool:
        return self._life is not None and self._life.is_alive()

    def seem_ended(self) -> None:
        """Look like a container that was created and has run, successfully, before this program began."""
        then = _now()
        self.state = {
            "state": "Terminated",
            "startTime": then,
            "finishTime": then,
            "exitCode": 0,
            "detailStatus": "Completed",
        }
        self.group_state = self.provisioning = "Succeeded"

    def start(self, extra: Mapping[str, str]) -> None:
        """Begin a new life; returns at once, with the container still waiting for its image."""
        with self.changed:
            assert not self.is_alive, "the group refuses a start while the container lives"
            if self.state["state"] == "Terminated":
                self.previous = self.state
            self.state = {"state": "Waiting", "detailStatus": ""}
            self.group_state = self.provisioning = "Pending"
            self.restart_count = 0
            self._output.clear()
            self._output_bytes = 0
            self._stopping = False
            self._life = threading.Thread(target=self._live, args=[dict(extra)], name=self.spec.name, daemon=True)
            self._life.start()

    def stop(self) -> None:
        """Ask the container to end, kill it after its grace, and wait until it is gone."""
        with self.changed:
            self._stopping = True
            self.changed.notify_all()
            leash = self._leash
        if leash is not None:
            assert leash.stdin is not None
            leash.stdin.close()  # not a signal: a leash that has only just begun would die of it and let the container go
        if self._life is not None:
            self._life.join(GRACE_SECONDS + 10)
        with self.changed:
            self.group_state = "Stopped"

    def kill(self) -> None:
        """Let the container die as one that runs out of memory does."""
        leash = self._leash
        if leash is not None and leash.poll() is None:
            leash.send_signal(signal.SIGUSR1)

    def logs(self, tail: int | None, *, timestamps: bool) -> str:
        """Return the output within the platform's limits: 4 MB while it runs, 16 KB and 1,000 lines afterwards."""
        with self.changed:
            lines = [f"{when} {text}" if timestamps else text for when, text in self._output]
            limit = RUNNING_LOG_BYTES if self.is_alive else ENDED_LOG_BYTES
            if not self.is_alive:
                lines = lines[-ENDED_LOG_LINES:]
        if tail is not None:
            lines = lines[-tail:] if tail else []
        content = "".join(f"{line}\n" for line in lines)
        return content.encode()[-limit:].decode("utf-8", "ignore")

    def _live(self, extra: dict[str, str]) -> None:
        if not self._pull():
            return
        while True:
            code = self._run(extra)
            if not self._starts_again(code):
                break
            with self.changed:
                self.previous, self.restart_count = self.state, self.restart_count + 1
        with self.changed:
            if not self._stopping:
                self.group_state = "Succeeded" if code == 0 else "Failed"
            self.changed.notify_all()

    def _pull(self) -> bool:
        image = self.spec.image
        self._event("Pulling", f'pulling image "{image}"')
        fails = self.faults.never_pulls or self.faults.failed_pulls > 0
        if not fails:
            self._event("Pulled", f'Successfully pulled image "{image}"')
            self._event("Created", "Created container")
            return True
        self.faults.failed_pulls = max(0, self.faults.failed_pulls - 1)
        message = f'Failed to pull image "{image}": rpc error: code = NotFound desc = manifest unknown'
        self._event("Failed", message, "Warning")
        self._event("BackOff", f'Back-off pulling image "{image}"', "Warning")
        with self.changed:
            self.state = {"state": "Waiting", "detailStatus": "ImagePullBackOff"}
            # The platform keeps trying; so the group stays as it is until somebody stops it.
            self.changed.wait_for(lambda: self._stopping)
        return False

    def _run(self, extra: dict[str, str]) -> int:
        environment = self.spec.environment | extra
        folder = self._folder / f"{self.spec.name}-{time.time_ns()}"
        folder.mkdir(parents=True)
        with self.changed:
            if self._stopping:
                return 0
            self._leash = self._launch(environment, folder)
            self.state = {"state": "Running", "startTime": _now(), "detailStatus": ""}
            self.group_state, self.provisioning = self.faults.odd_state or "Running", "Succeeded"
            self.changed.notify_all()
        self._event("Started", "Started container")
        assert self._leash.stdout is not None
        for line in self._leash.stdout:
            self._keep(line.decode("utf-8", "replace").rstrip("\n"))
        code = self._leash.wait()
        for pipe in (self._leash.stdin, self._leash.stdout):
            assert pipe is not None
            pipe.close()
        shutil.rmtree(folder, ignore_errors=True)
        with self.changed:
            self.state = {
                "state": "Terminated",
                "startTime": self.state["startTime"],
                "finishTime": _now(),
                "exitCode": code,
                "detailStatus": "Completed" if code == 0 else "Error",
            }
        return code

    def _launch(self, environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
        settings = {"signal": 15, "grace_seconds": GRACE_SECONDS, "user": None, "remove": None}
        command = self._backend.command(self.spec, environment, self._mounts)
        # The leash ends the container when this process dies, however it dies.
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(LEASH), json.dumps(settings), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._backend.environment(environment, folder),
            cwd=ROOT,
            start_new_session=True,
        )

    def _starts_again(self, code: int) -> bool:
        if self._stopping:
            return False
        if self.spec.restart_policy == "Always" or (self.spec.restart_policy == "OnFailure" and code != 0):
            return True
        if code != 0 and self.faults.restarts > 0:
            self.faults.restarts -= 1
            return True
        return False

    def _keep(self, line: str) -> None:
        with self.changed:
            self._output.append((_now(), line))
            self._output_bytes += len(line)
            while self._output_bytes > RUNNING_LOG_BYTES:
                self._output_bytes -= len(self._output.popleft()[1])

    def _event(self, name: str, message: str, kind: str = "Normal") -> None:
        now = _now()
        with self.changed:
            for event in self.events:
                if event["name"] == name and event["message"] == message:
                    event["count"] += 1
                    event["lastTimestamp"] = now
                    return
            self.events.append(
                {
                    "count": 1,
                    "firstTimestamp": now,
                    "lastTimestamp": now,
                    "name": name,
                    "message": message,
                    "type": kind,
                }
            )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
