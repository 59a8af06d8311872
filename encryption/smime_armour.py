"""The text around an S/MIME file: none, PEM, or a MIME message (RFC 7468, RFC 8551; docs/FORMAT.md, section 18)."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from encryption.base64_lines import Lines
from encryption.errors import MalformedHeader

ArmourKind = Literal["none", "pem", "mime"]
ARMOURS: Final[tuple[str, ...]] = get_args(ArmourKind)
_LINE: Final = 64
_LINES_AT_ONCE: Final = 1024


@dataclass(frozen=True, slots=True)
class _Frame:
    """What stands before and after the lines, and how each of them ends."""

    head: bytes
    tail: bytes
    end: bytes


_FRAMES: Final = {
    "pem": _Frame(b"-----BEGIN CMS-----\n", b"-----END CMS-----\n", b"\n"),
    "mime": _Frame(
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\r\n'
        b"Content-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="smime.p7m"\r\n\r\n',
        b"",
        b"\r\n",
    ),
}


class _Bare:
    def update(self, piece: bytes) -> bytes:
        return piece

    def finish(self) -> bytes:
        return b""


class _Armour:
    """Write the text around bytes that come in pieces."""

    def __init__(self, frame: _Frame) -> None:
        self._head, self._tail = frame.head, frame.tail
        self._lines = Lines(frame.end)

    def update(self, piece: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + self._lines.update(piece)

    def finish(self) -> bytes:
        return self._lines.finish() + self._tail


def armour(kind: ArmourKind) -> _Bare | _Armour:
    """Return what writes a kind of armour: `update` for each piece, then `finish`."""
    return _Bare() if kind == "none" else _Armour(_FRAMES[kind])


class Unarmoured:
    """The bytes inside a file of known size, whatever its armour; `read(n)` returns n bytes, or fewer at the end.

    `file_bytes` is how many there are at most: up to two more than in truth, when there is armour.
    """

    def __init__(self, read: Callable[[int], bytes], sealed_bytes: int) -> None:
        self._source = read
        self._ready = b""
        start = read(1)
        self.kind: ArmourKind = {b"-": "pem", b"M": "mime"}.get(start, "none")  # type: ignore[assignment]  # mypy sees str
        if self.kind == "none":
            self._ready, self.file_bytes = start, sealed_bytes
            return
        frame = self._frame = _FRAMES[self.kind]
        if start + read(len(frame.head) - 1) != frame.head:
            raise MalformedHeader("this is not S/MIME as Sealift writes it: its armour begins with other lines")
        self._left = sealed_bytes - len(frame.head) - len(frame.tail)
        lines = -(-self._left // (_LINE + len(frame.end)))
        self.file_bytes = (self._left - lines * len(frame.end)) // 4 * 3

    def read(self, count: int) -> bytes:
        """Return the next bytes. Raises MalformedHeader where the armour is not base64 in lines."""
        if self.kind == "none":
            first, self._ready = self._ready, b""
            return first + self._source(count - len(first)) if count else b""
        parts = [self._ready]
        while sum(map(len, parts)) < count and (more := self._decode()):
            parts.append(more)
        data = b"".join(parts)
        self._ready = data[count:]
        return data[:count]

    def _decode(self) -> bytes:
        wanted = min(self._left, _LINES_AT_ONCE * (_LINE + len(self._frame.end)))
        if wanted <= 0:
            return b""
        text = self._source(wanted)
        self._left -= len(text)
        is_last = not self._left
        lines = text.split(self._frame.end)
        sound = len(text) == wanted and lines.pop() == b"" and all(len(line) == _LINE for line in lines[:-1])
        if is_last and self._frame.tail and self._source(len(self._frame.tail) + 1) != self._frame.tail:
            sound = False
        try:
            data = binascii.a2b_base64(b"".join(lines), strict_mode=True)
            sound = sound and binascii.b2a_base64(data, newline=False) == b"".join(lines)  # no bit set beside the bytes
        except binascii.Error:
            sound = False
        if not sound or not (is_last or len(lines[-1]) == _LINE):
            raise MalformedHeader("the armour of the S/MIME file is not base64 in lines of 64 characters")
        return data
