"""`./sealift partner check`: takes each step that a delivery takes, one by one, and says in words what works.

It leaves nothing behind: its probe files carry temporary names only, so that no partner's job mistakes one for a
delivery, and they are removed. What it does not do: change settings, or trust a host key because the server shows it.
"""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import secrets
import socket
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import paramiko

from delivery import wire
from delivery.connection import Connection, log_in, negotiate, open_socket, shown_host_key
from delivery.deliver import deliver
from delivery.errors import DeliveryError, HostKeyMismatch, RemoteRefused
from delivery.folders import list_folder, read_small, refused
from delivery.keys import describe_private_key, load_private_key, parse_host_key
from delivery.policy import Policy
from delivery.session import Session, Step
from delivery.settings import ConnectionSettings
from delivery.source import Source
from delivery.upload import space
from delivery.wire import Handle, Names, Status

T = TypeVar("T")
Mark = Literal["ok", "note", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report: what was tried, how it went, and what to do about it."""

    step: str
    mark: Mark
    text: str
    hint: str = ""
    seconds: float = 0.0


def check_server(settings: ConnectionSettings, policy: Policy, *, send: Source | None = None) -> Iterator[Finding]:
    """Yield findings as they are made; after a step that everything else needs has failed, nothing more is tried.

    `send` is delivered as a real file at the end, under its final name: only after the partner has agreed.
    """
    yield from _pins_and_key(settings)
    try:
        yield _timed("name", lambda: _resolve(settings))
        yield _timed("port", lambda: _reach(settings))
        yield _timed("host key", lambda: _compare(settings))
        began = time.monotonic()
        sock, transport, methods = log_in(settings)
        seconds = time.monotonic() - began
        yield Finding(step="login", mark="ok", text=f"'{settings.user}' by {' and '.join(methods)}", seconds=seconds)
    except _Failed as failed:
        yield failed.finding
        return
    except DeliveryError as error:
        yield Finding(step="login", mark="failed", text=str(error), hint=error.hint)
        return
    with Connection(sock, transport, settings) as connection:
        try:
            session = connection.open_session()
        except DeliveryError as error:
            yield Finding(step="sftp", mark="failed", text=str(error), hint=error.hint)
            return
        yield _about(connection, session)
        fine = True
        for finding in _in_the_folder(session, policy):
            fine = fine and finding.mark != "failed"
            yield finding
    if send is not None and fine:
        yield _send(settings, policy, send)
    elif send is not None:
        yield Finding(step="delivery", mark="skipped", text="no test file is sent after a failed step")


def _pins_and_key(settings: ConnectionSettings) -> Iterator[Finding]:
    for line in settings.host_keys:
        pin = parse_host_key(line)
        yield Finding(step="pin", mark="ok", text=f"{pin.algorithm} {pin.bits} {pin.sha256}")
    if settings.private_key is not None:
        try:
            key = load_private_key(settings.private_key, settings.passphrase)
        except DeliveryError as error:
            yield Finding(step="our key", mark="failed", text=str(error), hint=error.hint)
            return
        short = isinstance(key, paramiko.RSAKey) and key.get_bits() < 3072
        yield Finding(
            step="our key",
            mark="note" if short else "ok",
            text=describe_private_key(key),
            hint="make one of 4096 bits: ssh-keygen -t rsa -b 4096 -m PEM" if short else "",
        )


class _Failed(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding


def _timed(step: str, do: Callable[[], str]) -> Finding:
    began = time.monotonic()
    try:
        text = do()
    except DeliveryError as error:
        seconds = time.monotonic() - began
        finding = Finding(step=step, mark="failed", text=str(error), hint=error.hint, seconds=seconds)
        raise _Failed(finding) from error
    return Finding(step=step, mark="ok", text=text, seconds=time.monotonic() - began)


def _resolve(settings: ConnectionSettings) -> str:
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        open_socket(settings).close()  # fails in the words of a delivery
        raise
    addresses = dict.fromkeys(str(address[4][0]) for address in found)
    return f"{settings.host} is {', '.join(addresses)}"


def _reach(settings: ConnectionSettings) -> str:
    with open_socket(settings) as sock:
        ours = sock.getsockname()[0]
    return f"port {settings.port} answers (our address here: {ours})"


def _compare(settings: ConnectionSettings) -> str:
    sock = open_socket(settings)
    try:
        transport = negotiate(sock, settings)
    except HostKeyMismatch as error:
        with contextlib.suppress(OSError, paramiko.SSHException, EOFError, DeliveryError):
            shown = shown_host_key(settings.host, settings.port)
            error.hint += f"; it shows now: {shown.line} ({shown.sha256})"
        raise
    try:
        key = transport.get_remote_server_key()
        strict = "" if getattr(transport, "agreed_on_strict_kex", False) else ", without strict key exchange (Terrapin)"
        return f"{key.get_name()} {key.fingerprint} is pinned; {transport.local_cipher}{strict}"
    finally:
        transport.close()
        sock.close()


def _about(connection: Connection, session: Session) -> Finding:
    trip = _seconds(session, wire.real_path("."))
    offers = [name.split("@")[0] for name in session.extensions if "@" in name]
    server = connection.transport.remote_version.removeprefix("SSH-2.0-")
    text = f"{server}; a round trip takes {1000 * trip:.0f} ms; writes of {session.write_bytes:,} bytes"
    far = trip > 0.015
    return Finding(
        step="sftp",
        mark="ok",
        text=f"{text}; offers {', '.join(sorted(offers)) or 'no extensions'}",
        hint="far away: big files go faster with `connections: 4` or more" if far else "",
        seconds=trip,
    )


def _in_the_folder(session: Session, policy: Policy) -> Iterator[Finding]:
    yield _try(session, "folder", _look(policy.folder))
    yield _try(session, "space", _free(session, policy.folder))
    tag = secrets.token_hex(4)
    data = f"sealift check {tag}: this file may be deleted\n".encode()
    first, second = (_probe_path(policy, f"sealift-check-{tag}-{number}") for number in (1, 2))
    wrote = _try(session, "write", _put(first, data, policy))
    yield wrote
    if wrote.mark == "failed":
        return
    yield _try(session, "read", _read(session, first, data))
    renamed = _try(session, "rename", _rename(first, second))
    if renamed.mark == "failed" and policy.temporary.kind == "none":
        renamed = Finding(step="rename", mark="note", text=f"{renamed.text}; not needed: `temporary` is none")
    yield renamed
    yield _try(session, "overwrite", _overwrite(first, second, data, policy))
    yield _try(session, "delete", _delete(first, second))


def _probe_path(policy: Policy, name: str) -> str:
    if policy.temporary.kind == "none":
        return posixpath.join(policy.folder, f".{name}.part")
    return policy.temporary.path(policy.folder, name, hashlib.sha256(name.encode()).hexdigest())


def _try(session: Session, step: str, story: Generator[Step, Any, tuple[Mark, str, str]]) -> Finding:
    began = time.monotonic()
    try:
        mark, text, hint = session.run(story)
    except DeliveryError as error:
        mark, text, hint = "failed", str(error), error.hint
    return Finding(step=step, mark=mark, text=text, hint=hint, seconds=time.monotonic() - began)


Told = Generator[Step, Any, tuple[Mark, str, str]]


def _look(folder: str) -> Told:
    (reply,) = yield [wire.real_path(folder)]
    path = reply.entries[0][0] if isinstance(reply, Names) and reply.entries else folder
    try:
        entries = yield from list_folder(folder)
    except RemoteRefused as error:
        (found,) = yield [wire.stat(folder)]
        if isinstance(found, Status):
            raise
        return "note", f"{path} is there, but may not be listed: {error}", "deliveries work without; answers do not"
    return "ok", f"{path} holds {len(entries)} entries", ""


def _free(session: Session, folder: str) -> Told:
    found = yield from space(session, folder)
    if found is None:
        return (
            "note",
            "the server does not report free space",
            "ask the partner for the largest file they take",
        )
    if found.read_only:
        return "failed", "the file system is mounted read-only", "ask the partner"
    return "ok", f"{found.free_bytes / 1e9:,.1f} GB of {found.total_bytes / 1e9:,.1f} GB are free", ""


def _put(path: str, data: bytes, policy: Policy) -> Told:
    (opened,) = yield [wire.open_file(path, wire.FOR_WRITING | wire.CREATE | wire.TRUNCATE, policy.permissions)]
    if not isinstance(opened, Handle):
        raise refused(opened, f"cannot create {path}")
    written, seen = yield [
        wire.Request(wire.WRITE, wire.blob(opened.value) + bytes(8) + wire.blob(data)),
        wire.fstat(opened.value),
    ]
    (closed,) = yield [wire.close(opened.value)]
    for reply in (written, closed):
        if not isinstance(reply, Status) or reply.code != wire.OK:
            raise refused(reply, f"cannot write {path}")
    if isinstance(seen, Status):
        return "note", f"{path} was written; its size cannot be asked while it is open", ""
    return "ok", f"{path} was written", ""


def _read(session: Session, path: str, data: bytes) -> Told:
    try:
        found = yield from read_small(session, path)
    except RemoteRefused as error:
        return "note", f"{error}; verification is by size only", "`verify: hash` will not work here"
    if found != data:
        return "failed", f"{path} reads back as other bytes than were written", "the server changes files: text mode?"
    return "ok", "what was written reads back the same", ""


def _rename(old: str, new: str) -> Told:
    (reply,) = yield [wire.rename(old, new)]
    if isinstance(reply, Status) and reply.code == wire.OK:
        return "ok", "a file may be renamed", ""
    (seen,) = yield [wire.stat(new)]
    if not isinstance(seen, Status):
        return (
            "note",
            f"renamed, although the server said: {reply}",
            "nothing to do: a delivery looks before it believes",
        )
    hint = "ask for the right to rename, or set `temporary` to none for this partner"
    return "failed", f"a file may not be renamed: {reply}", hint


def _overwrite(first: str, second: str, data: bytes, policy: Policy) -> Told:
    """Whether a rename onto an existing name is refused, which keeps a file that is there from being replaced."""
    (there,) = yield [wire.stat(second)]
    if isinstance(there, Status):
        return "skipped", "no renamed file to try it on", ""
    yield from _put(first, data, policy)
    (reply,) = yield [wire.rename(first, second)]
    if isinstance(reply, Status) and reply.code == wire.OK:
        return "note", "this server's rename replaces what is there", "a delivery looks first, so nothing is lost"
    return "ok", f"a rename onto an existing name is refused ({reply})", ""


def _delete(*paths: str) -> Told:
    left = []
    for path in paths:
        (reply,) = yield [wire.remove(path)]
        if isinstance(reply, Status) and reply.code not in {wire.OK, wire.NO_SUCH_FILE}:
            left.append(f"{path} ({reply})")
    if left:
        return "note", f"may not delete: {', '.join(left)}", "ask the partner to remove these; deliveries work without"
    return "ok", "the probe files are gone again", ""


def _send(settings: ConnectionSettings, policy: Policy, source: Source) -> Finding:
    began = time.monotonic()
    try:
        (outcome,) = deliver([source], settings=settings, policy=policy)
    except DeliveryError as error:
        return Finding(
            step="delivery", mark="failed", text=str(error), hint=error.hint, seconds=time.monotonic() - began
        )
    text = f"{policy.final(source.name)}: {outcome.bytes:,} bytes, {outcome.state}, verified by {outcome.verified}"
    return Finding(step="delivery", mark="ok", text=text, seconds=outcome.seconds)


def _seconds(session: Session, request: wire.Request) -> float:
    def story() -> Generator[Step, Any, None]:
        yield [request]

    began = time.monotonic()
    session.run(story())
    return time.monotonic() - began
