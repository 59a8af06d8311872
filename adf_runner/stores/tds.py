"""The wire to SQL Server: python-tds, with the two things that it does not do right.

It checks a server's certificate against its host name (python-tds calls functions that pyOpenSSL has removed), and it
keeps the seventh digit of a time. Imported only where a factory reaches SQL Server: the driver is an extra
(requirements-sqlserver.txt). Neither TDS 8 (encrypt `strict`) nor Windows sign-in.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import certifi
import pytds
import pytds.tls
from cryptography import x509
from OpenSSL import SSL
from pytds import tds_types

ANY_CERTIFICATE = "any certificate"
TDS_DAY = 24 * 3600 * 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a database is and how to sign in: user and password, or a function that gives a token."""

    host: str
    port: int
    database: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: Callable[[], str] | None = None
    encrypt: bool = True
    trust: bool = False
    timeout_seconds: float = 15
    readonly: bool = False


def open_connection(address: Address, statement_seconds: float, *, autocommit: bool) -> Any:
    """Connect; `statement_seconds` is the longest silence of the server. Raises pytds.Error and OSError."""
    signin: dict[str, Any] = {"user": address.user, "password": address.password}
    if address.token is not None:
        signin = {"access_token_callable": address.token}
    trust = address.trust or not address.encrypt
    connection = pytds.connect(
        address.host, port=address.port, database=address.database, autocommit=autocommit, timeout=statement_seconds,
        login_timeout=address.timeout_seconds, row_strategy=pytds.list_row_strategy, readonly=address.readonly,
        cafile=ANY_CERTIFICATE if trust else os.environ.get("SSL_CERT_FILE") or certifi.where(),
        validate_host=not trust, enc_login_only=not address.encrypt, appname="adf_runner", **signin,
    )  # fmt: skip
    wire = connection._tds_socket  # noqa: SLF001 - the driver has no other way to its types
    wire.type_factory._type_map = {**wire.type_factory._type_map, **EXACT_TIMES}  # noqa: SLF001
    return connection


def hang_up(connection: Any) -> None:
    """Break the connection from another thread: the caller that waits for it wakes, and the server rolls back."""
    wire = connection._tds_socket.sock  # noqa: SLF001
    raw = getattr(wire, "_transport", wire)
    with contextlib.suppress(OSError):
        raw.shutdown(socket.SHUT_RDWR)


def next_result(cursor: Any) -> bool:
    """Go to the next result of a batch; its description is None where it has no columns."""
    cursor._session.res_info = None  # noqa: SLF001 - the driver would show the columns of the result before
    return cursor.nextset() is not False  # None is the last statement's count of rows


# Certificates


def _context(cafile: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)  # the handshake inside TDS 7.4 packets knows no newer one
    if cafile == ANY_CERTIFICATE:
        context.set_verify(SSL.VERIFY_NONE)
        return context
    context.set_verify(SSL.VERIFY_PEER)
    context.load_verify_locations(cafile)
    return context


def host_matches(certificate: x509.Certificate, host: str) -> bool:
    """Say whether a certificate names a host: by an alternative name, with `*` for its whole first label (RFC 6125)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    wanted = host.lower().rstrip(".")
    _, dot, parent = wanted.partition(".")
    known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return wanted in known or (bool(dot) and "." in parent and f"*.{parent}" in known)


def _validate_host(cert: Any, name: bytes) -> bool:
    return host_matches(cert.to_cryptography(), name.decode("ascii"))


pytds.tls.create_context = _context
pytds.tls.validate_host = _validate_host


# Times, in ticks of 100 nanoseconds: datetime2 since the year 1, datetimeoffset the same in its own zone beside its minutes


class _DateTime2(tds_types.DateTime2Serializer):  # type: ignore[misc, unused-ignore]
    def read_fixed(self, r: Any, size: int) -> int:
        time = self._read_time(r, size - 3, self._typ.precision)
        return int(self._read_date(r).days * TDS_DAY + time.nsec // 100)


class _DateTimeOffset(tds_types.DateTimeOffsetSerializer):  # type: ignore[misc, unused-ignore]
    def read_fixed(self, r: Any, size: int) -> tuple[int, int]:
        time = self._read_time(r, size - 5, self._typ.precision)
        ticks = self._read_date(r).days * TDS_DAY + time.nsec // 100
        minutes = r.get_smallint()
        return int(ticks + minutes * 600_000_000), int(minutes)


EXACT_TIMES = {_DateTime2.type: _DateTime2, _DateTimeOffset.type: _DateTimeOffset}
