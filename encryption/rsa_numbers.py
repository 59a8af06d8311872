"""Whether an RSA public key can be what it claims to be: checks of the two numbers, without the private half.

The rules are those of the CA/Browser Forum's Baseline Requirements: 6.1.6 (an odd exponent from 2^16 + 1 to 2^256 - 1; a
modulus that is odd, is not the power of a prime and has no small factor) and 6.1.1.3 (close primes by 100 rounds of Fermat's
method, ROCA), NIST SP 800-89 section 5.3.3 being their source. It does NOT prove a key sound, which nobody can from outside,
and knows nothing of certificates or of OpenPGP: readers of either kind of key ask here.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from math import gcd, isqrt, prod
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from encryption.errors import KeyTooSmall, PublishedKey, WeakKey

MIN_BITS: Final = 3072
MAX_BITS: Final = 8192
MIN_EXPONENT: Final = 65537
MAX_EXPONENT: Final = 2**256 - 1

# SHA-256 over the modulus (big-endian, as short as it can be) of keys whose private half is in this repository.
PUBLISHED_MODULI: Final = frozenset(
    {
        "7c9f1056e584c5a4492a2cd2211af64ef06c060045c1816c7c5dff3eb565036a",  # escrow
        "9fab1265d1be00549ba892167b522b4b6494d2e424593dc151f389e32f80ba64",  # other-sender
        "a992a31271eb86a88fb94c1d63ce9ebbbce57268dbb86c6b22af055e372d3b47",  # partner-4096
        "8edad35b07154cf48eb606e5fd2270fdc8dee3e319d2ea566cefa8da10e6084c",  # partner
        "d5c6577551a311539b005387bb01d08108d2f69d288b1d12ba80c4208f76990e",  # sender
        "690a374f9c7d697d4686533b4dc83148a0e232326d2704f66f54e9b7d0c7c4ca",  # stranger
        "12fe8c33a7e1363d8500279cd0f3a792a5854aa7edf7ddc31e90b4f0616cd969",  # Wycheproof, RSA-OAEP 3072
        "22c4cbb417a19509358f5585742a37526f1d0b69e5afd1bb9f75e51de72836b1",  # Wycheproof, RSA-OAEP 4096
    }
)

_SMALL_FACTORS_BELOW: Final = 65_536  # 6.1.6 asks for 752; more cost nothing
_FERMAT_ROUNDS: Final = 100
_ROCA_PRIMES: Final = (
    11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
)  # fmt: skip
OAEP: Final = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


def check_rsa_key(who: str, key: RSAPublicKey) -> None:
    """Raise KeyTooSmall or WeakKey when `key` may not encrypt a file key; `who` names it in the error.

    Besides its numbers one encryption is tried: what the library refuses at this moment it would refuse in the night.
    """
    numbers = key.public_numbers()
    check_rsa_numbers(who, numbers.n, numbers.e)
    try:
        key.encrypt(bytes(32), OAEP)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WeakKey(f"{who} has an RSA key that cannot encrypt: a trial encryption failed") from error


def check_rsa_numbers(who: str, modulus: int, exponent: int, *, min_bits: int = MIN_BITS) -> None:
    """Raise KeyTooSmall or WeakKey, with the reason, for numbers that no sound RSA key has."""
    bits = modulus.bit_length()
    if bits < min_bits:
        raise KeyTooSmall(f"{who} has an RSA key of {bits} bits; {min_bits} are the least")
    if bits > MAX_BITS:
        raise WeakKey(f"{who} has an RSA key of {bits} bits; {MAX_BITS} are the most")
    if not MIN_EXPONENT <= exponent <= MAX_EXPONENT or exponent % 2 == 0:
        shown = str(exponent) if exponent <= MAX_EXPONENT else f"of {exponent.bit_length()} bits"
        raise WeakKey(f"{who} has an RSA key with exponent {shown}; an odd one from 65537 to 2^256 - 1 is allowed")
    if fault := modulus_fault(modulus):
        raise WeakKey(f"{who} has an RSA key {fault}")


def refuse_published_modulus(who: str, modulus: int) -> None:
    """Raise PublishedKey when everybody has the private half, whatever certificate or exponent is around the modulus."""
    if modulus_fingerprint(modulus) in PUBLISHED_MODULI:
        raise PublishedKey(f"{who} holds a published test key")


def modulus_fingerprint(modulus: int) -> str:
    """Return SHA-256 of the modulus in hex: the same for every certificate and exponent of one pair of primes."""
    return hashlib.sha256(modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")).hexdigest()


@lru_cache(maxsize=256)
def modulus_fault(modulus: int) -> str | None:
    """Return what is wrong with a modulus in words that follow "an RSA key", or None.

    A sound 3,072-bit modulus takes about 30 ms of CPU time, one of 8,192 bits about 0.5 s; answers are remembered.
    """
    if modulus % 2 == 0:
        return "with an even modulus"
    if gcd(modulus, _small_primes_product() % modulus) != 1:
        return "whose modulus has a small factor: anybody can compute the private key"
    if _is_perfect_power(modulus):
        return "whose modulus is a power of one number: anybody can compute the private key"
    if _has_close_primes(modulus):
        return "whose modulus is the product of two close primes: anybody can compute the private key"
    if _looks_like_roca(modulus):
        return "made by a device with the ROCA fault (CVE-2017-15361): its private key can be computed"
    if pow(2, modulus - 1, modulus) == 1:
        return "whose modulus is a prime number: anybody can compute the private key"
    return None


@cache
def _small_primes_product() -> int:
    sieve = bytearray([1]) * _SMALL_FACTORS_BELOW
    for number in range(2, isqrt(_SMALL_FACTORS_BELOW) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(sieve[number * number :: number]))
    return prod(number for number in range(3, _SMALL_FACTORS_BELOW) if sieve[number])


def _is_perfect_power(modulus: int) -> bool:
    """Return whether the modulus is a whole power; its factors are known to have more than 16 bits."""
    powers = range(2, modulus.bit_length() // 16 + 1)
    return any(_root(modulus, power) ** power == modulus for power in powers if gcd(power, 6) == 1 or power in (2, 3))


def _root(number: int, power: int) -> int:
    """Return the whole part of the root, by Newton's method from above."""
    guess = 1 << -(-number.bit_length() // power)
    while True:
        better = ((power - 1) * guess + number // guess ** (power - 1)) // power
        if better >= guess:
            return guess
        guess = better


def _has_close_primes(modulus: int) -> bool:
    middle = isqrt(modulus)
    squares = ((middle + step) ** 2 - modulus for step in range(1, _FERMAT_ROUNDS + 1))
    return any(isqrt(square) ** 2 == square for square in squares)


def _looks_like_roca(modulus: int) -> bool:
    """Return whether the modulus is a power of 65537 modulo every prime of the fingerprint (Nemec et al., 2017, section 3.2).

    An honest modulus passes all of them by chance once in 2^27.
    """
    return all(modulus % prime in _powers_of_65537(prime) for prime in _ROCA_PRIMES)


@cache
def _powers_of_65537(prime: int) -> frozenset[int]:
    return frozenset(pow(65537, exponent, prime) for exponent in range(prime))
