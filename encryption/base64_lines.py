"""Base64 in lines of 64 characters, as OpenPGP's armour, PEM and MIME have it, written in pieces."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Final

LINE_BYTES: Final = 48  # of data: 64 characters


class Lines:
    """Write base64 of what comes in pieces; each line ends with `end`."""

    def __init__(self, end: bytes = b"\n") -> None:
        self._end = end
        self._waiting = b""

    def update(self, piece: bytes) -> bytes:
        """Return the lines that are whole by now."""
        data = self._waiting + piece
        whole = len(data) - len(data) % LINE_BYTES
        self._waiting, data = data[whole:], data[:whole]
        if not data:
            return b""
        text = binascii.b2a_base64(data, newline=False)
        return self._end.join(struct.unpack("64s" * (len(text) // 64), text)) + self._end

    def finish(self) -> bytes:
        """Return the last line, if it is not whole."""
        return base64.b64encode(self._waiting) + self._end if self._waiting else b""
