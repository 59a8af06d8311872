"""SFTP version 3 as bytes: requests are built, replies are parsed. No I/O, no state but the decoder's rest.

Keeps draft-ietf-secsh-filexfer-02 and OpenSSH's PROTOCOL for the extensions limits, posix-rename, fsync and statvfs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from delivery.errors import ProtocolViolation

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT = 1, 2, 3, 4, 5, 6, 7, 8
SETSTAT, FSETSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME = range(9, 19)
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, NO_CONNECTION, LOST, UNSUPPORTED = range(9)

FOR_READING, FOR_WRITING, CREATE, TRUNCATE, EXCLUSIVE = 0x01, 0x02, 0x08, 0x10, 0x20

_HAS_SIZE, _HAS_OWNER, _HAS_PERMISSIONS, _HAS_TIMES, _HAS_EXTENDED = 0x01, 0x02, 0x04, 0x08, 0x80000000
_MAXIMUM_REPLY = 1 << 20  # far above what any of our requests asks for: a larger length means we lost the frame

_NO_SUCH_PATH = 10

_TEXT = {
    OK: "ok",
    EOF: "end of file",
    NO_SUCH_FILE: "no such file",
    PERMISSION_DENIED: "permission denied",
    FAILURE: "failure",
    BAD_MESSAGE: "bad message",
    NO_CONNECTION: "no connection",
    LOST: "connection lost",
    UNSUPPORTED: "operation unsupported",
    _NO_SUCH_PATH: "no such folder",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its id, which the session gives: the kind and everything after the id."""

    kind: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Status:
    code: int
    message: str = ""

    @property
    def is_missing(self) -> bool:
        """Nothing has that name; some servers of version 3 use the code of version 4 for a missing folder."""
        return self.code in {NO_SUCH_FILE, _NO_SUCH_PATH}

    def __str__(self) -> str:
        """Put the meaning of the code first, then the server's own words where they add something."""
        text = _TEXT.get(self.code, f"status {self.code}")
        # Somebody else's words end up in our logs: one line, printable, short.
        words = "".join(letter if letter.isprintable() else " " for letter in self.message[:200]).strip()
        return text if not words or words.lower() == text else f"{text} ({words})"


@dataclass(frozen=True, slots=True)
class Handle:
    value: bytes


@dataclass(frozen=True, slots=True)
class Data:
    data: bytes


@dataclass(frozen=True, slots=True)
class Attributes:
    size: int | None = None
    permissions: int | None = None
    modified: int | None = None

    @property
    def is_folder(self) -> bool:
        return self.permissions is not None and self.permissions & 0o170000 == 0o040000


@dataclass(frozen=True, slots=True)
class Names:
    entries: tuple[tuple[str, Attributes], ...]


@dataclass(frozen=True, slots=True)
class Extended:
    data: bytes


Reply = Status | Handle | Data | Attributes | Names | Extended


def text(value: str) -> bytes:
    """Return a text as SFTP sends it."""
    return blob(value.encode(errors="surrogateescape"))  # a name that the server has listed goes back as it came


def blob(value: bytes) -> bytes:
    """Return bytes with their length before them."""
    return struct.pack(">I", len(value)) + value


def packet(request: Request, number: int) -> bytes:
    """Return a request as it travels: length, type, number, body."""
    return struct.pack(">IBI", len(request.body) + 5, request.kind, number) + request.body


def hello() -> bytes:
    """Return the packet that asks for version 3."""
    return struct.pack(">IBI", 5, INIT, 3)


def open_file(path: str, flags: int, permissions: int | None = None) -> Request:
    """Ask for a handle to a file."""
    attributes = struct.pack(">I", 0)
    if permissions is not None:
        attributes = struct.pack(">II", _HAS_PERMISSIONS, permissions)
    return Request(OPEN, text(path) + struct.pack(">I", flags) + attributes)


def close(handle: bytes) -> Request:
    """Ask to give a handle back."""
    return Request(CLOSE, blob(handle))


