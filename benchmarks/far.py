"""A network with distance: a namespace reached over two TUN devices, whose packets this process holds back.

Needs root and /dev/net/tun, but no netem in the kernel. Unlike a relay of bytes, TCP itself feels the delay here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import threading
import time
from collections import deque
from typing import Self

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_MTU = 16000


class Far:
    """`address` is that of the namespace `name`; a packet takes `delay_ms` / 2 each way."""

    address = "10.117.31.2"

    def __init__(self, delay_ms: float) -> None:
        self.name = f"sealift{os.getpid() % 100000}"
        self.delay_ms = delay_ms
        self._stopped = threading.Event()
        self._child: int | None = None

    def __enter__(self) -> Self:
        here, there = f"{self.name[:12]}a", f"{self.name[:12]}b"
        near, far = _open_tun(here), _open_tun(there)
        _ip("netns", "add", self.name)
        _ip("link", "set", there, "netns", self.name)
        _ip("addr", "add", "10.117.31.1/30", "dev", here)
        _ip("link", "set", here, "mtu", str(_MTU), "up")
        _ip("-n", self.name, "addr", "add", f"{self.address}/30", "dev", there)
        _ip("-n", self.name, "link", "set", there, "mtu", str(_MTU), "up")
        _ip("-n", self.name, "link", "set", "lo", "up")
        self._child = os.fork()
        if self._child == 0:
            with contextlib.suppress(BaseException):
                ways = [
                    threading.Thread(target=_carry, args=(one, other, self.delay_ms / 2000))
                    for one, other in ((near, far), (far, near))
                ]
                for way in ways:
                    way.start()
                for way in ways:
                    way.join()
            os._exit(0)
        os.close(near)
        os.close(far)
        return self

    def __exit__(self, *_: object) -> None:
        if self._child:
            os.kill(self._child, 9)
            os.waitpid(self._child, 0)
        _ip("netns", "del", self.name)

    def command(self, command: list[str]) -> list[str]:
        """Return the command that runs `command` at the far end."""
        return ["ip", "netns", "exec", self.name, *command]


def can_be_far() -> str:
    """Return why no distance can be made here, or ""."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/dev/net/tun"):  # noqa: PTH110 - one question, no Path needed
        return "there is no /dev/net/tun"
    return ""


def _carry(source: int, target: int, delay: float) -> None:
    waiting: deque[tuple[float, bytes]] = deque()
    arrived = threading.Condition()

    def read() -> None:
        while True:
            packet = os.read(source, _MTU + 64)
            with arrived:
                waiting.append((time.monotonic() + delay, packet))
                arrived.notify()

    threading.Thread(target=read, daemon=True).start()
    while True:
        with arrived:
            while not waiting:
                arrived.wait()
            due, packet = waiting.popleft()
        left = due - time.monotonic()
        if left > 0:
            time.sleep(left)
        with contextlib.suppress(OSError):
            os.write(target, packet)


def _open_tun(name: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return tun


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
