"""The partner's SFTP server as a process of its own: `python -m local.sftp_server FOLDER`.

asyncssh serves `FOLDER/files` as its root (a virtual chroot: links are refused, so nothing leads out of it). It reads
`server.json` once; `authorized_keys` at each login and `faults.json` whenever that file changes, so that a test can
change both while it runs. Every operation becomes one JSON line in `operations.jsonl`; contents of files never do.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import asyncssh
from asyncssh import SFTPAttrs

T = TypeVar("T")
WRITES = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_TRUNC | asyncssh.FXF_APPEND


class Faults:
    """The faults in force, read again when their file changes; the counts start anew with each change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = (0, 0)
        self._values: dict[str, Any] = {}
        self.written_bytes = 0
        self.drops = 0

    def get(self, name: str) -> Any:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        if self._stamp != (found.st_mtime_ns, found.st_ino):
            self._stamp = (found.st_mtime_ns, found.st_ino)
            self._values = json.loads(self._path.read_text())
            self.written_bytes = self.drops = 0
        return self._values.get(name)

    def forget(self, name: str) -> None:
        self._values[name] = None


class Site:
    """What all connections share: the folders, the log and the faults."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = json.loads((folder / "server.json").read_text())
        self.faults = Faults(folder / "faults.json")
        self._log = (folder / "operations.jsonl").open("a", buffering=1)

    def record(self, operation: str, path: bytes | str, status: str = "ok", **more: Any) -> None:
        name = path.decode("utf-8", "replace") if isinstance(path, bytes) else path
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._log.write(
            json.dumps({"time": when, "operation": operation, "path": name, "status": status} | more) + "\n"
        )


class Login(asyncssh.SSHServer):
    def __init__(self, site: Site) -> None:
        self._site = site

    def begin_auth(self, username: str) -> bool:
        self._user = username
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        known: bool = username == self._site.settings["user"] and key.public_data in self._known_keys()
        # asyncssh asks twice per login, before and after the signature; an accepted key is logged by auth_completed.
        if not known:
            self._site.record("login", "", "refused", user=username, method="publickey")
        return known

    def _known_keys(self) -> list[bytes]:
        lines = (self._site.folder / "authorized_keys").read_text().splitlines()
        return [asyncssh.import_public_key(line).public_data for line in lines if line.strip()]

    def password_auth_supported(self) -> bool:
        return self._site.settings["password"] is not None

    def validate_password(self, username: str, password: str) -> bool:
        good: bool = username == self._site.settings["user"] and password == self._site.settings["password"]
        if not good:
            self._site.record("login", "", "refused", user=username, method="password")
        return good

    def auth_completed(self) -> None:
        self._site.record("login", "", user=self._user)


class Files(asyncssh.SFTPServer):
    """asyncssh's own file operations, each logged, some spoiled."""

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes], site: Site) -> None:
        super().__init__(chan, chroot=os.fsencode(site.folder / "files"))
        self._site = site
        self._faults = site.faults
        self._open: dict[int, tuple[bytes, int]] = {}

    def _log(self, operation: str, path: bytes, do: Callable[[], T], **more: Any) -> T:
        try:
            result = do()
        except (asyncssh.SFTPError, OSError) as error:
            self._site.record(operation, path, f"{type(error).__name__}: {error}", **more)
            raise
        self._site.record(operation, path, **more)
        return result

    def _refuse_if_read_only(self) -> None:
        if self._faults.get("read_only"):
            raise asyncssh.SFTPPermissionDenied("Permission denied")

    def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> object:
        writes = bool(pflags & WRITES)

        def do() -> object:
            if writes:
                self._refuse_if_read_only()
            return super(Files, self).open(path, pflags, attrs)

        file = self._log("open", path, do, writes=writes)
        self._open[id(file)] = (path, 0)
        return file

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        path, written = self._open[id(file_obj)]
        await self._spoil_write(offset, len(data))
        file = cast(BinaryIO, file_obj)
        file.seek(offset)
        done = file.write(data)
        self._faults.written_bytes += done
        self._open[id(file_obj)] = (path, written + done)
        return done

    async def _spoil_write(self, offset: int, size: int) -> None:
        faults = self._faults
        at = faults.get("fail_write_at")
        if at is not None and offset <= at < offset + size:
            faults.forget("fail_write_at")
            raise asyncssh.SFTPFailure("Failure")
        after = faults.written_bytes + size
        if (limit := faults.get("full_after_bytes")) is not None and after > limit:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if (limit := faults.get("stall_after_bytes")) is not None and after > limit:
            await asyncio.get_running_loop().create_future()
        limit, drops = faults.get("drop_after_bytes"), faults.get("drops")
        if limit is not None and after > limit and (drops is None or faults.drops < drops):
            faults.drops += 1
            faults.written_bytes = 0
            self._site.record("drop", "")
            self.connection.abort()
            await asyncio.get_running_loop().create_future()

    def close(self, file_obj: object) -> None:
        path, written = self._open.pop(id(file_obj), (b"", 0))
        self._log("close", path, lambda: super(Files, self).close(file_obj), written_bytes=written)

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        def do() -> None:
            if self._faults.get("refuse_rename"):
                raise asyncssh.SFTPPermissionDenied("Permission denied")
            super(Files, self).rename(oldpath, newpath)

        self._rename("rename", oldpath, newpath, do)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        def do() -> None:
            if self._faults.get("refuse_rename") or not self._site.settings["posix_rename"]:
                raise asyncssh.SFTPPermissionDenied("Permission denied")
            super(Files, self).posix_rename(oldpath, newpath)

        self._rename("posix_rename", oldpath, newpath, do)

    def _rename(self, operation: str, old: bytes, new: bytes, do: Callable[[], None]) -> None:
        def checked() -> None:
            self._refuse_if_read_only()
            do()

        self._log(operation, old, checked, to=new.decode("utf-8", "replace"))
        if self._faults.get("sweep"):
            # As a partner's own job does that takes files away the moment they appear.
            swept = self._site.folder / "swept"
            swept.mkdir(exist_ok=True)
            taken = Path(os.fsdecode(self.map_path(new)))
            taken.replace(swept / f"{time.time_ns()}-{taken.name}")
            self._site.record("sweep", new)
        if self._faults.get("rename_answers_error"):
            self._faults.forget("rename_answers_error")
            raise asyncssh.SFTPFailure("Failure")

    def remove(self, path: bytes) -> None:
        def do() -> None:
            self._refuse_if_read_only()
            super(Files, self).remove(path)

        self._log("remove", path, do)

    def mkdir(self, path: bytes, attrs: SFTPAttrs) -> None:
        def do() -> None:
            self._refuse_if_read_only()
            super(Files, self).mkdir(path, attrs)

        self._log("mkdir", path, do)

    def rmdir(self, path: bytes) -> None:
        def do() -> None:
            self._refuse_if_read_only()
            super(Files, self).rmdir(path)

        self._log("rmdir", path, do)

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:  # noqa: ARG002 - the base class's signature
        raise asyncssh.SFTPOpUnsupported("links are not offered")

    def link(self, oldpath: bytes, newpath: bytes) -> None:  # noqa: ARG002 - the base class's signature
        raise asyncssh.SFTPOpUnsupported("links are not offered")


async def serve(folder: Path) -> None:
    site = Site(folder)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncssh.listen(
        "127.0.0.1",
        site.settings["port"],
        server_factory=lambda: Login(site),
        server_host_keys=[str(folder / "host_key")],
        sftp_factory=lambda chan: Files(chan, site),
        allow_scp=False,
        agent_forwarding=False,
        x11_forwarding=False,
        encoding=None,
    )
    print(json.dumps({"port": server.get_port()}), flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
