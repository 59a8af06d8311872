"""Who may be talked to, who we are there, and what is said when it does not work."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from delivery_servers import AsyncSsh, OpenSsh, free_port, make_key, policy_for

from delivery import (
    AuthenticationRefused,
    Busy,
    BytesSource,
    ConnectionSettings,
    DeliveryError,
    HostKeyMismatch,
    LoginBroken,
    NoCommonAlgorithm,
    ProtocolViolation,
    Unreachable,
    Unusable,
    deliver,
)
from delivery.connection import connect, shown_host_key

Server = OpenSsh | AsyncSsh


@pytest.fixture
def server_with(tmp_path: Path) -> Iterator[Any]:
    started: list[AsyncSsh] = []

    def start(**options: Any) -> AsyncSsh:
        started.append(AsyncSsh(tmp_path / f"server{len(started)}", **options).start())
        return started[-1]

    yield start
    for server in started:
        server.stop()


def test_the_pinned_key_opens_a_session(server: Server) -> None:
    with connect(server.settings()) as connection:
        assert connection.transport.is_authenticated()
        assert "gcm" in connection.transport.local_cipher
        assert connection.transport.agreed_on_strict_kex  # type: ignore[attr-defined]  # not in the stubs


def test_a_wrong_host_key_sees_no_credential_and_no_byte(asyncssh_server: AsyncSsh) -> None:
    _, other = make_key()

    with pytest.raises(HostKeyMismatch, match="which is not pinned") as caught:
        deliver(
            [BytesSource("a", b"secret")],
            settings=asyncssh_server.settings(host_keys=(other,)),
            policy=policy_for(asyncssh_server),
        )

    assert asyncssh_server.logins == []
    assert asyncssh_server.opened == []
    assert "SHA256:" in str(caught.value)
    assert not caught.value.transient


def test_openssh_hears_no_user_name_when_its_key_is_wrong(openssh_server: OpenSsh) -> None:
    _, other = make_key()

    with pytest.raises(HostKeyMismatch):
        connect(openssh_server.settings(host_keys=(other,)))

    assert "userauth-request" not in (openssh_server.folder / "sshd.log").read_text()


def test_openssh_does_hear_it_when_the_key_is_right(openssh_server: OpenSsh) -> None:
    connect(openssh_server.settings()).close()

    assert "userauth-request" in (openssh_server.folder / "sshd.log").read_text()


def test_a_changed_host_key_is_refused_until_it_is_pinned(openssh_server: OpenSsh) -> None:
    old = openssh_server.host_key
    openssh_server.stop()
    openssh_server.new_host_key()
    openssh_server.start()

    with pytest.raises(HostKeyMismatch):
        connect(openssh_server.settings(host_keys=(old,)))

    connect(openssh_server.settings(host_keys=(old, openssh_server.host_key))).close()


def test_a_pin_of_another_kind_is_a_mismatch(asyncssh_server: AsyncSsh) -> None:
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_public_key().decode()

    with pytest.raises(HostKeyMismatch, match="no host key of the pinned kind"):
        connect(asyncssh_server.settings(host_keys=(rsa,)))

    assert asyncssh_server.logins == []


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521", "ssh-ed25519"])
def test_every_kind_of_host_key_can_be_pinned(server_with: Any, kind: str) -> None:
    server = server_with(host_key_kind=kind)

    connect(server.settings()).close()

    assert shown_host_key("127.0.0.1", server.port).line.split()[1] == server.host_key.split()[1]


def test_a_password_logs_in(server_with: Any) -> None:
    server = server_with()
    server.methods = {"password"}

    connect(server.settings(private_key=None, password="open sesame")).close()

    assert ("password", "partner") in server.logins


def test_a_password_also_answers_the_keyboard_question(server_with: Any) -> None:
    server = server_with()
    server.methods = {"keyboard-interactive"}

    connect(server.settings(private_key=None, password="open sesame")).close()

    assert ("keyboard-interactive", "partner") in server.logins


def test_a_key_that_the_server_does_not_take_gives_way_to_the_password(server_with: Any) -> None:
    server = server_with()
    server.methods = {"password"}

    connect(server.settings(password="open sesame")).close()


def test_a_question_only_a_person_can_answer_is_named(server_with: Any) -> None:
    server = server_with()
    server.methods = {"keyboard-interactive"}
    server.prompts = [("One-time code: ", True)]

    with pytest.raises(AuthenticationRefused, match="One-time code:"):
        connect(server.settings(private_key=None, password="open sesame"))


def test_an_unknown_key_is_refused_once_and_not_tried_again(asyncssh_server: AsyncSsh) -> None:
    private, _ = make_key()

    with pytest.raises(AuthenticationRefused, match="refuses the key of 'partner'"):
        deliver(
            [],
            [BytesSource("a", b"")],
            settings=asyncssh_server.settings(private_key=private),
            policy=policy_for(asyncssh_server),
        )

    assert asyncssh_server.logins.count(("begin", "partner")) == 1


def test_a_server_that_hangs_up_at_the_login_is_tried_twice_only(server_with: Any) -> None:
    server = server_with()
    server.hang_up_at_login = True

    with pytest.raises(LoginBroken):
        deliver([BytesSource("a", b"")], settings=server.settings(), policy=policy_for(server), sleep=lambda _: None)

    assert server.logins.count(("begin", "partner")) == 2


def test_a_wrong_password_is_refused(server_with: Any) -> None:
    server = server_with()
    server.methods = {"password"}

    with pytest.raises(AuthenticationRefused, match="refuses the password"):
        connect(server.settings(private_key=None, password="wrong"))


def test_the_methods_a_server_accepts_are_told(server_with: Any) -> None:
    server = server_with()

    with pytest.raises(AuthenticationRefused) as caught:
        connect(server.settings(private_key=None, password="open sesame"))

    assert caught.value.hint == "it accepts: publickey"


def test_cbc_and_md5_are_not_offered(server_with: Any) -> None:
    cbc = server_with(encryption_algs=["aes128-cbc"], mac_algs=["hmac-sha2-256"])
    md5 = server_with(encryption_algs=["aes128-ctr"], mac_algs=["hmac-md5"])

    for server in (cbc, md5):
        with pytest.raises(NoCommonAlgorithm):
            connect(server.settings())

    connect(cbc.settings(legacy=("aes128-cbc",))).close()


def test_a_closed_port_is_unreachable() -> None:
    _, pin = make_key()
    settings = ConnectionSettings(host="127.0.0.1", port=free_port(), user="u", host_keys=(pin,), password="p")

    with pytest.raises(Unreachable, match="refuses connections"):
        connect(settings)


def test_an_unknown_name_does_not_resolve() -> None:
    _, pin = make_key()
    settings = ConnectionSettings(host="partner.invalid", user="u", host_keys=(pin,), password="p")

    with pytest.raises(Unreachable, match="does not resolve"):
        connect(settings)


def test_a_server_that_hangs_up_before_its_greeting_is_busy() -> None:
    _, pin = make_key()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept_and_close() -> None:
            listener.accept()[0].close()

        hang_up = threading.Thread(target=accept_and_close)
        hang_up.start()
        settings = ConnectionSettings(
            host="127.0.0.1", port=listener.getsockname()[1], user="u", host_keys=(pin,), password="p"
        )

        with pytest.raises(Busy) as caught:
            connect(settings)

        hang_up.join()
    assert caught.value.transient


def test_a_server_that_never_greets_does_not_hold_us() -> None:
    _, pin = make_key()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = ConnectionSettings(
            host="127.0.0.1",
            port=listener.getsockname()[1],
            user="u",
            host_keys=(pin,),
            password="p",
            connect_seconds=0.5,
        )

        with pytest.raises(DeliveryError) as caught:
            connect(settings)

    assert caught.value.transient


def test_an_account_without_sftp_is_told_apart(openssh_server: OpenSsh) -> None:
    openssh_server.stop()
    openssh_server.has_sftp = False
    openssh_server.start()

    with pytest.raises(ProtocolViolation, match="does not offer SFTP"):
        connect(openssh_server.settings())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"host_keys": ()}, "no host key is pinned"),
        ({"host_keys": ("SHA256:abc",)}, "is a fingerprint"),
        ({"password": None}, "no password and no key"),
        ({"port": 0}, "port 0"),
        ({"user": ""}, "must be named"),
        ({"legacy": ("arcfour",)}, "unknown legacy algorithm"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(changes: dict[str, Any], says: str) -> None:
    _, pin = make_key()
    values: dict[str, Any] = {"host": "h", "user": "u", "host_keys": (pin,), "password": "p"}

    with pytest.raises(Unusable, match=says) as caught:
        ConnectionSettings(**(values | changes))

    assert caught.value.hint


def test_secrets_are_not_printed() -> None:
    private, pin = make_key()
    settings = ConnectionSettings(
        host="h", user="u", host_keys=(pin,), password="hunter2", private_key=private, passphrase="hunter3"
    )

    assert "hunter" not in repr(settings)
    assert "PRIVATE" not in repr(settings)
