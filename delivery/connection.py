"""One SSH connection: the pinned host key is checked before a user name, a key or a password is sent.

The steps (`open_socket`, `negotiate`, `authenticate`, `open_session`) are separate so that `./sealift partner check`
can report each of them; `connect` takes them in order. What this module does not do: trust on first use, SSH agents,
~/.ssh/config, host certificates, or anything with the files.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from types import TracebackType
from typing import Self

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from delivery.errors import (
    AuthenticationRefused,
    Busy,
    ConnectionLost,
    DeliveryError,
    HostKeyMismatch,
    LoginBroken,
    NoCommonAlgorithm,
    ProtocolViolation,
    Unreachable,
)
from delivery.keys import HostKey, load_private_key, parse_host_key
from delivery.packets import Packets
from delivery.pipe import Pipe
from delivery.session import Session
from delivery.settings import CIPHERS, LEGACY, MACS, ConnectionSettings
from delivery.watchdog import Watchdog

# Our errors carry the cause; without a handler of its own paramiko's tracebacks would land on stderr beside them.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Connection:
    """An authenticated connection and its one SFTP session; a watchdog cuts it when nothing moves."""

    def __init__(self, sock: socket.socket, transport: paramiko.Transport, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.transport = transport
        self.watchdog = Watchdog(sock, settings.host, settings.stall_seconds)
        self._socket = sock
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        assert self._session is not None, "open_session comes first"
        return self._session

    def open_session(self) -> Session:
        """Open the SFTP subsystem and greet; raises Busy or ProtocolViolation."""
        try:
            channel = self.transport.open_session(timeout=self.settings.connect_seconds)
        except paramiko.ChannelException as error:
            raise Busy(
                f"{self.settings.host} opens no session: {error.text}", hint="too many sessions are open"
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self.watchdog.lost(error) from error
        try:
            channel.settimeout(self.settings.stall_seconds)
            channel.invoke_subsystem("sftp")
        except (paramiko.SSHException, EOFError, OSError) as error:
            if not self.transport.is_active():
                raise self.watchdog.lost(error) from error
            raise ProtocolViolation(
                f"{self.settings.host} does not offer SFTP to '{self.settings.user}'",
                hint="ask the partner to allow the sftp subsystem for this account",
            ) from error
        self._session = Session(Pipe(self.watchdog, channel))
        return self._session

    def close(self) -> None:
        self.watchdog.stop()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes paramiko's thread even in the middle of a blocked send
        self.transport.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(settings: ConnectionSettings, *, deadline: float | None = None) -> Connection:
    """Take all the steps; `deadline` (of time.monotonic) cuts the connection whatever it is doing then."""
    sock, transport, _ = log_in(settings)
    connection = Connection(sock, transport, settings)
    try:
        connection.watchdog.deadline = deadline
        connection.open_session()
    except BaseException:
        connection.close()
        raise
    return connection


def log_in(settings: ConnectionSettings) -> tuple[socket.socket, paramiko.Transport, tuple[str, ...]]:
    """Reach, check and log in; return also the methods that were used."""
    if settings.private_key is not None:
        load_private_key(settings.private_key, settings.passphrase)  # a key that cannot be read needs no connection
    method = None
    while True:
        sock = open_socket(settings)
        transport = negotiate(sock, settings)
        try:
            return sock, transport, authenticate(transport, settings, begin_with=method)
        except BaseException as error:
            transport.close()
            sock.close()
            if not isinstance(error, _Instead) or method is not None:
                raise
            method = error.method


class _Instead(AuthenticationRefused):
    """The server takes another method that we have: to be tried on a new connection.

    paramiko asks for the authentication service once more with each attempt, which some servers take for an attack.
    """

    def __init__(self, method: str, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.method = method


def open_socket(settings: ConnectionSettings) -> socket.socket:
    """Reach the port: DNS and TCP; raises Unreachable."""
    host, port = settings.host, settings.port
    try:
        sock = socket.create_connection((host, port), timeout=settings.connect_seconds)
    except socket.gaierror as error:
        raise Unreachable(
            f"host name {host} does not resolve: {error.strerror}", hint="check the name, then DNS"
        ) from error
    except ConnectionRefusedError as error:
        hint = "the server is down, or listens on another port"
        raise Unreachable(f"{host} refuses connections on port {port}", hint=hint) from error
    except OSError as error:
        hint = "has the partner allowed our source address?"
        raise Unreachable(f"no connection to {host} port {port}: {error.strerror or error}", hint=hint) from error
    # Without this, Nagle's algorithm holds back every small request until the answer to the one before has come.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def negotiate(sock: socket.socket, settings: ConnectionSettings) -> paramiko.Transport:
    """Exchange keys and compare the host key with the pins; no credential is sent before this returned."""
    host, pins = settings.host, settings.pins()
    transport = _transport(sock, settings.connect_seconds)
    options = transport.get_security_options()
    options.key_types = tuple(dict.fromkeys(name for pin in pins for name in pin.signatures))
    options.ciphers = (*CIPHERS, *(name for name in settings.legacy if LEGACY[name] == "cipher"))
    options.digests = (*MACS, *(name for name in settings.legacy if LEGACY[name] == "mac"))
    try:
        transport.start_client(timeout=settings.connect_seconds)
        _compare(transport, host, pins)
    except BaseException as error:
        transport.close()
        sock.close()
        raise _negotiation_failed(error, host, pins) from error
    return transport


def _compare(transport: paramiko.Transport, host: str, pins: tuple[HostKey, ...]) -> None:
    if not transport.initial_kex_done:
        raise Unreachable(f"{host} did not finish the key exchange in time", hint="it is tried again")
    shown = transport.get_remote_server_key()
    if shown.asbytes() not in {pin.blob for pin in pins}:
        raise HostKeyMismatch(
            f"{host} shows the host key {shown.get_name()} {shown.fingerprint}, which is not pinned",
            hint="ask the partner, not the server, whether the key changed; then pin the new line beside the old",
        )


def _negotiation_failed(error: BaseException, host: str, pins: tuple[HostKey, ...]) -> BaseException:
    words = str(error)
    if isinstance(error, IncompatiblePeer) and "host key" in words:
        kinds = ", ".join(sorted({pin.algorithm for pin in pins}))
        return HostKeyMismatch(
            f"{host} has no host key of the pinned kind ({kinds})",
            hint="ask the partner for the public key lines of the server as it is now",
        )
    if isinstance(error, IncompatiblePeer):
        return NoCommonAlgorithm(
            f"{host} and we have no algorithm in common: {words}",
            hint="ask the partner for AES-CTR or AES-GCM with SHA-2; an old server may need `legacy` for this partner",
        )
    if isinstance(error, paramiko.SSHException) and "banner" in words:
        return Busy(
            f"{host} closed the connection before its greeting",
            hint="it takes no more connections now, blocks our address, or is not an SSH server",
        )
    if isinstance(error, paramiko.SSHException | EOFError | OSError):
        return ConnectionLost(
            f"the key exchange with {host} broke: {words or type(error).__name__}", hint="it is tried again"
        )
    return error


def authenticate(
    transport: paramiko.Transport, settings: ConnectionSettings, *, begin_with: str | None = None
) -> tuple[str, ...]:
    """Log in with the key, the password (also keyboard-interactive), or both; return the methods that were used."""
    host, user = settings.host, settings.user
    wanted = [begin_with or ("publickey" if settings.private_key is not None else "password")]
    used: list[str] = []
    while wanted:
        method = next((name for name in wanted if name not in used and _has(settings, name)), None)
        if method is None:
            raise AuthenticationRefused(
                f"{host} wants more than {' and '.join(used)}: {', '.join(wanted)}",
                hint="store the missing password or key in the vault",
            )
        try:
            wanted = _attempt(transport, settings, method)
        except paramiko.BadAuthenticationType as error:
            message = f"{host} does not accept '{method}' for '{user}'"
            hint = f"it accepts: {', '.join(error.allowed_types)}"
            other = next((name for name in error.allowed_types if name != method and _has(settings, name)), None)
            if other is not None:
                raise _Instead(other, message, hint=hint) from error
            raise AuthenticationRefused(message, hint=hint) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise _login_failed(error, settings, method) from error
        used.append(method)
    return tuple(used)


def _has(settings: ConnectionSettings, method: str) -> bool:
    if method == "publickey":
        return settings.private_key is not None
    return method in {"password", "keyboard-interactive"} and settings.password is not None


def _attempt(transport: paramiko.Transport, settings: ConnectionSettings, method: str) -> list[str]:
    """Try one method; return what the server wants besides, [] when we are in."""
    if method == "publickey":
        assert settings.private_key is not None
        return transport.auth_publickey(settings.user, load_private_key(settings.private_key, settings.passphrase))
    password = settings.password
    assert password is not None
    if method == "password":
        return transport.auth_password(settings.user, password, fallback=False)
    questions: list[str] = []

    def answer(_title: str, _instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
        questions.extend(question for question, shown in prompts if shown)
        return ["" if shown else password for _, shown in prompts]

    try:
        return transport.auth_interactive(settings.user, answer)
    except paramiko.AuthenticationException as error:
        if not questions:
            raise
        raise AuthenticationRefused(
            f"the server asks '{questions[0].strip()}', which a program cannot answer",
            hint="ask the partner for an account with a key, or without a second factor",
        ) from error


def _login_failed(error: Exception, settings: ConnectionSettings, method: str) -> DeliveryError:
    host, words = settings.host, str(error)
    if "timeout" in words.lower():
        return Unreachable(f"{host} did not answer the login in time", hint="it is tried again")
    if "authentication failures" in words:
        return AuthenticationRefused(f"{host}: {words}", hint="ask the partner about this account")
    if isinstance(error, paramiko.AuthenticationException) and "shut down" not in words:
        if method == "publickey":
            hint = "is the public half of our key stored at the partner, for this user?"
            return AuthenticationRefused(f"{host} refuses the key of '{settings.user}'", hint=hint)
        hint = "compare the password in the vault with the partner's"
        return AuthenticationRefused(f"{host} refuses the password of '{settings.user}'", hint=hint)
    hint = "some servers hang up on a wrong key or password: ./sealift partner check shows how far it gets"
    return LoginBroken(f"{host} broke the connection during the login of '{settings.user}': {words}", hint=hint)


def shown_host_key(host: str, port: int, *, seconds: float = 20.0) -> HostKey:
    """Ask a server which host key it shows today, without logging in: for a person to compare, never to pin blindly."""
    with socket.create_connection((host, port), timeout=seconds) as sock:
        transport = _transport(sock, seconds)
        try:
            transport.start_client(timeout=seconds)
            key = transport.get_remote_server_key()
        finally:
            transport.close()
    return parse_host_key(f"{key.get_name()} {key.get_base64()}")


def _transport(sock: socket.socket, seconds: float) -> paramiko.Transport:
    transport = paramiko.Transport(sock, packetizer_class=Packets)
    transport.banner_timeout = seconds
    transport.handshake_timeout = seconds
    transport.auth_timeout = seconds
    return transport
