"""SSH packets as a delivery sends and reads them: many packets to a system call, each byte copied once before it is encrypted.

paramiko builds, encrypts and sends one packet at a time and copies its bytes six times, which costs more than the cipher. Here is
only what moves bytes: keys, algorithms, the order of messages and re-keying stay paramiko's (RFC 4253, section 6; RFC 5647 for
AES-GCM). With a cipher that is not an AEAD, paramiko's own code sends and reads. Decision 14.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from paramiko import Message, SSHException
from paramiko.packet import NeedRekeyException, Packetizer

Buffer = bytes | memoryview

MOST_PACKETS = 8  # in one burst: the largest write of SFTP in SSH packets of the usual size
_WINDOW_ADJUST, _CHANNEL_DATA = 93, 94
_READ_BYTES = 64 << 10
_RANDOM_BYTES = 1024
_GATHER_SECONDS = 0.002  # the window of a server is not filled faster
_LARGEST_PACKET = 256 << 10  # as OpenSSH allows; a larger length means that we lost the frame
_BLOCK_BYTES, _TAG_BYTES, _LENGTH_BYTES = 16, 16, 4
_LEAST_PADDING, _MOST_PADDING = 4, 19
_HEAD = struct.Struct(">BBII")  # length of the padding, kind of message, channel, length of the data
_ADJUST = struct.Struct(">BII")  # kind of message, channel, bytes
_LENGTH = struct.Struct(">I")


class ChannelData:
    """Data of a channel in messages of these sizes, sent in a row; paramiko's transport takes it for one message."""

    def __init__(self, channel: int, buffers: Sequence[Buffer], sizes: Sequence[int]) -> None:
        self.channel = channel
        self.sizes = sizes
        self._buffers = buffers

    def messages(self) -> Iterator[Message]:
        """Yield them as paramiko's own messages."""
        data, at = b"".join(self._buffers), 0
        for size in self.sizes:
            message = Message()
            message.add_byte(bytes([_CHANNEL_DATA]))
            message.add_int(self.channel)
            message.add_string(data[at : at + size])
            yield message
            at += size

    def copy_into(self, target: memoryview, number: int, start: int) -> tuple[int, int]:
        """Fill `target` from byte `start` of buffer `number` on; return where the rest begins."""
        filled = 0
        while filled < len(target):
            part = self._buffers[number][start : start + len(target) - filled]
            target[filled : filled + len(part)] = part
            filled += len(part)
            start += len(part)
            if start == len(self._buffers[number]):
                number, start = number + 1, 0
        return number, start


class _Nonces:
    """The nonces of one direction under one key: no two packets have the same (RFC 5647, section 7.1)."""

    def __init__(self, first: bytes) -> None:
        self._fixed = first[:4]
        self._counter = int.from_bytes(first[4:], "big")

    def take(self) -> bytes:
        nonce = self._fixed + self._counter.to_bytes(8, "big")
        self._counter += 1
        return nonce