def read(handle: bytes, offset: int, length: int) -> Request:
    """Ask for a range of a file."""
    return Request(READ, blob(handle) + struct.pack(">QI", offset, length))


def write_head(number: int, handle: bytes, offset: int, length: int) -> bytes:
    """Everything of a WRITE packet but the data, which is not copied here."""
    rest = blob(handle) + struct.pack(">QI", offset, length)
    return struct.pack(">IBI", 5 + len(rest) + length, WRITE, number) + rest


def write_overhead(handle: bytes) -> int:
    """Return how many bytes a write adds to its data."""
    return 9 + 4 + len(handle) + 12


def stat(path: str) -> Request:
    """Ask for the attributes of a path; links are followed."""
    return Request(STAT, text(path))


def fstat(handle: bytes) -> Request:
    """Ask for the attributes of an open file."""
    return Request(FSTAT, blob(handle))


def set_permissions(handle: bytes, permissions: int) -> Request:
    """Ask to set the mode bits of an open file."""
    return Request(FSETSTAT, blob(handle) + struct.pack(">II", _HAS_PERMISSIONS, permissions))


def rename(old: str, new: str) -> Request:
    """Ask to rename; version 3 refuses a name that is taken."""
    return Request(RENAME, text(old) + text(new))


def posix_rename(old: str, new: str) -> Request:
    """Ask to rename over what has the name (OpenSSH's extension)."""
    return Request(EXTENDED, text("posix-rename@openssh.com") + text(old) + text(new))


def fsync(handle: bytes) -> Request:
    """Ask to write an open file to the server's disk (OpenSSH's extension)."""
    return Request(EXTENDED, text("fsync@openssh.com") + blob(handle))


def statvfs(path: str) -> Request:
    """Ask for the space of a file system (OpenSSH's extension)."""
    return Request(EXTENDED, text("statvfs@openssh.com") + text(path))


def check_file(path: str) -> Request:
    """Ask for the SHA-256 of all of a file (draft-ietf-secsh-filexfer-extensions-00, section 3)."""
    return Request(EXTENDED, text("check-file-name") + text(path) + text("sha256") + struct.pack(">QQI", 0, 0, 0))


def parse_check_file(reply: Extended) -> str | None:
    """Return the hash in hex; None when the answer is about something else. Some servers name the extension first."""
    try:
        cursor = _Cursor(reply.data, 0)
        algorithm = cursor.text()
        if algorithm == "check-file":
            algorithm = cursor.text()
        digest = cursor.rest()
    except struct.error:
        return None
    return digest.hex() if algorithm in {"sha256", "sha-256"} and len(digest) == 32 else None


def limits() -> Request:
    """Ask for the server's limits (OpenSSH's extension)."""
    return Request(EXTENDED, text("limits@openssh.com"))


def remove(path: str) -> Request:
    """Ask to delete a file."""
    return Request(REMOVE, text(path))


def real_path(path: str) -> Request:
    """Ask for the absolute form of a path."""
    return Request(REALPATH, text(path))


def open_folder(path: str) -> Request:
    """Ask for a handle to a folder."""
    return Request(OPENDIR, text(path))


def read_folder(handle: bytes) -> Request:
    """Ask for the next entries of a folder."""
    return Request(READDIR, blob(handle))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What limits@openssh.com answers; 0 means the server names no limit."""

    packet_bytes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    open_handles: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What statvfs@openssh.com answers, as far as a delivery asks."""

    total_bytes: int
    free_bytes: int
    read_only: bool


def parse_limits(reply: Extended) -> Limits:
    """Return the server's limits; 0 says that there is none."""
    packet_bytes, read_bytes, write_bytes, handles = struct.unpack_from(">QQQQ", reply.data)
    return Limits(packet_bytes=packet_bytes, read_bytes=read_bytes, write_bytes=write_bytes, open_handles=handles)


