"""The header of a native sealed file: magic, version, length, canonical JSON (docs/FORMAT.md, section 5).

`context` ties the body to every byte of the header, so nothing here needs a MAC of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from encryption import canonical
from encryption.errors import InvalidValue, MalformedHeader
from encryption.wrapping import WrappedKey, read_recipients

MAGIC: Final = b"SEALIFT"
VERSION: Final = 1
PREFIX_BYTES: Final = 12
MAX_HEADER_BYTES: Final = 65_536
MAX_PLAINTEXT_BYTES: Final = 2**52
BODY: Final = "cobblestone-256"
TYPE: Final = "sealift-file"

_MEMBERS: Final = frozenset({"batch", "body", "created", "name", "plaintext_bytes", "recipients", "type", "version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """What is known of a plaintext before its first byte; `plaintext_bytes` is a promise that sealing checks."""

    batch: str
    name: str
    plaintext_bytes: int
    created: datetime

    def __post_init__(self) -> None:
        canonical.text(self.batch, canonical.BATCH, "batch")
        canonical.text(self.name, canonical.NAME, "name")
        canonical.integer(self.plaintext_bytes, "plaintext_bytes", largest=MAX_PLAINTEXT_BYTES)
        object.__setattr__(self, "created", canonical.whole_seconds(self.created, "created"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A native file's header: the file and who can open it."""

    file: FileInfo
    recipients: tuple[WrappedKey, ...]

    def to_bytes(self) -> bytes:
        """Return everything that stands before the body."""
        document: dict[str, Any] = {
            "batch": self.file.batch,
            "body": BODY,
            "created": canonical.write_time(self.file.created),
            "name": self.file.name,
            "plaintext_bytes": self.file.plaintext_bytes,
            "recipients": [each.to_json() for each in self.recipients],
            "type": TYPE,
            "version": VERSION,
        }
        encoded = canonical.write(document)
        assert len(encoded) <= MAX_HEADER_BYTES, "8 recipients of 8192 bits fit by far"
        return MAGIC + bytes([VERSION]) + len(encoded).to_bytes(4, "big") + encoded


def header_bytes(prefix: bytes) -> int:
    """Return how many bytes of JSON follow the 12 bytes of the prefix, or raise MalformedHeader."""
    if len(prefix) < PREFIX_BYTES or prefix[: len(MAGIC)] != MAGIC:
        raise MalformedHeader("this is not a sealed file in the native format: it does not begin with SEALIFT")
    if prefix[len(MAGIC)] != VERSION:
        raise MalformedHeader(
            f"the file has version {prefix[len(MAGIC)]} of the format; this program reads version {VERSION}",
            hint="a newer Sealift wrote it: update the opener",
        )
    length = int.from_bytes(prefix[8:PREFIX_BYTES], "big")
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise MalformedHeader(f"the header claims {length:,} bytes; 2 to {MAX_HEADER_BYTES:,} are allowed")
    return length


def parse_header(encoded: bytes) -> Header:
    """Read the JSON of a header strictly."""
    try:
        found = canonical.members(canonical.parse(encoded, max_bytes=MAX_HEADER_BYTES), _MEMBERS, "it")
        canonical.constant(found["type"], TYPE, "type")
        canonical.constant(found["version"], VERSION, "version")
        canonical.constant(found["body"], BODY, "body")
        file = FileInfo(
            batch=found["batch"],
            name=found["name"],
            plaintext_bytes=found["plaintext_bytes"],
            created=canonical.read_time(found["created"], "created"),
        )
        return Header(file=file, recipients=read_recipients(found["recipients"], "recipients"))
    except InvalidValue as error:
        raise MalformedHeader(f"the header is malformed: {error}") from error


def context(header: bytes) -> bytes:
    """Return what the body's keys are derived with: SHA-256 over all bytes before the body."""
    return hashlib.sha256(header).digest()