class Packets(Packetizer):
    """The packets of one connection; any thread may send, and only paramiko's own thread reads."""

    def __init__(self, socket: Any) -> None:
        super().__init__(socket)
        self._socket = socket
        self._handshake_is_over = False
        self._sending = threading.Lock()
        self._sealer: AESGCM | None = None
        self._sealer_nonces = _Nonces(b"")
        self._bytes_sent = 0
        self._random = b""
        self._plain = memoryview(bytearray())
        self._sealed = memoryview(bytearray())
        self._opener: AESGCM | None = None
        self._opener_nonces = _Nonces(b"")
        self._bytes_read = 0
        self._messages_read = 0
        self._came = b""
        self._at = 0
        self._next: bytes | None = None
        self._wanted = threading.Event()
        self._wanted.set()

    def complete_handshake(self) -> None:
        """Stop the handshake's clock; the transport says so after every message, which costs as much as reading it."""
        if not self._handshake_is_over:
            super().complete_handshake()
            self._handshake_is_over = True

    # --- sending ---

    def set_outbound_cipher(self, block_engine: Any, *rest: Any, **more: Any) -> None:
        """Take the cipher of a key exchange. Raises SSHException when a later one is not an AEAD any more."""
        if self._sealer is not None and not more.get("aead"):
            raise SSHException("the server changed the kind of cipher while re-keying")
        super().set_outbound_cipher(block_engine, *rest, **more)
        if more.get("aead"):
            self._sealer, self._sealer_nonces, self._bytes_sent = block_engine, _Nonces(more["iv_out"]), 0

    def send_message(self, data: Any) -> None:
        """Send a message of paramiko's, or ChannelData. Raises EOFError when the connection is gone."""
        if self._sealer is None:
            for message in data.messages() if isinstance(data, ChannelData) else [data]:
                super().send_message(message)
            return
        with self._sending:
            if isinstance(data, ChannelData):
                sealed: Buffer = self._seal_data(self._sealer, data)
            else:
                sealed = self._seal_message(self._sealer, data.asbytes())
            self.write_all(sealed)
            self._bytes_sent += len(sealed)
            if self._bytes_sent >= self.REKEY_BYTES and not self.need_rekey():
                self._trigger_rekey()  # type: ignore[attr-defined]  # not in the stubs

    def _seal_message(self, sealer: AESGCM, payload: bytes) -> bytes:
        padding = _padding(1 + len(payload))
        length = _LENGTH.pack(1 + len(payload) + padding)
        plain = b"".join((bytes([padding]), payload, self._take_random(padding)))
        return length + sealer.encrypt(self._sealer_nonces.take(), plain, length)

    def _seal_data(self, sealer: AESGCM, data: ChannelData) -> memoryview:
        """Return the packets of a burst, in a buffer that the next burst takes again."""
        self._make_room(max(data.sizes), len(data.sizes))
        plain, sealed, end, place = self._plain, self._sealed, 0, (0, 0)
        for size in data.sizes:
            used = _HEAD.size + size
            padding = _padding(used)
            filled = used + padding
            _HEAD.pack_into(plain, 0, padding, _CHANNEL_DATA, data.channel, size)
            place = data.copy_into(plain[_HEAD.size : used], *place)
            plain[used:filled] = self._take_random(padding)
            length = _LENGTH.pack(filled)
            start = end + _LENGTH_BYTES
            sealed[end:start] = length
            end = start + filled + _TAG_BYTES
            sealer.encrypt_into(self._sealer_nonces.take(), plain[:filled], length, sealed[start:end])
        return sealed[:end]

    def _take_random(self, count: int) -> bytes:
        """Return random bytes of a supply: asking the system costs as much as all else of a packet."""
        if len(self._random) < count:
            self._random = os.urandom(_RANDOM_BYTES)
        taken, self._random = self._random[:count], self._random[count:]
        return taken

    def _make_room(self, size: int, count: int) -> None:
        largest = _HEAD.size + size + _MOST_PADDING
        if len(self._plain) < largest:
            self._plain = memoryview(bytearray(largest))
        if len(self._sealed) < count * (_LENGTH_BYTES + largest + _TAG_BYTES):
            self._sealed = memoryview(bytearray(count * (_LENGTH_BYTES + largest + _TAG_BYTES)))

    # --- reading ---

    def set_inbound_cipher(self, block_engine: Any, *rest: Any, **more: Any) -> None:
        """Take the cipher of a key exchange. Raises SSHException when a later one is not an AEAD any more."""
        if self._opener is not None and not more.get("aead"):
            raise SSHException("the server changed the kind of cipher while re-keying")
        super().set_inbound_cipher(block_engine, *rest, **more)
        if more.get("aead"):
            self._opener, self._opener_nonces, self._bytes_read = block_engine, _Nonces(more["iv_in"]), 0

    def reset_seqno_in(self) -> None:
        """Count messages from 0 again (strict key exchange)."""
        super().reset_seqno_in()
        self._messages_read = 0

    def read_message(self) -> tuple[int, Message]:
        """Return the next message and its kind. Raises SSHException for what is not a packet, EOFError, NeedRekeyException."""
        if self._opener is None:
            kind, message = super().read_message()
            self._messages_read = message.seqno + 1
            return kind, message
        payload, self._next = self._next or self._open(self._opener), None
        if payload[0] == _WINDOW_ADJUST:
            payload = self._sum_adjustments(self._opener, payload)
        message = Message(payload[1:])
        message.seqno = self._messages_read - 1
        return payload[0], message

    def read_at_once(self, wanted: bool) -> None:
        """Say whether somebody waits for what comes. While nobody does, it is gathered: each wake-up of the reader costs."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    def _open(self, opener: AESGCM) -> bytes:
        """Return the payload of the next packet."""
        length = self.read_all(_LENGTH_BYTES, check_rekey=True)
        (size,) = _LENGTH.unpack(length)
        if not _BLOCK_BYTES <= size <= _LARGEST_PACKET or size % _BLOCK_BYTES:
            raise SSHException("the server sent a packet of an impossible length")
        try:
            plain = opener.decrypt(self._opener_nonces.take(), self.read_all(size + _TAG_BYTES), length)
        except InvalidTag:
            raise SSHException("the server sent a packet that was changed on its way") from None
        if not _LEAST_PADDING <= plain[0] <= size - 2:
            raise SSHException("the server sent a packet without content")
        self._messages_read += 1
        self._bytes_read += _LENGTH_BYTES + size + _TAG_BYTES
        if self._bytes_read >= self.REKEY_BYTES:
            if not self.need_rekey():
                self._trigger_rekey()  # type: ignore[attr-defined]  # not in the stubs
            elif self._bytes_read >= self.REKEY_BYTES + self.REKEY_BYTES_OVERFLOW_MAX:
                raise SSHException("the server does not answer the request to change the keys")
        return plain[1 : size - plain[0]]

    def _sum_adjustments(self, opener: AESGCM, payload: bytes) -> bytes:
        """Take what has come of further WINDOW_ADJUSTs together: sshd sends one for three packets of ours."""
        if len(payload) != _ADJUST.size:
            return payload
        kind, channel, total = _ADJUST.unpack(payload)
        while self._next is None and self._has_packet():
            following = self._open(opener)
            if following[:5] == payload[:5] and len(following) == _ADJUST.size:
                total += _ADJUST.unpack(following)[2]
            else:
                self._next = following
        return _ADJUST.pack(kind, channel, min(total, 0xFFFFFFFF))

    def _has_packet(self) -> bool:
        left = len(self._came) - self._at
        return (
            left >= _LENGTH_BYTES and left - _LENGTH_BYTES - _TAG_BYTES >= _LENGTH.unpack_from(self._came, self._at)[0]
        )

    def readline(self, timeout: float) -> str:
        """Read a line of the server's greeting; what came after it stays for `read_all`."""
        end = time.monotonic() + timeout
        while b"\n" not in self._came:
            if time.monotonic() > end or len(self._came) > _READ_BYTES:
                raise TimeoutError
            self._receive(check_rekey=False)
        line, self._came = self._came.split(b"\n", 1)
        return line.removesuffix(b"\r").decode(errors="replace")

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Return `n` bytes, most of which have come with the packets before. Raises EOFError, NeedRekeyException."""
        while len(self._came) - self._at < n:
            self._receive(check_rekey)
        start, self._at = self._at, self._at + n
        return self._came[start : self._at]

    def _receive(self, check_rekey: bool) -> None:
        if self.handshake_timed_out():
            raise EOFError
        self._wanted.wait(_GATHER_SECONDS)
        try:
            came = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            if self.closed:
                raise EOFError from None
            if check_rekey and self._at == len(self._came) and self.need_rekey():
                raise NeedRekeyException from None
            return
        except OSError:
            if self.closed:
                raise EOFError from None
            raise
        if not came:
            raise EOFError
        self._came, self._at = self._came[self._at :] + came, 0


def _padding(length: int) -> int:
    """Return how many bytes of padding follow so many: to the block's end, and four at least."""
    padding = _BLOCK_BYTES - length % _BLOCK_BYTES
    return padding if padding >= _LEAST_PADDING else padding + _BLOCK_BYTES
