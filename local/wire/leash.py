"""Run one server on a leash: when the process that holds the other end of standard input goes, so does the server.

`leash.py SETTINGS COMMAND...`, where SETTINGS is a JSON object: `signal` (how the server is asked to stop),
`grace_seconds` (until it is killed), `user` (run as, or null) and `remove` (a folder to delete at the end, or null).
The end of standard input is the only order, and the kernel gives it even when the holder is killed: nothing has to be
polled and it works the same on Linux and macOS. SIGUSR1 kills the server at once, for tests. Standard library only,
run with `python -I -S`. Without a command it only holds, and removes the folder at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when the leash itself is killed; elsewhere the leash's word is enough."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(settings_json: str, command: list[str]) -> int:
    settings = json.loads(settings_json)
    code = run(settings, command) if command else hold()
    if settings["remove"]:
        remove(settings["remove"])
    return code


def hold() -> int:
    """Wait until the other end of standard input is gone."""
    while os.read(0, 4096):
        pass
    return 0


def remove(folder: str) -> None:
    """Delete a folder, also when servers on other leashes still write their last lines to it."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):  # noqa: PTH110 - pathlib would double the start-up time of each server
            return
        time.sleep(0.25)


def run(settings: dict[str, Any], command: list[str]) -> int:
    """Run the server until it ends or the holder goes; return its exit code."""
    who = pwd.getpwnam(settings["user"]) if settings["user"] else None
    # This process has one thread here, so code between fork and exec is safe; the kernel forgets the signal at setuid.
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        user=who.pw_uid if who else None,
        group=who.pw_gid if who else None,
        extra_groups=[] if who else None,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - see above
    )

    def kill(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(server.pid, signal.SIGKILL)

    def ask_to_stop(*_: object) -> None:
        server.send_signal(settings["signal"])
        timer = threading.Timer(settings["grace_seconds"], kill)
        timer.daemon = True
        timer.start()

    def hold_then_stop() -> None:
        hold()
        ask_to_stop()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGUSR1, kill)
    threading.Thread(target=hold_then_stop, daemon=True).start()
    code = server.wait()
    kill()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # The watching thread may still hold standard input's lock, so the interpreter's own tidy exit is not waited for.
    os._exit(main(sys.argv[1], sys.argv[2:]))
