"""Native files that must not open: a body that does not hold, and a header that is changed or breaks the format."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from changes import Document, flip, setting, without
from encoder import BATCH, Scenario, canonical, oaep, public_key


def body_scenario(
    name: str, comment: str, size: int, body: Callable[[list[bytes]], list[bytes]], **more: Any
) -> Scenario:
    return Scenario(f"native_{name}", comment, "cannot-open").native(size, body=body, **more)


def broken_bodies() -> Iterator[Scenario]:
    yield body_scenario("no_body", "the file ends after its header", 20, lambda p: [])
    yield body_scenario("cut_in_salt", "the file ends in the salt", 20, lambda p: [p[0][:23]])
    yield body_scenario("cut_in_commitment", "the file ends in the commitment", 20, lambda p: [p[0], p[1][:-1]])
    yield body_scenario("cut_before_chunks", "the file ends after the commitment", 20, lambda p: p[:2])
    yield body_scenario("cut_in_chunk", "the last byte is missing", 20, lambda p: [*p[:2], p[2][:-1]])
    yield body_scenario(
        "cut_in_first_chunk",
        "the first of two chunks is cut, the second is missing",
        16400,
        lambda p: [*p[:2], p[2][:9999]],
    )
    yield body_scenario("cut_between_chunks", "the last chunk is missing", 16400, lambda p: p[:3])
    yield body_scenario(
        "empty_last_chunk_missing", "16384 bytes must be followed by an empty chunk", 16384, lambda p: p[:3]
    )
    yield body_scenario("chunks_swapped", "chunks 0 and 1 change places", 32769, lambda p: [*p[:2], p[3], p[2], p[4]])
    yield body_scenario("chunk_doubled", "chunk 0 comes twice", 16400, lambda p: [*p[:2], p[2], p[2], p[3]])
    yield body_scenario("chunk_dropped", "chunk 0 is missing", 16400, lambda p: [*p[:2], p[3]])
    yield body_scenario("trailing_byte", "a byte follows the last chunk", 20, lambda p: [*p, b"\0"])
    yield body_scenario("trailing_chunk", "the last chunk comes twice", 20, lambda p: [*p, p[-1]])
    yield body_scenario(
        "trailing_after_empty_chunk", "a byte follows the empty last chunk", 16384, lambda p: [*p, b"\0"]
    )
    yield body_scenario("flip_salt", "a bit of the salt is flipped", 20, lambda p: [flip(p[0], 0), *p[1:]])
    yield body_scenario(
        "flip_commitment", "a bit of the commitment is flipped", 20, lambda p: [p[0], flip(p[1], 31, 128), *p[2:]]
    )
    for part, place, position in (
        (2, "first_byte_of_chunk_0", 0),
        (2, "last_byte_of_chunk_0", 16383),
        (2, "tag_of_chunk_0", 16399),
        (3, "first_byte_of_chunk_1", 0),
        (3, "tag_of_last_chunk", -1),
    ):

        def flip_there(parts: list[bytes], part: int = part, position: int = position) -> list[bytes]:
            return [*parts[:part], flip(parts[part], position), *parts[part + 1 :]]

        yield body_scenario(f"flip_{place}", f"a bit is flipped: {place.replace('_', ' ')}", 16400, flip_there)
    yield body_scenario("size_understated", "one byte more than header and manifest say", 21, lambda p: p, listed=20)
    yield body_scenario("size_overstated", "one byte less than header and manifest say", 19, lambda p: p, listed=20)
    yield body_scenario("size_overstated_absurdly", "20 bytes that claim to be 2^52", 20, lambda p: p, listed=2**52)
    stranger = Scenario("native_wrong_recipient", "sealed for somebody else", "cannot-open").native(
        recipients=("stranger",)
    )
    yield stranger
    foreign = Scenario(
        "native_body_of_another_file", "the body under the header of another file of the same size", "cannot-open"
    )
    other = Scenario("native_body_of_another_file/other", "", "cannot-open").native()
    body_of_other = other.stored["a.csv.sealed"][-36 - 56 :]
    yield foreign.native(body=lambda _: [body_of_other])


# --- a sound header that is not the one it was sealed with ---


def changed_headers() -> Iterator[Scenario]:
    """Header, keys.json and manifest agree, so only the body's context can tell."""
    for member, value in (
        ("batch", "northwind.accruals.2026-11-21.2"),
        ("created", "2026-11-22T02:00:01Z"),
        ("name", "b.csv"),
        ("plaintext_bytes", 21),
    ):
        scenario = Scenario(
            f"header_{member}_changed", f"{member} is another than at sealing, everywhere", "cannot-open"
        )
        scenario.batch = value if member == "batch" else BATCH  # type: ignore[assignment]
        scenario.prefix = f"{scenario.batch}."
        scenario.native(
            header=setting("batch", BATCH),
            after=setting(member, value),
        )
        if member in ("name", "plaintext_bytes"):
            scenario.lines[-1][member] = value
        if member == "name":
            scenario.keys[-1][member] = value
        yield scenario
    for member, change in (
        ("kid", lambda text: text.replace("partner", "partnes")),
        ("wrapped_key", lambda text: base64.b64encode(flip(base64.b64decode(text), 200)).decode()),
        ("x5t#S256", lambda text: ("A" if text[0] != "A" else "B") + text[1:]),
    ):

        def after(document: Document, member: str = member, change: Callable[[str], str] = change) -> None:
            document["recipients"][0][member] = change(document["recipients"][0][member])

        plain = member.replace("#", "_")
        yield Scenario(
            f"header_{plain}_changed", f"{member} is another than at sealing, everywhere", "cannot-open"
        ).native(after=after)

    def drop_escrow(document: Document) -> None:
        document["recipients"].pop()

    yield Scenario("header_recipient_removed", "a recipient was taken out, everywhere", "cannot-open").native(
        recipients=("partner", "escrow"), after=drop_escrow
    )

    def swap(document: Document) -> None:
        document["recipients"].reverse()

    yield Scenario("header_recipients_reordered", "the recipients change places, everywhere", "cannot-open").native(
        recipients=("partner", "escrow"), after=swap
    )
    short = Scenario("header_wrapped_key_of_31_bytes", "what unwraps is not 32 bytes long", "cannot-open")

    def shorten(document: Document) -> None:
        wrapped = oaep(public_key("partner"), short.chance(31), short.chance(32))
        document["recipients"][0]["wrapped_key"] = base64.b64encode(wrapped).decode()

    yield short.native(header=shorten)


