"""How one partner wants files: temporary names, what may be overwritten, how delivery is proven, how hard to push.

Values only; validated once, then trusted. A partner's file is read into these very classes, so each rule is stated once.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from delivery.errors import Unusable


def _says(description: str) -> dict[str, str]:
    """Return what the JSON Schema of partner files says of a field."""
    return {"description": description}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryName:
    """Where a file lives until it is whole.

    `suffix`: name + text; `prefix`: text + name; `folder`: the folder `text` inside (or, with a leading /, beside) the
    feed's folder; `none`: the final name from the first byte, for partners that allow no rename: they must wait for the
    manifest or a marker. With `tagged` the start of the file's SHA-256 is part of the name, so what an earlier version
    of a file left behind is never continued.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    kind: Literal["suffix", "prefix", "folder", "none"] = field(
        default="suffix", metadata=_says("Where a file lives until it is whole: suffix, prefix, folder or none.")
    )
    text: str = field(default=".part", metadata=_says("The suffix, the prefix or the folder."))
    tagged: bool = field(default=True, metadata=_says("Put the start of the file's SHA-256 into the temporary name."))

    def __post_init__(self) -> None:
        if self.kind not in {"suffix", "prefix", "folder", "none"}:
            raise Unusable(f"unknown rule for temporary names: '{self.kind}'", hint="suffix, prefix, folder or none")
        if self.kind != "none" and not self.text.strip("/"):
            raise Unusable(f"the temporary {self.kind} is empty", hint="for example suffix '.part'")
        if self.kind in {"suffix", "prefix"} and "/" in self.text:
            raise Unusable(f"the temporary {self.kind} '{self.text}' holds a '/'", hint="use the rule 'folder'")

    def path(self, folder: str, name: str, sha256: str) -> str:
        """Return the temporary path of `name`, which is the final one under the rule `none`."""
        tag = f".{sha256[:12]}" if self.tagged and sha256 else ""
        if self.kind == "suffix":
            return posixpath.join(folder, f"{name}{tag}{self.text}")
        if self.kind == "prefix":
            return posixpath.join(folder, f"{self.text}{name}{tag}")
        if self.kind == "folder":
            return posixpath.join(folder, self.text, f"{name}{tag}")
        return posixpath.join(folder, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One partner's delivery rules.

    overwrite    what to do when another file has the final name: stop ("never") or put ours in its place ("replace")
    verify       before a file gets its final name: its size ("size"), or the hash of all of it ("hash"), computed by the
                 server where it offers check-file, else by reading it back
    confirm      look once more under the final name; False for servers that take files away at once
    permissions  mode bits to set, or None to leave them to the server
    marker       suffix of an empty file made beside each delivered one, or ""
    resume       continue a broken upload from what the server has acknowledged; False where it only takes whole files
    fsync        have the server write a file to its disk before the rename, where it offers that
    depth        small files in flight on one connection
    connections  connections that share one file of `split_bytes` and more (far servers); 1 = never split
    attempts     tries without progress before a transient fault is final
    deadline_seconds  for the whole delivery, waiting included; None = no limit
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    folder: str = field(default=".", metadata=_says("The folder; in a partner file it is each feed's own."))
    temporary: TemporaryName = field(
        default_factory=TemporaryName, metadata=_says("The temporary name of a file that is not whole.")
    )
    overwrite: Literal["never", "replace"] = field(
        default="never", metadata=_says("Another file has the final name: never overwrite it, or replace it.")
    )
    verify: Literal["size", "hash"] = field(
        default="size", metadata=_says("Before the final name: compare the size, or the hash of all of it.")
    )
    confirm: bool = field(default=True, metadata=_says("Look once more under the final name."))
    permissions: int | None = field(default=None, metadata=_says("Mode bits to set."))
    marker: str = field(default="", metadata=_says("The suffix of an empty file made beside each delivered one."))
    resume: bool = field(default=True, metadata=_says("Continue a broken upload."))
    fsync: bool = field(default=False, metadata=_says("Have the server write a file to its disk before the rename."))
    depth: int = field(default=64, metadata=_says("Small files in flight on one connection."))
    connections: int = field(default=1, metadata=_says("Connections that share one large file."))
    split_bytes: int = field(default=64 << 20, metadata=_says("Files of so many bytes are shared."))
    attempts: int = field(default=6, metadata=_says("Tries without progress before a fault is final."))
    backoff_seconds: float = field(default=1.0, metadata=_says("The pause after a fault; it grows."))
    deadline_seconds: float | None = field(default=None, metadata=_says("The longest time for a delivery, in seconds."))

    def __post_init__(self) -> None:
        if self.overwrite not in {"never", "replace"}:
            raise Unusable(f"unknown overwrite rule '{self.overwrite}'", hint="never or replace")
        if self.verify not in {"size", "hash"}:
            raise Unusable(f"unknown verify rule '{self.verify}'", hint="size or hash")
        if not 1 <= self.depth <= 256:
            raise Unusable(f"depth {self.depth} is out of range", hint="1 to 256 files in flight")
        if not 1 <= self.connections <= 16:
            raise Unusable(f"{self.connections} connections are out of range", hint="1 to 16; most servers allow 10")
        if self.connections > 1 and self.temporary.kind == "none":
            raise Unusable(
                "a file cannot be split while it is written under its final name",
                hint="set connections to 1, or a rule for temporary names",
            )
        if not 1 <= self.attempts <= 20:
            raise Unusable(f"{self.attempts} attempts are out of range", hint="1 to 20; 6 is usual")
        if not 0 <= self.backoff_seconds <= 600:
            raise Unusable(f"backoff_seconds {self.backoff_seconds:g} is out of range", hint="0 to 600")
        if self.deadline_seconds is not None and not 0 < self.deadline_seconds < float("inf"):
            raise Unusable(f"deadline_seconds {self.deadline_seconds:g} leaves no time", hint="at least 60, or none")
        if self.split_bytes < 1:
            raise Unusable(f"split_bytes {self.split_bytes} is out of range", hint="67108864 (64 MiB) is usual")
        if self.permissions is not None and not 0 <= self.permissions <= 0o7777:
            raise Unusable(f"permissions {self.permissions:o} are not a mode", hint="for example 0o640")
        if len(self.marker) > 32:
            raise Unusable("the marker is longer than 32 characters", hint="it is a suffix of the file's name")
        if "/" in self.marker:
            raise Unusable(f"the marker '{self.marker}' holds a '/'", hint="it is a suffix of the file's name")

    def final(self, name: str) -> str:
        return posixpath.join(self.folder, name)
