from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs among our requirements
import pytest
from service_support import wait_for

from local.wire.processes import INHERITED, ROOT, Process, ServiceNotStarted, TemporaryFolder, base_environment

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
# What a killed parent would leave: every service of the demo that is a process.
PARENT = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from local.azurite import Azurite
from local.wire.certificates import CertificateAuthority
from local.functions_host.host import FunctionHost
from local.postgres import Postgres
from local.wire.processes import TemporaryFolder
from local.sftp import PartnerSftp

folder = TemporaryFolder().path
app = folder / "app"
app.mkdir()
(app / "host.json").write_text('{"version": "2.0"}')
(app / "function_app.py").write_text(
    "import azure.functions as func\\napp = func.FunctionApp()\\n"
    "@app.route(route='hello')\\ndef hello(req: func.HttpRequest) -> str:\\n    return 'hello'\\n"
)
services = [
    Postgres(folder / "postgres"),
    Azurite(folder / "azurite", CertificateAuthority(folder / "tls")),
    PartnerSftp(folder / "sftp"),
    FunctionHost(app, {}, folder=folder / "host", workers=2),
]
with ThreadPoolExecutor() as pool:  # its threads end here; the services must not
    list(pool.map(lambda service: service.start(), services))
print(folder, flush=True)
time.sleep(600)
"""


def command_of(process: psutil.Process) -> str:
    """Return a process's command line; nothing when it has ended meanwhile, as short-lived helpers of a server do."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def test_killed_parent_leaves_no_process_and_no_folder() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    try:
        assert parent.stdout is not None
        with parent.stdout:
            folder = Path(parent.stdout.readline().strip())
        family = psutil.Process(parent.pid).children(recursive=True)
        commands = [command_of(process) for process in family]
        assert sum("leash.py" in command for command in commands) == 6
        for server in ("postgres -D", "azurite.js", "sftp_server", "functions_host.host", "functions_host.worker"):
            assert any(server in command for command in commands), server
    finally:
        parent.kill()
        parent.wait()

    wait_for(lambda: not any(command_of(process) for process in family), seconds=30)
    wait_for(lambda: not folder.exists())


def test_parent_killed_while_a_database_is_being_made_leaves_no_folder(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from local import postgres\n"
        "make = postgres.Postgres._initialise\n"
        "def slow(self, binaries, place, user):\n"
        "    make(self, binaries, place, user); print(place, flush=True); sys.stdin.read()\n"
        "postgres.Postgres._initialise = slow\n"
        "postgres.Postgres(Path(sys.argv[1])).start()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    try:
        assert parent.stdout is not None
        assert parent.stdin is not None
        with parent.stdin, parent.stdout:
            place = Path(parent.stdout.readline().strip())
            assert (place / "data").exists()
            parent.kill()
    finally:
        parent.kill()
        parent.wait()

    wait_for(lambda: not place.exists())


def test_process_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    import threading

    process = Process("sleeper", SLEEP, log=tmp_path / "log")
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join()
    process.wait_until(lambda: "up" in process.output() or None, seconds=20, hint="")

    assert process.running
    process.stop()
    assert not process.running


def test_stop_is_harmless_before_start_and_after_stop(tmp_path: Path) -> None:
    process = Process("sleeper", SLEEP, log=tmp_path / "log")
    process.stop()
    process.start()
    process.stop()
    process.stop()


def test_process_that_ignores_its_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    process = Process("stubborn", [sys.executable, "-c", script], log=tmp_path / "log", grace_seconds=0.3)
    process.start()
    process.wait_until(lambda: "up" in process.output() or None, seconds=20, hint="")
    started = time.monotonic()

    process.stop()

    assert 0.2 < time.monotonic() - started < 5


def test_children_of_a_crashed_server_go_with_it(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"
    )
    process = Process("family", [sys.executable, "-c", script], log=tmp_path / "log")
    process.start()
    pid = int(process.wait_until(lambda: process.output().strip() or None, seconds=20, hint=""))

    process.kill()

    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_failed_start_names_service_cause_and_fix(tmp_path: Path) -> None:
    process = Process("the clock", ["sh", "-c", "echo no spring >&2; exit 3"], log=tmp_path / "clock.log")
    process.start()

    with pytest.raises(ServiceNotStarted, match="the clock ended while starting:\n  no spring") as failure:
        process.wait_until(lambda: None, seconds=20, hint="wind it up")

    assert failure.value.hint == "wind it up"
    assert str(tmp_path / "clock.log") in str(failure.value)
    process.stop()


def test_silent_service_is_given_up_after_its_time(tmp_path: Path) -> None:
    process = Process("the clock", SLEEP, log=tmp_path / "log")
    process.start()
    with pytest.raises(ServiceNotStarted, match="gave no answer"):
        process.wait_until(lambda: None, seconds=0.1, hint="")
    process.stop()


def test_temporary_folder_goes_when_it_is_closed() -> None:
    with TemporaryFolder() as folder:
        (folder / "deep" / "er").mkdir(parents=True)
    assert not folder.exists()


def test_service_inherits_no_credentials_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AZURE_CLIENT_SECRET",
        "IDENTITY_HEADER",
        "HTTPS_PROXY",
        "PYTHONPATH",
        "AZURE_STORAGE_CONNECTION_STRING",
    ):
        monkeypatch.setenv(name, "x")

    allowed = {*INHERITED, *(name for name in os.environ if name.startswith("COVERAGE_"))}
    assert set(base_environment()) <= allowed
    assert not allowed & {"AZURE_CLIENT_SECRET", "IDENTITY_HEADER", "HTTPS_PROXY", "PYTHONPATH"}


def test_interrupt_from_the_terminal_reaches_the_parent_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    process = Process("sleeper", SLEEP, log=tmp_path / "log")
    process.start()
    assert process._leash is not None

    assert os.getpgid(process._leash.pid) != os.getpgid(0)
    process.stop()
    assert signal.getsignal(signal.SIGINT) is before
