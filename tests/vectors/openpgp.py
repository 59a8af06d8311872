"""OpenPGP: batches that verify, whose files an OpenPGP program opens or must refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from changes import flip
from encoder import Scenario, private_key
from pgp_messages import Sender, Shape, packet

OTHER = Sender(private_key("other-sender"), lambda plaintext: plaintext + b"\0")
KEY_PACKET_BYTES = 3 + 524  # of a recipient with RSA 4096: head, version, key id, algorithm, number


def good_openpgp() -> Iterator[Scenario]:
    for size in (0, 1, 16385, 70000):
        yield Scenario(f"openpgp_size_{size}", f"openpgp, {size} bytes of plaintext", "openpgp").openpgp(size)
    for name, comment, more in (
        ("unsigned", "without a signature inside", {"sender": None}),
        ("compressed", "compressed with zlib", {"size": 5000, "shape": Shape(compressed=True)}),
        ("armoured", "in ASCII armour, named .asc", {"size": 5000, "shape": Shape(armoured=True), "extension": ".asc"}),
        ("without_extension", "under the name of the plaintext", {"extension": ""}),
        ("two_recipients", "for partner (RSA) and escrow (Cv25519)", {"recipients": ("partner", "escrow")}),
    ):
        yield Scenario(f"openpgp_{name}", comment, "openpgp").openpgp(**more)
    escrow = Scenario("openpgp_opened_by_escrow", "for partner and escrow, opened with the escrow key", "openpgp")
    escrow.openpgp(recipients=("partner", "escrow"))
    escrow.key = "escrow"
    yield escrow
    yield (
        Scenario("openpgp_beside_native", "a native file and an OpenPGP file in one batch", "openpgp")
        .native()
        .openpgp()
    )


def broken_openpgp() -> Iterator[Scenario]:
    yield from _messages()
    yield from _documents()


def _messages() -> Iterator[Scenario]:
    """The batch verifies, an OpenPGP program must refuse the file."""
    more: dict[str, Any]
    for name, comment, more in (
        ("flip", "a bit of the ciphertext is flipped", {"shape": Shape(whole=lambda w: flip(w, len(w) - 60))}),
        ("flip_wrapped_key", "a bit of the wrapped key is flipped", {"shape": Shape(whole=lambda w: flip(w, 300))}),
        ("flip_mdc", "the integrity check is another", {"shape": Shape(mdc=lambda m: flip(m, 0))}),
        ("cut", "the last byte is missing", {"shape": Shape(whole=lambda w: w[:-1])}),
        ("cut_before_content", "the key packet alone", {"shape": Shape(whole=lambda w: w[:KEY_PACKET_BYTES])}),
        ("seipd_version_2", "an encrypted packet of version 2", {"shape": Shape(whole=_second_version)}),
        ("marker_only", "a marker packet and nothing else", {"shape": Shape(whole=lambda _: packet(10, b"PGP"))}),
        ("signature_of_other", "the signature is one over other bytes", {"sender": OTHER}),
        ("wrong_recipient", "sealed for somebody else", {"recipients": ("stranger",)}),
    ):
        yield Scenario(f"openpgp_{name}", f"{comment}; manifest and hash agree", "openpgp").openpgp(opens=False, **more)


def _second_version(whole: bytes) -> bytes:
    assert whole[KEY_PACKET_BYTES] == 0xD2
    assert 192 <= whole[KEY_PACKET_BYTES + 1] < 224, "a length of two bytes"
    return flip(whole, KEY_PACKET_BYTES + 3, 3)


def _documents() -> Iterator[Scenario]:
    """Manifest or keys.json do not hold what an OpenPGP file needs."""
    changed = Scenario("openpgp_file_changed", "the file is not the one of the manifest", "file").openpgp()
    changed.finish = lambda stored: stored.update({"p.csv.pgp": flip(stored["p.csv.pgp"], 700)})
    yield changed
    for name, member, value, comment in (
        ("key_alg_oaep", "alg", "RSA-OAEP-256", "keys.json names OAEP for an OpenPGP file"),
        ("wrapped_key_short", "wrapped_key", "AAAA", "a wrapped key of 3 bytes"),
    ):
        keys = Scenario(f"openpgp_{name}", comment, "keys").openpgp()
        keys.keys[0]["recipients"][0][member] = value
        yield keys
    native = Scenario("openpgp_alg_of_native", "keys.json names OpenPGP for a native file", "keys").native()
    native.change_keys = lambda document: document["files"][0]["recipients"][0].update(alg="OpenPGP-PKESK")
    yield native
    detached = Scenario("openpgp_with_detached", "an OpenPGP file with nonce and tag outside", "manifest").detached()
    detached.lines[0]["format"] = "openpgp"
    yield detached
