"""Keys that cannot work, or whose private half anybody can compute: each is refused before anything is sealed."""

from __future__ import annotations

import functools
import itertools
import math
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from encryption_support import NOW, make_certificate, pem, public_pem, rsa_key

from encryption import EncryptionError, PublishedKey, SignatureInvalid, load_recipients, load_verification_key
from encryption.doctor import diagnose
from encryption.rsa_numbers import MAX_BITS, check_rsa_key, check_rsa_numbers, modulus_fault, modulus_fingerprint

TESTS = Path(__file__).resolve().parents[1]
RSA_PSS = bytes.fromhex("06092a864886f70d01010a")
RSA_ENCRYPTION = bytes.fromhex("06092a864886f70d0101010500")
ROCA_M = math.prod((2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
                    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167))  # fmt: skip


@functools.cache
def numbers() -> tuple[int, int, int]:
    """A sound 3,072-bit key: n, p, q."""
    found = rsa_key("numbers").private_numbers()
    return found.p * found.q, found.p, found.q


@functools.cache
def roca_prime(seed: int) -> int:
    """A prime of 1,536 bits as the faulty library made them: k * M + (65537^a mod M) (Nemec et al., 2017)."""
    start = (1 << 1536) // ROCA_M - (seed << 1290)
    candidates = (k * ROCA_M + pow(65537, seed, ROCA_M) for k in itertools.count(start))
    return next(each for each in candidates if math.gcd(each, SMALL) == 1 and pow(2, each - 1, each) == 1)


SMALL = math.prod(n for n in range(3, 65_536) if all(n % d for d in range(2, math.isqrt(n) + 1)))


@functools.cache
def moduli() -> dict[str, int]:
    n, p, _ = numbers()
    beside = next(each for each in itertools.count(p + 2, 2) if math.gcd(each, SMALL) == 1)
    return {
        "even": n - 1,
        "a power of two": 1 << 3071,
        "the square of a prime": p * p,
        "the cube of a prime": (2**1279 - 1) ** 3,
        "a small factor": 751 * n,
        "a factor of 16 bits": 65_521 * n,
        "close primes": p * beside,
        "a prime": 2**4423 - 1,
        "ROCA": roca_prime(1234) * roca_prime(98_765),
    }


def certificate_of(modulus: int, exponent: int = 65537) -> x509.Certificate:
    return make_certificate(NumbersOnly(rsa.RSAPublicNumbers(exponent, modulus).public_key()))


class NumbersOnly:
    """A key of which there is no private half: the certificate is signed by somebody else."""

    def __init__(self, public: rsa.RSAPublicKey) -> None:
        self.public = public

    def public_key(self) -> rsa.RSAPublicKey:
        return self.public


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("even", "with an even modulus"),
        ("a power of two", "with an even modulus"),
        ("the square of a prime", "power of one number"),
        ("the cube of a prime", "power of one number"),
        ("a small factor", "small factor"),
        ("a factor of 16 bits", "small factor"),
        ("close primes", "close primes"),
        ("a prime", "a prime number"),
        ("ROCA", "CVE-2017-15361"),
    ],
)
def test_a_modulus_that_is_no_product_of_two_secret_primes_is_refused(kind: str, text: str) -> None:
    certificate = pem(certificate_of(moduli()[kind]))

    with pytest.raises(EncryptionError, match=text) as caught:
        load_recipients(certificate, None, NOW)
    found = diagnose(certificate, NOW)

    assert caught.value.status == 422
    assert not caught.value.transient
    assert not found.is_usable
    assert any(text in each.text for each in found.problems)


@pytest.mark.parametrize("exponent", [2**256 + 1, 2**3000 + 1, 65539 - 3])
def test_an_exponent_outside_the_rules_is_refused(exponent: int) -> None:
    with pytest.raises(EncryptionError, match="with exponent"):
        check_rsa_numbers("k", numbers()[0], exponent)


def test_a_huge_exponent_in_a_certificate_is_refused_by_the_doctor_too() -> None:
    certificate = pem(certificate_of(numbers()[0], 2**3000 + 1))

    assert "exponent of 3001 bits" in diagnose(certificate, NOW).problems[0].text


def test_a_key_with_which_the_library_cannot_encrypt_is_refused_by_a_trial() -> None:
    """OpenSSL takes exponents of more than 64 bits for moduli of 3,072 bits at most."""
    large = rsa_key("large", 4096).public_key().public_numbers().n

    with pytest.raises(EncryptionError, match="trial encryption failed"):
        check_rsa_key("k", rsa.RSAPublicNumbers(2**100 + 1, large).public_key())


def test_a_key_that_may_only_sign_is_refused() -> None:
    """RSASSA-PSS (RFC 4055) in the certificate forbids encryption, although the numbers would do."""
    signing = public_pem(rsa_key())
    der = serialization.load_pem_public_key(signing).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    certificate = make_certificate().public_bytes(serialization.Encoding.DER)
    assert der in certificate
    changed = x509.load_der_x509_certificate(with_pss_key(certificate, der))

    with pytest.raises(EncryptionError, match="may only sign"):
        load_recipients(pem(changed), None, NOW)
    assert not diagnose(pem(changed), NOW).is_usable


def with_pss_key(certificate: bytes, spki: bytes) -> bytes:
    """Put RSASSA-PSS with empty parameters in place of rsaEncryption with NULL: the same number of bytes."""
    changed = spki.replace(RSA_ENCRYPTION, RSA_PSS + bytes.fromhex("3000"))
    assert len(changed) == len(spki)
    return certificate.replace(spki, changed)


def test_a_published_modulus_is_refused_whatever_exponent_is_beside_it() -> None:
    published = x509.load_pem_x509_certificate((TESTS / "vectors" / "keys" / "partner.cert.pem").read_bytes())
    key = published.public_key()
    assert isinstance(key, rsa.RSAPublicKey)

    with pytest.raises(PublishedKey):
        load_recipients(pem(certificate_of(key.public_numbers().n, 65539)), None, NOW)


@pytest.mark.parametrize("bits", [3072, 4096])
def test_sound_keys_of_every_size_pass(bits: int) -> None:
    assert modulus_fault(rsa_key("sound", bits).public_key().public_numbers().n) is None


def test_the_sender_s_key_is_held_to_the_same_rules() -> None:
    with pytest.raises(SignatureInvalid, match="even modulus"):
        load_verification_key(pem(certificate_of(moduli()["even"])))


def test_the_fingerprint_of_a_modulus_does_not_depend_on_its_certificate() -> None:
    first, second = make_certificate(), make_certificate(issuer="issuing")

    assert len({modulus_fingerprint(each.public_key().public_numbers().n) for each in (first, second)}) == 1  # type: ignore[union-attr]


def test_keys_that_would_cost_minutes_are_refused_by_their_size() -> None:
    with pytest.raises(EncryptionError, match=f"16385 bits; {MAX_BITS} are the most"):
        check_rsa_numbers("k", (1 << 16384) + 1, 65537)