def parse_space(reply: Extended) -> Space:
    """Return the space of a file system."""
    _, fragment, blocks, _, available, _, _, _, _, flags, _ = struct.unpack_from(">11Q", reply.data)
    return Space(total_bytes=blocks * fragment, free_bytes=available * fragment, read_only=bool(flags & 1))


def parse_version(payload: bytes) -> dict[str, bytes]:
    """Return the server's extensions; refuse what is not a VERSION packet of 3 or more."""
    if not payload or payload[0] != VERSION or len(payload) < 5:
        raise ProtocolViolation("the server does not speak SFTP", hint="is the account allowed SFTP, not only a shell?")
    (version,) = struct.unpack_from(">I", payload, 1)
    if version < 3:
        raise ProtocolViolation(f"the server speaks SFTP version {version}", hint="version 3 is needed")
    cursor = _Cursor(payload, 5)
    found: dict[str, bytes] = {}
    try:
        while cursor.left:
            name = cursor.text()
            found[name] = cursor.blob()
    except struct.error as error:
        raise ProtocolViolation("the server's greeting is malformed") from error
    return found


class Decoder:
    """Cuts a stream into packets: feed bytes as they come, get whole payloads back."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._rest += data
        packets = []
        start = 0
        while len(self._rest) - start >= 4:
            (length,) = struct.unpack_from(">I", self._rest, start)
            if not 1 <= length <= _MAXIMUM_REPLY:
                raise ProtocolViolation(
                    f"the server sent a packet of {length} bytes where SFTP was expected",
                    hint="often a login banner or a shell start-up file that prints text",
                )
            if len(self._rest) - start - 4 < length:
                break
            packets.append(bytes(self._rest[start + 4 : start + 4 + length]))
            start += 4 + length
        del self._rest[:start]
        return packets


def parse_reply(payload: bytes) -> tuple[int, Reply]:
    """Return the request's number and the reply."""
    try:
        cursor = _Cursor(payload, 1)
        number = cursor.u32()
        return number, _parse_body(payload[0], cursor)
    except struct.error as error:
        raise ProtocolViolation(f"the server sent a malformed packet of kind {payload[0]}") from error


def _parse_body(kind: int, cursor: _Cursor) -> Reply:
    if kind == STATUS:
        code = cursor.u32()
        return Status(code, cursor.blob().decode(errors="replace") if cursor.left >= 4 else "")
    if kind == HANDLE:
        return Handle(cursor.blob())
    if kind == DATA:
        return Data(cursor.blob())
    if kind == ATTRS:
        return cursor.attributes()
    if kind == EXTENDED_REPLY:
        return Extended(cursor.rest())
    if kind == NAME:
        entries = []
        for _ in range(cursor.u32()):
            name = cursor.text()
            cursor.blob()  # the line `ls -l` would print: for people
            entries.append((name, cursor.attributes()))
        return Names(tuple(entries))
    raise ProtocolViolation(f"the server sent a packet of unknown kind {kind}")


class _Cursor:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def u32(self) -> int:
        (value,) = struct.unpack_from(">I", self._data, self._at)
        self._at += 4
        return int(value)

    def u64(self) -> int:
        (value,) = struct.unpack_from(">Q", self._data, self._at)
        self._at += 8
        return int(value)

    def blob(self) -> bytes:
        length = self.u32()
        if length > self.left:
            raise struct.error("string longer than its packet")
        self._at += length
        return self._data[self._at - length : self._at]

    def text(self) -> str:
        return self.blob().decode(errors="surrogateescape")

    def rest(self) -> bytes:
        return self._data[self._at :]

    def attributes(self) -> Attributes:
        flags = self.u32()
        size = self.u64() if flags & _HAS_SIZE else None
        if flags & _HAS_OWNER:
            self.u64()
        permissions = self.u32() if flags & _HAS_PERMISSIONS else None
        modified = None
        if flags & _HAS_TIMES:
            self.u32()
            modified = self.u32()
        if flags & _HAS_EXTENDED:
            for _ in range(self.u32()):
                self.blob()
                self.blob()
        return Attributes(size, permissions, modified)
