"""Keys and pins are read in every form they come in; what cannot be read says why."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from delivery_servers import make_key

from delivery import BadHostKey, BadPrivateKey, parse_host_key
from delivery.keys import describe_private_key, load_private_key

PEM = serialization.Encoding.PEM
FORMATS = serialization.PrivateFormat
RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Any] = {
    "ssh-rsa": RSA,
    "ecdsa-sha2-nistp256": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-sha2-nistp384": ec.generate_private_key(ec.SECP384R1()),
    "ssh-ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def written(key: Any, form: serialization.PrivateFormat, password: bytes | None = None) -> bytes:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(PEM, form, lock)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("form", [FORMATS.TraditionalOpenSSL, FORMATS.PKCS8, FORMATS.OpenSSH])
def test_every_kind_in_every_form_is_read(kind: str, form: serialization.PrivateFormat) -> None:
    if kind == "ssh-ed25519" and form is FORMATS.TraditionalOpenSSL:
        form = FORMATS.PKCS8  # there is no classic form of these
    pem = written(KEYS[kind], form)

    for text in (
        pem,
        pem.decode(),
        base64.b64encode(pem).decode(),
        base64.encodebytes(pem),
        pem.replace(b"\n", b"\r\n"),
        pem.strip().replace(b"\n", b"\\n"),
        b"\xef\xbb\xbf" + pem,
    ):
        assert load_private_key(text).get_name() == kind


@pytest.mark.parametrize("form", [FORMATS.TraditionalOpenSSL, FORMATS.PKCS8, FORMATS.OpenSSH])
def test_a_locked_key_opens_with_its_passphrase_only(form: serialization.PrivateFormat) -> None:
    pem = written(RSA, form, b"correct horse")

    assert load_private_key(pem, "correct horse").get_bits() == 2048
    with pytest.raises(BadPrivateKey):
        load_private_key(pem, "wrong")
    with pytest.raises(BadPrivateKey) as caught:
        load_private_key(pem)
    assert "passphrase" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("PuTTY-User-Key-File-3: ssh-rsa", "puttygen"),
        ("ssh-ed25519 AAAA comment", "public half"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "certificates"),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", "whole"),
        ("nonsense!", "PEM"),
        ("", "certificates"),
    ],
)
def test_what_is_no_private_key_says_what_to_do(text: str, hint: str) -> None:
    with pytest.raises(BadPrivateKey) as caught:
        load_private_key(text)

    assert hint in caught.value.hint


def test_dsa_is_refused() -> None:
    with pytest.raises(BadPrivateKey, match="SSH cannot use"):
        load_private_key(written(dsa.generate_private_key(2048), FORMATS.PKCS8))


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    public = RSA.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    path = tmp_path / "key.pub"
    path.write_text(public + "\n")
    pin = parse_host_key(public)

    assert pin.sha256 in describe_private_key(load_private_key(written(RSA, FORMATS.PKCS8)))
    try:
        sha256 = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True).stdout.split()
        md5 = subprocess.run(
            ["ssh-keygen", "-E", "md5", "-lf", path], capture_output=True, text=True, check=True
        ).stdout.split()
    except FileNotFoundError:
        pytest.skip("no ssh-keygen on this machine")
    assert sha256[1] == pin.sha256
    assert pin.adf_fingerprint == f"ssh-rsa 2048 {md5[1].removeprefix('MD5:')}"


@pytest.mark.parametrize("form", ["{0}", "{0} a comment", "sftp.partner.example {0}", "[10.0.0.1]:2222 {0}", "  {0}\n"])
def test_a_pin_may_come_from_known_hosts(form: str) -> None:
    _, public = make_key()

    assert parse_host_key(form.format(public)).line == public


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-dss AAAA", "MD5:aa:bb", "@revoked * ssh-ed25519 AAAA"]
)
def test_a_pin_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(BadHostKey) as caught:
        parse_host_key(text)

    assert caught.value.hint


def test_key_is_read_once_and_a_replaced_one_anew() -> None:
    first, second = (rsa.generate_private_key(65537, 3072) for _ in range(2))
    texts = [
        each.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        for each in (first, second)
    ]

    assert load_private_key(texts[0]) is load_private_key(texts[0])
    assert load_private_key(texts[1]).get_base64() != load_private_key(texts[0]).get_base64()
