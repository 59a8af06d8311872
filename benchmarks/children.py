"""Waits for a measured process: how it ended, what it used, and the most memory that it had."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.01
READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One run of one tool."""

    wall_seconds: float
    cpu_seconds: float
    rss_mib: float


def measure(command: str, folder: Path) -> Figure:
    """Run a command or pipeline in a shell, in a folder; its CPU time is that of all its processes."""
    began = time.perf_counter()
    plainly = command if "|" in command else f"exec {command}"
    usage, peak_mib = wait(subprocess.Popen(["sh", "-c", plainly], cwd=folder, stdout=subprocess.DEVNULL))
    wall = time.perf_counter() - began
    return Figure(wall_seconds=wall, cpu_seconds=usage.ru_utime + usage.ru_stime, rss_mib=peak_mib)


def read_pieces(path: Path) -> Iterator[bytes]:
    """Yield a file's content in pieces."""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(READ_BYTES):
            yield piece


def wait(process: subprocess.Popen[bytes]) -> tuple[resource.struct_rusage, float]:
    """Return the resources that a process used, and its peak memory in MiB; fails when it did not end well.

    Its ru_maxrss would count the memory of who started it, from before its exec; VmHWM begins at exec.
    """
    peak_kib, ended = 0, threading.Event()

    def look() -> None:
        nonlocal peak_kib
        while not ended.wait(LOOK_SECONDS):
            peak_kib = max(peak_kib, _peak_kib(process.pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.args
    return usage, (peak_kib or usage.ru_maxrss) / 1024


def _peak_kib(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # no Linux
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
