"""Small looks into a partner's folders: list one, fetch a small file, put one. The rest are stories for `Session.run`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from delivery import wire
from delivery.errors import FolderMissing, RemoteReadOnly, RemoteRefused
from delivery.session import Session, Step
from delivery.wire import Attributes, Data, Handle, Names, Reply, Status


def list_folder(path: str) -> Generator[Step, Any, dict[str, Attributes]]:
    """Names and attributes of what is in a folder, without . and .. ; raises FolderMissing or RemoteReadOnly."""
    (opened,) = yield [wire.open_folder(path)]
    if not isinstance(opened, Handle):
        raise refused(opened, f"cannot list {path}")
    entries: dict[str, Attributes] = {}
    while True:
        (reply,) = yield [wire.read_folder(opened.value)]
        if not isinstance(reply, Names):
            break
        entries.update(reply.entries)
    yield [wire.close(opened.value)]
    if isinstance(reply, Status) and reply.code != wire.EOF:
        raise refused(reply, f"cannot list {path}")
    return {name: attributes for name, attributes in entries.items() if name not in {".", ".."}}


def read_small(session: Session, path: str, most_bytes: int = 1 << 20) -> Generator[Step, Any, bytes]:
    """Return the content of a small file; of a bigger one only the first `most_bytes`."""
    (opened,) = yield [wire.open_file(path, wire.FOR_READING)]
    if not isinstance(opened, Handle):
        raise refused(opened, f"cannot read {path}")
    content = b""
    while len(content) < most_bytes:
        length = min(session.read_bytes, most_bytes - len(content))
        (reply,) = yield [wire.read(opened.value, len(content), length)]
        if not isinstance(reply, Data) or not reply.data:
            break
        content += reply.data
    yield [wire.close(opened.value)]
    if isinstance(reply, Status) and reply.code != wire.EOF:
        raise refused(reply, f"cannot read {path}")
    return content


def refused(reply: Reply, what: str) -> RemoteRefused:
    """Name the cause of a refusal as far as its code shows it."""
    code = reply.code if isinstance(reply, Status) else None
    if isinstance(reply, Status) and reply.is_missing:
        return FolderMissing(
            f"{what}: {reply}", hint="check the name, upper and lower case, and where the login starts"
        )
    if code == wire.PERMISSION_DENIED:
        return RemoteReadOnly(f"{what}: {reply}", hint="ask the partner for this right")
    return RemoteRefused(f"{what}: {reply}", hint="ask the partner what their server's log says")
