from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from encryption_support import NOW, der, make_certificate, pem, private_pem, public_pem, rsa_key
from hypothesis import given
from hypothesis import strategies as st

from encryption import load_recipients
from encryption.doctor import diagnose

Encoding = serialization.Encoding
Format = serialization.PrivateFormat
PLAIN = serialization.NoEncryption()
PASSWORD = serialization.BestAvailableEncryption(b"secret")
EC_KEY, ED_KEY = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
# pbeWithSHAAnd3-KeyTripleDES-CBC, as old exports from Windows have it: only its beginning, since no library writes it any more.
PKCS12_PBE = bytes.fromhex("308204fe3028060a2a864886f70d010c0103301a0414")


def request_pem() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    return x509.CertificateSigningRequestBuilder(name).sign(rsa_key(), hashes.SHA256()).public_bytes(Encoding.PEM)


def ssh_public() -> bytes:
    return rsa_key().public_key().public_bytes(Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def pkcs12_store(password: bytes | None) -> bytes:
    protection = serialization.BestAvailableEncryption(password) if password else PLAIN
    return pkcs12.serialize_key_and_certificates(b"x", rsa_key(), make_certificate(), None, protection)


def public_der() -> bytes:
    return rsa_key().public_key().public_bytes(Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def pkcs7_bundle(encoding: Encoding) -> bytes:
    return pkcs7.serialize_certificates([make_certificate()], encoding)


@pytest.mark.parametrize(
    ("make", "kind", "fix"),
    [
        (lambda: b"", "nothing: it is empty", "BEGIN CERTIFICATE"),
        (lambda: b" \r\n\t", "nothing: it is empty", "BEGIN CERTIFICATE"),
        (lambda: b"hello", "a file of no kind that is known here", "BEGIN CERTIFICATE"),
        (lambda: b"x" * 300_000, "something of 300,000 bytes", "BEGIN CERTIFICATE"),
        (lambda: pem(make_certificate()).decode().encode("utf-16"), "text in UTF-16", "save it again"),
        (lambda: private_pem(rsa_key()), "a private key", "delete it"),
        (lambda: private_pem(rsa_key(), b"secret"), "a private key with a password", "delete it"),
        (lambda: rsa_key().private_bytes(Encoding.PEM, Format.TraditionalOpenSSL, PLAIN), "a private key", "delete it"),
        (lambda: rsa_key().private_bytes(Encoding.PEM, Format.OpenSSH, PLAIN), "an OpenSSH private key", "delete it"),
        (lambda: rsa_key().private_bytes(Encoding.DER, Format.PKCS8, PLAIN), "a private key in DER", "delete it"),
        (lambda: rsa_key().private_bytes(Encoding.DER, Format.TraditionalOpenSSL, PLAIN), "a private key in DER", "delete it"),
        (lambda: rsa_key().private_bytes(Encoding.DER, Format.PKCS8, PASSWORD), "a private key with a password in DER", "delete"),
        (lambda: EC_KEY.private_bytes(Encoding.DER, Format.PKCS8, PASSWORD), "a private key with a password in DER", "delete"),
        (lambda: EC_KEY.private_bytes(Encoding.DER, Format.PKCS8, PLAIN), "a private key in DER", "delete it"),
        (lambda: EC_KEY.private_bytes(Encoding.DER, Format.TraditionalOpenSSL, PLAIN), "a private key in DER", "delete it"),
        (lambda: ED_KEY.private_bytes(Encoding.DER, Format.PKCS8, PLAIN), "a private key in DER", "delete it"),
        (lambda: PKCS12_PBE, "a private key with a password in DER", "delete"),
        (lambda: private_pem(rsa_key()).decode().encode("utf-16"), "a private key in UTF-16", "delete it"),
        (lambda: private_pem(rsa_key()).decode().encode("utf-16-le"), "a private key in UTF-16", "delete it"),
        (lambda: "PuTTY-User-Key-File-3: ssh-rsa".encode("utf-16"), "a private key in UTF-16", "delete it"),
        (lambda: b'{"kty":"RSA","n":"AA","e":"AQAB","d":"AA"}', "a JSON web key with its private half", "delete it"),
        (lambda: b' {"keys":[1,{"kty":"EC"},{"kty":"oct","k":"AA"}]}', "a JSON web key with its private half", "delete it"),
        (lambda: b'{"keys":[{"kty":"RSA","n":"AA","e":"AQAB"}]}', "a JSON web key", "openssl req -x509"),
        (lambda: b'{"d":"AA"}', "a file of no kind that is known here", "BEGIN CERTIFICATE"),
        (lambda: b'{"d":', "a file of no kind that is known here", "BEGIN CERTIFICATE"),
        (lambda: b'{"a":' * 10_000, "a file of no kind that is known here", "BEGIN CERTIFICATE"),
        (lambda: pem(make_certificate()) + private_pem(rsa_key()), "a private key among 2 PEM blocks", "delete it"),
        (lambda: b"PuTTY-User-Key-File-3: ssh-rsa\n", "a PuTTY private key", "delete it"),
        (lambda: public_pem(rsa_key()), "a bare public key", "openssl req -x509"),
        (public_der, "a bare public key in DER", "openssl req -x509"),
        (ssh_public, "an OpenSSH public key", "SFTP log-ins"),
        (lambda: b"ecdsa-sha2-nistp256 AAAA", "an OpenSSH public key", "SFTP log-ins"),
        (lambda: b"---- BEGIN SSH2 PUBLIC KEY ----\n", "an SSH2 public key", "SFTP log-ins"),
        (request_pem, "a certificate request", "certificate made of it"),
        (lambda: pkcs7_bundle(Encoding.PEM), "a PKCS#7 bundle", "openssl pkcs7"),
        (lambda: pkcs7_bundle(Encoding.DER), "a PKCS#7 bundle in DER", "openssl pkcs7 -inform DER"),
        (lambda: pkcs12_store(None), "a PKCS#12 store", "openssl pkcs12"),
        (lambda: pkcs12_store(b"secret"), "a PKCS#12 store", "openssl pkcs12"),
        (lambda: base64.b64encode(pkcs12_store(b"secret")), "base64 of a PKCS#12 store", "openssl pkcs12"),
        (lambda: base64.b64encode(private_pem(rsa_key())), "base64 of a private key", "delete it"),
        (lambda: b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", "an armoured OpenPGP file", "gpg --armor --export"),
        (lambda: b"-----BEGIN DH PARAMETERS-----\n", "PEM of 'DH PARAMETERS'", "BEGIN CERTIFICATE"),
        (lambda: b"\xfe\xed\xfe\xed\0\0\0\2", "a Java key store", "keytool -exportcert"),
        (lambda: pem(make_certificate())[:-40], "a PEM certificate that is cut", "attachment"),
        (lambda: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be decoded", "attachment"),
        (lambda: base64.b64encode(bytes(100)), "a file of no kind that is known here", "BEGIN CERTIFICATE"),
        (lambda: b"A" * 65, "a file of no kind that is known here", "BEGIN CERTIFICATE"),
    ],
)  # fmt: skip
def test_what_is_no_certificate_is_named_with_its_fix(make: object, kind: str, fix: str) -> None:
    found = diagnose(make(), NOW)  # type: ignore[operator]

    assert kind in found.kind
    assert not found.is_usable
    assert fix in found.problems[0].fix
    assert found.pem is None


def test_a_sound_certificate_is_usable_and_described() -> None:
    found = diagnose(b"\xef\xbb\xbfBag Attributes\r\n" + pem(make_certificate()), NOW)

    facts = dict(found.facts)
    assert found.kind == "a PEM certificate"
    assert found.is_usable
    assert not found.problems
    assert facts["key"] == "RSA 3072 bits"
    assert facts["subject"] == "CN=partner"
    assert facts["usage"] == "key encipherment"
    assert "365 days left" in facts["valid"]
    assert facts["SHA-256"].count(":") == 31


def test_der_is_recognised_and_its_certificate_looked_at() -> None:
    found = diagnose(der(make_certificate(last_day=-3)), NOW)

    assert found.kind == "a DER certificate"
    assert [each.text[:9] for each in found.problems] == ["it is DER", "certifica"]
    assert "openssl x509 -inform DER" in found.problems[0].fix
    assert found.pem == pem(make_certificate(last_day=-3)) or b"BEGIN CERTIFICATE" in (found.pem or b"")


@pytest.mark.parametrize("encode", [der, pem])
def test_base64_around_a_certificate_is_looked_through(encode: object) -> None:
    certificate = make_certificate()

    found = diagnose(base64.encodebytes(encode(certificate)), NOW)  # type: ignore[operator]

    assert found.kind.startswith("base64 of a ")
    assert not found.is_usable
    assert [each.text for each in found.problems] == ["it is base64 around the certificate"]
    assert found.pem == pem(certificate)
    assert diagnose(found.pem, NOW).is_usable


@pytest.mark.parametrize(
    ("make", "text", "key"),
    [
        (lambda: make_certificate(rsa_key("small", 2048)), "2048 bits", "RSA 2048 bits"),
        (lambda: make_certificate(last_day=-1), "expired on 2026-11-21", "RSA 3072 bits"),
        (lambda: make_certificate(first_day=2), "starts 2026-11-24", "RSA 3072 bits"),
        (lambda: make_certificate(usage=("digital_signature",)), "key encipherment", "RSA 3072 bits"),
        (lambda: make_certificate(ec.generate_private_key(ec.SECP256R1())), "no RSA key", "not RSA"),
    ],
)
def test_a_certificate_that_cannot_receive_is_told_with_its_reason(make: object, text: str, key: str) -> None:
    found = diagnose(pem(make()), NOW)  # type: ignore[operator]

    assert not found.is_usable
    assert text in found.problems[0].text
    assert found.problems[0].fix
    assert dict(found.facts)["key"] == key


def test_every_fault_of_a_certificate_is_told_at_once() -> None:
    found = diagnose(pem(make_certificate(rsa_key("small", 2048), last_day=-1)), NOW)

    assert len(found.problems) == 2


def test_a_bundle_is_usable_when_one_of_its_certificates_is() -> None:
    found = diagnose(pem(make_certificate(last_day=-1), make_certificate()), NOW)

    assert found.kind == "2 PEM certificates"
    assert found.is_usable
    assert not found.problems[0].grave
    assert dict(found.facts)["in use"].startswith("the newest valid one")


def test_a_certificate_that_ends_soon_is_usable_with_a_warning() -> None:
    found = diagnose(pem(make_certificate(last_day=5)), NOW)

    assert found.is_usable
    assert "ends in 5 days" in found.problems[0].text


@pytest.mark.parametrize(
    ("usage", "shown"),
    [
        (None, "not limited"),
        (("crl_sign",), "none of the known"),
        (("digital_signature", "key_encipherment"), "digital signature, key encipherment"),
    ],
)
def test_the_usage_is_shown_in_words(usage: tuple[str, ...] | None, shown: str) -> None:
    assert dict(diagnose(pem(make_certificate(usage=usage)), NOW).facts)["usage"] == shown


def test_a_certificate_whose_parts_cannot_be_read_is_still_described() -> None:
    broken = der(make_certificate())
    usage, name, key = (
        bytes.fromhex("0603551d0f0101ff040403020520"),
        b"\x0c\x07partner",
        bytes.fromhex("06092a864886f70d0101010500"),
    )
    assert usage in broken
    assert name in broken
    assert key in broken
    broken = (
        broken.replace(usage, usage[:-3] + b"\x05\x05\x20")
        .replace(name, b"\x0c\x07p\xff\xff\xff\xff\xffr")
        .replace(key, key[:-3] + b"\x63\x05\0")
    )

    found = diagnose(broken, NOW)

    facts = dict(found.facts)
    assert facts["usage"] == "cannot be read"
    assert facts["subject"] == "(a name that cannot be read)"
    assert facts["key"] == "not RSA"
    assert not found.is_usable


def test_a_certificate_without_a_subject_is_described_as_such() -> None:
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    certificate = (
        x509.CertificateBuilder(issuer, x509.Name([]), rsa_key().public_key(), 5)
        .not_valid_before(NOW)
        .not_valid_after(NOW.replace(year=2030))
        .sign(rsa_key(), hashes.SHA256())
    )

    assert dict(diagnose(pem(certificate), NOW).facts)["subject"] == "(no name)"
    assert load_recipients(pem(certificate), None, NOW)


@given(st.binary(max_size=200))
def test_no_input_makes_the_doctor_fail(data: bytes) -> None:
    assert diagnose(data, NOW).kind


@given(st.data())
def test_no_damaged_certificate_makes_the_doctor_fail(drawn: st.DataObject) -> None:
    data = bytearray(drawn.draw(st.sampled_from([DER, PEM])))
    for _ in range(drawn.draw(st.integers(1, 4))):
        data[drawn.draw(st.integers(0, len(data) - 1))] = drawn.draw(st.integers(0, 255))

    assert diagnose(bytes(data), NOW).kind


DER, PEM = der(make_certificate()), pem(make_certificate())
