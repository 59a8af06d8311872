"""The bytes of one SSH channel: sent in bursts of packets, read as they come, watched while we wait for the server."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import paramiko

from delivery.packets import MOST_PACKETS, Buffer, ChannelData, Packets
from delivery.watchdog import Watchdog

_READ_BYTES = 256 << 10


class Pipe:
    """One channel of a transport whose packets are `Packets`; used by one thread at a time."""

    def __init__(self, watchdog: Watchdog, channel: paramiko.Channel) -> None:
        self._watchdog = watchdog
        self._channel = channel
        self._transport = channel.get_transport()
        packets = self._transport.packetizer
        assert isinstance(packets, Packets)
        self._packets = packets
        # paramiko keeps 64 bytes of each packet for itself.
        self.payload_bytes = max(channel.out_max_packet_size - 64, 1024)

    def send(self, buffers: Sequence[Buffer]) -> None:
        """Send all of it, without joining it first. Raises ConnectionLost, Stalled, DeadlinePassed."""
        rest, left = deque(buffers), sum(map(len, buffers))
        with self._waiting():
            while left:
                sizes = self._take_window(left)
                left -= sum(sizes)
                data = ChannelData(self._channel.remote_chanid, _cut(rest, sum(sizes)), sizes)
                # It waits while keys are exchanged; what is public sends one packet.
                self._transport._send_user_message(data)  # type: ignore[attr-defined]  # noqa: SLF001

    def receive(self) -> bytes:
        """Return what has come, once anything has. Raises ConnectionLost, Stalled, DeadlinePassed."""
        with self._waiting():
            self._packets.read_at_once(True)
            data = self._channel.recv(_READ_BYTES)
            if not data:
                raise _ended()
        return data

    @contextmanager
    def _waiting(self) -> Generator[None]:
        self._watchdog.waits(True)
        try:
            yield
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._watchdog.lost(error) from error
        finally:
            self._watchdog.waits(False)

    def _take_window(self, left: int) -> list[int]:
        """Wait until the server takes data; return the sizes of the next packets. Raises EOFError, TimeoutError."""
        sizes: list[int] = []
        with self._channel.lock:
            self._packets.read_at_once(self._channel.out_window_size == 0)
            while left and len(sizes) < MOST_PACKETS and (self._channel.out_window_size or not sizes):
                size = self._channel._wait_for_send_window(left)  # type: ignore[attr-defined]  # noqa: SLF001
                if size == 0:
                    raise _ended()
                sizes.append(size)
                left -= size
        return sizes


def _cut(rest: deque[Buffer], count: int) -> list[Buffer]:
    """Take the first `count` bytes away from `rest`, without copying them."""
    taken: list[Buffer] = []
    while count:
        buffer = rest.popleft()
        if len(buffer) > count:
            view = memoryview(buffer)
            rest.appendleft(view[count:])
            buffer = view[:count]
        taken.append(buffer)
        count -= len(buffer)
    return taken


def _ended() -> EOFError:
    return EOFError("the server closed the session")