# --- headers that break the format ---


def header_scenario(name: str, comment: str, **more: Any) -> Scenario:
    return Scenario(f"header_{name}", comment, "header").native(same_keys=False, **more)


def framed(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda encoded: change(b"SEALIFT\x01" + len(encoded).to_bytes(4, "big") + encoded)


def malformed_headers() -> Iterator[Scenario]:
    yield header_scenario("magic_changed", "another magic", frame=framed(lambda f: flip(f, 0)))
    yield header_scenario("version_byte_2", "a version that is still to come", frame=framed(lambda f: flip(f, 7, 3)))
    yield header_scenario("length_0", "a header of no bytes", frame=framed(lambda f: f[:8] + bytes(4) + f[12:]))
    yield header_scenario(
        "length_4_gib", "a header length of 4 GiB", frame=framed(lambda f: f[:8] + b"\xff" * 4 + f[12:])
    )
    for name, step in (("long", 1), ("short", -1)):
        yield header_scenario(
            f"length_too_{name}",
            f"the header's length is too {name} by one",
            frame=lambda e, step=step: b"SEALIFT\x01" + (len(e) + step).to_bytes(4, "big") + e,
        )
    yield header_scenario("cut", "the file ends in its header", frame=framed(lambda f: f[:100]), body=lambda _: [])
    yield header_scenario("cut_in_magic", "the file has 5 bytes", frame=framed(lambda f: f[:5]), body=lambda _: [])
    for name, comment, encode in (
        (
            "not_sorted",
            "members in another order",
            lambda d: json.dumps(dict(reversed(d.items())), separators=(",", ":")).encode(),
        ),
        ("with_blanks", "JSON with blanks", lambda d: json.dumps(d, sort_keys=True).encode()),
        ("with_line_end", "JSON and a line end", lambda d: canonical(d) + b"\n"),
        ("with_bom", "JSON after a byte order mark", lambda d: b"\xef\xbb\xbf" + canonical(d)),
        (
            "member_twice",
            "a member comes twice",
            lambda d: canonical(d).replace(b'"type"', b'"type":"sealift-file","type"'),
        ),
        ("escaped", "a character is escaped", lambda d: canonical(d).replace(b'"a.csv"', b'"\\u0061.csv"')),
        ("float", "a size with a fraction", lambda d: canonical(d).replace(b':20,"rec', b':20.0,"rec')),
        ("exponent", "a size with an exponent", lambda d: canonical(d).replace(b':20,"rec', b':2e1,"rec')),
        ("leading_zero", "a size with a leading zero", lambda d: canonical(d).replace(b':20,"rec', b':020,"rec')),
        (
            "million_digits",
            "a size of 60,000 digits",
            lambda d: canonical(d).replace(b':20,"rec', b":" + b"9" * 60000 + b',"rec'),
        ),
        (
            "deep",
            "30,000 nested arrays",
            lambda d: canonical(d).replace(b':20,"rec', b":" + b"[" * 30000 + b"]" * 30000 + b',"rec'),
        ),
        ("not_json", "not JSON", lambda d: canonical(d)[:-1]),
        ("array", "an array instead of an object", lambda d: b"[" + canonical(d) + b"]"),
        ("empty_object", "an object without members", lambda d: b"{}"),
    ):
        yield header_scenario(name, comment, encode=encode)
    for name, comment, change in (
        ("unknown_member", "a member that version 1 does not have", setting("compression", "gzip")),
        ("member_missing", "created is missing", without("created")),
        ("version_2", "version 2 in the JSON", setting("version", 2)),
        ("version_true", "version true", setting("version", True)),
        ("type_foreign", "the type of another document", setting("type", "sealift-keys")),
        ("body_cobblestone_128", "another body", setting("body", "cobblestone-128")),
        ("size_negative", "a size below 0", setting("plaintext_bytes", -1)),
        ("size_2_to_53", "a size above 2^53 - 1", setting("plaintext_bytes", 2**53)),
        ("size_text", "a size in quotes", setting("plaintext_bytes", "20")),
        ("name_of_another_file", "the header of another file", setting("name", "b.csv")),
        ("name_with_path", "a name that leaves the folder", setting("name", "../a.csv")),
        ("batch_of_another_batch", "the header of another batch", setting("batch", "northwind.accruals.2026-11-20.1")),
        ("size_not_the_manifest_s", "a size that the manifest does not say", setting("plaintext_bytes", 19)),
        ("created_local_time", "a time that is not UTC", setting("created", "2026-11-22T02:00:00+01:00")),
        ("created_30_february", "a date that no calendar has", setting("created", "2026-02-30T02:00:00Z")),
        ("created_month_13", "a month that there is not", setting("created", "2026-13-22T02:00:00Z")),
        ("no_recipients", "no recipients", setting("recipients", [])),
        ("recipients_object", "recipients as an object", setting("recipients", {})),
    ):
        yield header_scenario(name, comment, header=change)
    for name, comment, member, value in (
        ("alg_rsa1_5", "RSA with PKCS#1 v1.5", "alg", "RSA1_5"),
        ("kid_with_blank", "a kid with a blank", "kid", "a b"),
        ("kid_empty", "an empty kid", "kid", ""),
        ("thumbprint_spare_bits", "a thumbprint whose spare bits are set", "x5t#S256", "A" * 42 + "B"),
        ("thumbprint_short", "a thumbprint of 42 characters", "x5t#S256", "A" * 42),
        ("wrapped_key_short", "a wrapped key of 128 bytes", "wrapped_key", base64.b64encode(bytes(128)).decode()),
        ("wrapped_key_huge", "a wrapped key of 30,000 bytes", "wrapped_key", base64.b64encode(bytes(30000)).decode()),
        ("wrapped_key_not_base64", "a wrapped key with a foreign character", "wrapped_key", "-" * 512),
        (
            "wrapped_key_loose_base64",
            "unused bits in base64",
            "wrapped_key",
            base64.b64encode(bytes(385)).decode()[:-3] + "B==",
        ),
        (
            "wrapped_key_of_other_recipient",
            "a wrapped key that keys.json does not have",
            "wrapped_key",
            base64.b64encode(bytes(384)).decode(),
        ),
    ):

        def change_recipient(document: Document, member: str = member, value: str = value) -> None:
            document["recipients"][0][member] = value

        yield header_scenario(name, comment, header=change_recipient)

    def nine(document: Document) -> None:
        first = document["recipients"][0]
        document["recipients"] = [first | {"x5t#S256": f"{index:042d}A"} for index in range(9)]

    def twice(document: Document) -> None:
        document["recipients"] *= 2

    yield header_scenario("nine_recipients", "more recipients than allowed", header=nine)
    yield header_scenario("recipient_twice", "a recipient comes twice", header=twice)
