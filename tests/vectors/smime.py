"""S/MIME files: what goes right at a partner, and what must be refused although the manifest names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from changes import flip
from encoder import AES_256_GCM, OAEP_ALGORITHM, PKCS1_ALGORITHM, Scenario, segments, sha256, signed_data


def good_smime() -> Iterator[Scenario]:
    for size in (0, 15, 16, 17, 65_519, 65_520, 131_072):
        yield Scenario(f"smime_size_{size}", f"smime, {size} bytes of plaintext").smime(size)
    for size in (0, 1, 65_536):
        yield Scenario(f"smime_signed_size_{size}", f"smime, signed, {size} bytes of plaintext").smime(size, sign=True)
    yield Scenario("smime_oaep", "the key wrapped by OAEP").smime(alg="RSA-OAEP-256")
    yield Scenario("smime_pem", "in PEM, signed").smime(3000, armour="pem", sign=True)
    yield Scenario("smime_mime", "a MIME message").smime(100_000, armour="mime", extension="")
    for size in (1, 17, 33):  # base64 without padding and with one or two
        yield Scenario(f"smime_pem_size_{size}", f"in PEM, {size} bytes of plaintext").smime(size, armour="pem")
    two = ("partner", "escrow")
    yield Scenario("smime_two_recipients", "wrapped for partner and escrow, opened by the partner").smime(
        recipients=two
    )
    escrow = Scenario("smime_opened_by_escrow", "wrapped for partner and escrow, opened with the escrow key")
    escrow.key = "escrow"
    yield escrow.smime(recipients=two, alg="RSA-OAEP-256")
    large = Scenario("smime_rsa_4096", "a partner with an RSA key of 4096 bits")
    large.key = "partner-4096"
    yield large.smime(recipients=("partner-4096",))
    nested = Scenario("smime_plaintext_looks_signed", "an unsigned file whose plaintext is a SignedData itself")
    inner = signed_data(b"hello")
    nested.smime(len(inner), content=lambda _: inner)
    nested.opened = {"s.csv": sha256(inner)}
    yield nested


def arriving(name: str, comment: str, change: Callable[[bytes], bytes]) -> Scenario:
    """A file that is not the one that the manifest names."""
    scenario = Scenario(f"smime_{name}", comment, "file").smime()
    scenario.finish = lambda stored: stored.update({"s.csv.p7m": change(stored["s.csv.p7m"])})
    return scenario


def spare_bit(text: bytes) -> bytes:
    """Set the lowest bit of the last character of base64, which a padding follows."""
    last = text.index(b"=") - 1
    return text[:last] + bytes([text[last] + 1]) + text[last + 1 :]


def broken_smime() -> Iterator[Scenario]:
    def broken(name: str, comment: str, expect: str, size: int = 20, **how: Any) -> Scenario:
        return Scenario(f"smime_{name}", comment, expect).smime(size, **how)

    yield broken("not_cms", "bytes that are no S/MIME", "header", whole=lambda _: b"hello, this is no S/MIME")
    yield broken("empty", "an empty file", "header", whole=lambda _: b"")
    yield broken("cut_in_head", "the file ends in its recipients", "header", whole=lambda data: data[:100])
    yield broken(
        "definite_length",
        "the outermost length is definite",
        "header",
        whole=lambda data: b"\x30\x82\x02\x80" + data[2:],
    )
    yield broken("version_2", "another version", "header", whole=lambda data: flip(data, 19, 2))
    yield broken("gcm", "another cipher", "header", cipher=AES_256_GCM)
    yield broken("wrong_wrapping", "OAEP where keys.json says PKCS#1 v1.5", "header", wrapping=OAEP_ALGORITHM)
    yield broken(
        "oaep_as_pkcs1", "PKCS#1 v1.5 where keys.json says OAEP", "header", alg="RSA-OAEP-256", wrapping=PKCS1_ALGORITHM
    )
    two = ("partner", "escrow")
    yield broken("recipients_out_of_order", "recipients in another order than DER's", "header", recipients=two,
                 order=lambda infos: sorted(infos, reverse=True))  # fmt: skip
    yield broken("recipient_too_long", "a recipient that claims five bytes more than recipientInfos holds", "header",
                 order=lambda infos: [infos[0][:2] + (len(infos[0]) + 1).to_bytes(2, "big") + infos[0][4:]])  # fmt: skip
    yield broken("other_algorithm", "keys wrapped in a way that no smime file has", "keys", alg="RSA-OAEP")
    yield broken("wrong_recipient", "wrapped for somebody else", "cannot-open", recipients=("stranger",))
    yield broken(
        "flip", "a bit of the padding's block is flipped", "cannot-open", whole=lambda data: flip(data, -20, 1)
    )
    yield broken(
        "cut_between_segments",
        "the second segment is missing",
        "cannot-open",
        70_000,
        parts=lambda s: segments(s)[:65_541],
    )
    yield broken("cut_in_segment", "the last segment is cut", "cannot-open", whole=lambda data: data[:-15])
    yield broken("cut_ends", "the last zero byte is missing", "cannot-open", whole=lambda data: data[:-1])
    yield broken("trailing_byte", "a byte after the end", "cannot-open", whole=lambda data: data + b"\0")
    yield broken("small_segments", "segments of 4,096 bytes", "cannot-open", 70_000, parts=lambda s: segments(s, 4096))
    yield broken(
        "large_segment",
        "one segment of more than 65,536 bytes",
        "cannot-open",
        70_000,
        parts=lambda s: segments(s, 100_000),
    )
    yield broken("long_length", "a segment's length in more bytes than it takes", "cannot-open",
                 parts=lambda s: b"\x04\x81" + bytes([len(s)]) + s)  # fmt: skip
    yield broken(
        "constructed_segment", "a segment of another kind", "cannot-open", parts=lambda s: b"\x24" + segments(s)[1:]
    )
    yield broken("no_segment", "no ciphertext", "cannot-open", parts=lambda _: b"")
    yield broken(
        "half_block", "a ciphertext that is no whole number of blocks", "cannot-open", parts=lambda s: segments(s[:-1])
    )
    for name, comment, change in (
        ("padding_0", "padding of 0 bytes", lambda data: data[:-1] + b"\0"),
        ("padding_17", "padding of 17 bytes", lambda data: data[:-1] + b"\x11"),
        ("padding_mixed", "padding of different bytes", lambda data: data[:-2] + b"\x01\x0c"),
    ):
        yield broken(name, comment, "cannot-open", padded=change)
    yield broken(
        "shorter_than_the_manifest_s", "fewer bytes than the manifest says", "cannot-open", content=lambda c: c[:-1]
    )
    yield broken(
        "longer_than_the_manifest_s", "more bytes than the manifest says", "cannot-open", content=lambda c: c + b"x"
    )
    signed: list[tuple[str, str, Callable[[bytes], bytes]]] = [
        ("other_head", "a SignedData of version 3", lambda data: flip(data, 19, 2)),
        ("shorter", "fewer bytes than the manifest says", lambda _: signed_data(b"x" * 19)),
        ("longer", "more bytes than the manifest says", lambda _: signed_data(b"x" * 21)),
        ("cut", "the signature is cut", lambda data: data[:-7]),
        ("too_much", "more than 64 KiB after the content", lambda data: data[:-6] + bytes(70_000)),
    ]
    for name, comment, change in signed:
        yield broken(f"signed_{name}", comment, "cannot-open", sign=True, content=change)
    yield arriving("file_changed", "a bit was flipped on the way", lambda data: flip(data, -30))
    yield arriving("file_cut", "the end was cut on the way", lambda data: data[:-12])
    texts: list[tuple[str, str, Callable[[bytes], bytes]]] = [
        ("begin", "another first line", lambda text: text.replace(b"CMS", b"PKCS7", 1)),
        ("no_end", "the last line is missing", lambda text: text[: -len(b"-----END CMS-----\n")]),
        ("long_lines", "lines of 76 characters", lambda text: text[:20] + b"\n".join(
            text[20:-18].replace(b"\n", b"")[i : i + 76] for i in range(0, len(text) - 38, 76)) + b"\n" + text[-18:]),
        ("not_base64", "a character that base64 lacks", lambda text: text.replace(text[100:101], b"!", 1)),
        ("spare_bits", "a last character of base64 with bits that belong to no byte", spare_bit),
        ("carriage_returns", "lines that end with CR LF", lambda text: text.replace(b"\n", b"\r\n")),
    ]  # fmt: skip
    for name, comment, change in texts:
        yield broken(f"pem_{name}", comment, "header", 3000, armour="pem", text=change)
