from __future__ import annotations

import socket
import ssl
import stat
from pathlib import Path

import pytest
import requests

from local.wire.certificates import CertificateAuthority
from local.wire.web import WebServer, json_response


def test_server_with_an_issued_certificate_is_trusted_by_the_bundle_and_by_it_alone(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    stranger = CertificateAuthority(tmp_path)
    with WebServer("hello", lambda request: json_response(200, {"path": request.path}), ca=authority) as server:
        assert requests.get(f"{server.url}/x", verify=str(authority.bundle)).json() == {"path": "/x"}
        assert requests.get(f"https://localhost:{server.port}/y", verify=str(authority.bundle)).ok
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(server.url, verify=str(stranger.bundle))


def test_certificates_pass_the_strict_checks_of_newer_pythons(authority: CertificateAuthority) -> None:
    context = ssl.create_default_context(cafile=str(authority.bundle))
    context.verify_flags |= ssl.VERIFY_X509_STRICT

    with WebServer("strict", lambda _: json_response(200, {}), ca=authority) as server:
        plain = socket.create_connection(("127.0.0.1", server.port))
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            assert connection.version() == "TLSv1.3"


def test_private_keys_are_readable_by_their_owner_only(authority: CertificateAuthority) -> None:
    _, key = authority.issue("private")

    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_second_certificate_for_one_name_is_the_first_one(authority: CertificateAuthority) -> None:
    assert authority.issue("twice") == authority.issue("twice")


def test_client_that_never_speaks_does_not_keep_others_out(authority: CertificateAuthority) -> None:
    with (
        WebServer("patient", lambda _: json_response(200, {}), ca=authority) as server,
        socket.create_connection(("127.0.0.1", server.port)),
    ):
        assert requests.get(server.url, verify=str(authority.bundle), timeout=5).ok
