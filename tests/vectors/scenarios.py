"""The scenarios: what can go right at a partner, and above all what can go wrong."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from encoder import AES_256_CBC, BATCH, PKCS1_ALGORITHM, Scenario, canonical, oaep, private_key, pss, public_key, sha256

Document = dict[str, Any]
SIZES = (0, 1, 16383, 16384, 16385, 32768)


def all_scenarios() -> Iterator[Scenario]:
    yield from good_files()
    yield from good_batches()
    yield from broken_bodies()
    yield from changed_headers()
    yield from malformed_headers()
    yield from broken_detached()
    yield from broken_cms()
    yield from broken_manifests()
    yield from broken_keys()
    yield from broken_folders()


def flip(data: bytes, position: int, bit: int = 1) -> bytes:
    changed = bytearray(data)
    changed[position] ^= bit
    return bytes(changed)


def setting(member: str, value: Any) -> Callable[[Document], object]:
    return lambda document: document.update({member: value})


def without(member: str) -> Callable[[Document], object]:
    return lambda document: document.pop(member)


# ----------------------------------------------------------------------------------------------------------------- good


def good_files() -> Iterator[Scenario]:
    for size in SIZES:
        yield Scenario(f"native_size_{size}", f"native, {size} bytes of plaintext").native(size)
    for size in (0, 1, 16385):
        yield Scenario(f"detached_size_{size}", f"detached, {size} bytes of plaintext").detached(size)
        yield Scenario(f"cms_size_{size}", f"cms, {size} bytes of plaintext").cms(size)
    for format in ("native", "detached", "cms"):  # noqa: A001  # the field's word
        two = Scenario(f"{format}_two_recipients", "wrapped for partner and escrow, opened by the partner")
        getattr(two, format)(recipients=("partner", "escrow"))
        yield two
        escrow = Scenario(f"{format}_opened_by_escrow", "wrapped for partner and escrow, opened with the escrow key")
        getattr(escrow, format)(recipients=("partner", "escrow"))
        escrow.key = "escrow"
        yield escrow
        large = Scenario(f"{format}_rsa_4096", "a partner with an RSA key of 4096 bits")
        getattr(large, format)(recipients=("partner-4096",))
        large.key = "partner-4096"
        yield large


def good_batches() -> Iterator[Scenario]:
    mixed = Scenario("batch_of_three_formats", "native, detached and cms in one batch")
    yield mixed.native(100).detached(200).cms(300)
    yield Scenario("batch_without_files", "an empty batch is a batch")
    plain = Scenario(
        "batch_with_plain_names", "manifest.json without the batch's name, as it is stored at home"
    ).native()
    plain.prefix = ""
    yield plain
    other = Scenario("batch_beside_another", "two batches in one folder, one is chosen").native()
    other.chosen = BATCH
    other.finish = lambda stored: stored.update({"northwind.accruals.2026-11-22.1.manifest.json": b"{}"})
    yield other
    extra = Scenario("batch_with_unlisted_file", "a file that the manifest does not list is not opened").native()
    extra.finish = lambda stored: stored.update({"b.csv.sealed": stored["a.csv.sealed"]})
    yield extra
    first = Scenario("manifest_first_of_feed", "no previous manifest, a record head").native()
    first.change_manifest = lambda m: m.update(previous_manifest_sha256=None, record_head=sha256(b"head"), sequence=1)
    yield first


# ---------------------------------------------------------------------------------------- native: the body does not hold


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


# ------------------------------------------------------------------ native: a sound header that is not the one it was sealed with


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


# --------------------------------------------------------------------------------------- native: headers that break the format


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
        ("created_month_13", "a month that there is not", setting("created", "2026-13-22T02:00:00Z")),
        ("no_recipients", "no recipients", setting("recipients", [])),
        ("recipients_object", "recipients as an object", setting("recipients", {})),
    ):
        yield header_scenario(name, comment, header=change)
    for name, comment, member, value in (
        ("alg_rsa1_5", "RSA with PKCS#1 v1.5", "alg", "RSA1_5"),
        ("kid_with_blank", "a kid with a blank", "kid", "a b"),
        ("kid_empty", "an empty kid", "kid", ""),
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
        document["recipients"] = [first | {"x5t#S256": f"{index:043d}"} for index in range(9)]

    def twice(document: Document) -> None:
        document["recipients"] *= 2

    yield header_scenario("nine_recipients", "more recipients than allowed", header=nine)
    yield header_scenario("recipient_twice", "a recipient comes twice", header=twice)


# -------------------------------------------------------------------------------------------------------- detached and cms


def broken_detached() -> Iterator[Scenario]:
    more: dict[str, Any]
    for name, comment, more in (
        ("flip", "a bit of the ciphertext is flipped; manifest and hash agree", {"data": lambda d: flip(d, 7)}),
        ("cut", "the last byte is missing; manifest and hash agree", {"data": lambda d: d[:-1]}),
        ("trailing_byte", "a byte follows; manifest and hash agree", {"data": lambda d: d + b"\0"}),
        ("wrong_nonce", "the manifest names another nonce", {"line": setting("nonce", "00" * 12)}),
        ("wrong_tag", "the manifest names another tag", {"line": setting("tag", "00" * 16)}),
        ("wrong_recipient", "sealed for somebody else", {"recipients": ("stranger",)}),
    ):
        yield Scenario(f"detached_{name}", comment, "cannot-open").detached(**more)
    changed = Scenario("detached_key_file_changed", "the .key file is not the one of the manifest", "file").detached()
    changed.finish = lambda stored: stored.update({"d.csv.key": flip(stored["d.csv.key"], 100)})
    yield changed
    missing = Scenario("detached_key_file_missing", "the .key file is not there", "incomplete").detached()
    missing.finish = lambda stored: stored.pop("d.csv.key")
    yield missing

    def swap_keys(stored: dict[str, bytes]) -> None:
        stored["d.csv.key"], stored["e.csv.key"] = stored["e.csv.key"], stored["d.csv.key"]

    swapped = (
        Scenario("detached_key_files_swapped", "two .key files change places", "file").detached().detached(file="e.csv")
    )
    swapped.finish = swap_keys
    yield swapped
    foreign = Scenario(
        "detached_key_not_in_keys_json", "manifest and .key file agree, keys.json has another key", "keys"
    ).detached()
    other = Scenario("detached_key_not_in_keys_json/other", "").detached()
    foreign.stored["d.csv.key"] = other.stored["d.csv.key"]
    foreign.lines[0]["detached"]["key_sha256"] = sha256(other.stored["d.csv.key"])
    yield foreign
    consistent = Scenario(
        "detached_key_of_another_file", "everything names the key of another file", "cannot-open"
    ).detached()
    consistent.stored["d.csv.key"] = other.stored["d.csv.key"]
    consistent.lines[0]["detached"]["key_sha256"] = sha256(other.stored["d.csv.key"])
    consistent.keys[0]["recipients"] = other.keys[0]["recipients"]
    yield consistent


def broken_cms() -> Iterator[Scenario]:
    more: dict[str, Any]
    for name, comment, more in (
        ("flip", "a bit of the ciphertext is flipped; manifest and hash agree", {"data": lambda d: flip(d, 7)}),
        ("flip_tag", "a bit of the tag is flipped; manifest and hash agree", {"mac": lambda m: flip(m, 15)}),
        ("flip_nonce", "a bit of the nonce is flipped; manifest and hash agree", {"nonce": lambda n: flip(n, 0)}),
        ("cut_tag", "the last byte is missing; manifest and hash agree", {"whole": lambda w: w[:-1]}),
        ("cut_before_tag", "the tag is missing; manifest and hash agree", {"whole": lambda w: w[:-18]}),
        ("trailing_byte", "a byte follows; manifest and hash agree", {"whole": lambda w: w + b"\0"}),
        ("wrong_recipient", "sealed for somebody else", {"recipients": ("stranger",)}),
    ):
        yield Scenario(f"cms_{name}", comment, "cannot-open").cms(**more)
    for name, comment, more in (
        ("pkcs1_v1_5", "a recipient with RSA PKCS#1 v1.5", {"wrapping": PKCS1_ALGORITHM}),
        ("cbc", "AES-256-CBC instead of GCM", {"algorithm": AES_256_CBC}),
        ("not_cms", "a native file under the name of a cms file", {"whole": lambda _: b"SEALIFT\x01" + bytes(100)}),
        ("indefinite_length", "BER with an indefinite length", {"whole": lambda w: w[:1] + b"\x80" + w[3:] + bytes(2)}),
        ("empty", "an empty file", {"whole": lambda _: b""}),
        ("cut_in_head", "the file ends before the ciphertext", {"whole": lambda w: w[:200]}),
        ("short_nonce", "a nonce of 8 bytes", {"nonce": lambda n: n[:8]}),
        ("size_not_the_manifest_s", "the ciphertext is longer than the manifest says", {"data": lambda d: d + b"\0"}),
        ("claims_4_gib", "an element claims 4 GiB", {"whole": lambda w: b"\x31\x84\xff\xff\xff\xff" + w}),
    ):
        yield Scenario(f"cms_{name}", comment, "header").cms(**more)


# --------------------------------------------------------------------------------------------------- manifest and keys.json


def broken_manifests() -> Iterator[Scenario]:
    def stored_change(name: str, comment: str, expect: str, change: Callable[[dict[str, bytes]], object]) -> Scenario:
        scenario = Scenario(f"manifest_{name}", comment, expect).native()
        scenario.finish = change
        return scenario

    manifest, signature = f"{BATCH}.manifest.json", f"{BATCH}.manifest.json.sig"
    yield stored_change("missing", "there is no manifest yet", "incomplete", lambda s: s.pop(manifest))
    yield stored_change("unsigned", "there is no signature", "incomplete", lambda s: s.pop(signature))
    yield stored_change("signature_empty", "the signature is empty", "signature", lambda s: s.update({signature: b""}))
    yield stored_change(
        "signature_long", "a signature of 2000 bytes", "signature", lambda s: s.update({signature: bytes(2000)})
    )
    yield stored_change(
        "flip", "a bit of the manifest is flipped", "signature", lambda s: s.update({manifest: flip(s[manifest], 60)})
    )
    yield stored_change(
        "size_changed", "a number of the manifest is changed", "signature",
        lambda s: s.update({manifest: s[manifest].replace(b'"sequence":42', b'"sequence":43')}),
    )  # fmt: skip
    yield stored_change(
        "flip_signature",
        "a bit of the signature is flipped",
        "signature",
        lambda s: s.update({signature: flip(s[signature], 99)}),
    )

    def signed(name: str, comment: str, sign: Callable[[Scenario, bytes], bytes]) -> Scenario:
        scenario = Scenario(f"manifest_{name}", comment, "signature").native()
        scenario.sign = lambda data: sign(scenario, data)
        return scenario

    yield signed(
        "signed_by_other", "signed by another sender", lambda s, d: pss(private_key("other-sender"), d, s.chance(32))
    )
    yield signed(
        "signature_of_other",
        "the signature of another manifest",
        lambda s, d: pss(private_key("sender"), d + b" ", s.chance(32)),
    )
    yield signed(
        "signature_salt_20", "a PSS salt of 20 bytes", lambda s, d: pss(private_key("sender"), d, s.chance(20))
    )
    yield signed(
        "signature_pkcs1",
        "a PKCS#1 v1.5 signature",
        lambda s, d: private_key("sender").sign(d, padding.PKCS1v15(), hashes.SHA256()),
    )

    for name, comment, change in (
        ("of_another_batch", "another batch's manifest under this name", setting("batch", "northwind.accruals.2026-11-20.1")),
        ("unknown_member", "a member that version 1 does not have", setting("note", "x")),
        ("member_missing", "record_head is missing", without("record_head")),
        ("version_2", "version 2", setting("version", 2)),
        ("type_foreign", "the type of another document", setting("type", "sealift-file")),
        ("signature_foreign", "another signature algorithm", setting("signature", "Ed25519")),
        ("window_backwards", "the window ends before it starts", setting("window_end", "2026-11-20T00:00:00Z")),
        ("sequence_negative", "a sequence below 0", setting("sequence", -1)),
        ("sequence_true", "a sequence that is true", setting("sequence", True)),
        ("feed_with_path", "a feed that leaves the folder", setting("feed", "../accruals")),
        ("totals_wrong", "totals that are not the sums", lambda m: m["totals"].update(sealed_bytes=1)),
        ("totals_true", "totals with true for 1", lambda m: m["totals"].update(files=True)),
        ("keys_hash_null", "no hash of keys.json", setting("keys_sha256", None)),
        ("file_name_with_path", "a file name that leaves the folder", lambda m: m["files"][0].update(name="../../a.csv")),
        ("file_name_part", "a name that readers write to", lambda m: m["files"][0].update(name="a.csv.Part")),
        ("file_name_hidden", "a file name with a leading dot", lambda m: m["files"][0].update(name=".bashrc")),
        ("sealed_name_with_path", "a sealed name that leaves the folder", lambda m: m["files"][0].update(sealed_name="/etc/x")),
        ("format_unknown", "a format that there is not", lambda m: m["files"][0].update(format="zip")),
        ("detached_missing", "a detached file without nonce and tag", lambda m: m["files"][0].update(format="detached")),
        ("detached_too_much", "a native file with nonce and tag", lambda m: m["files"][0].update(
            detached={"key_name": "a.csv.key", "key_sha256": "0" * 64, "nonce": "0" * 24, "tag": "0" * 32})),
        ("hash_upper_case", "a hash in upper case", lambda m: m["files"][0].update(sealed_sha256="A" * 64)),
        ("file_without_recipients", "a file that nobody can open", lambda m: m["files"][0].update(recipients=[])),
        ("rows_text", "rows in quotes", lambda m: m["files"][0].update(rows="7")),
    ):  # fmt: skip
        scenario = Scenario(f"manifest_{name}", comment, "manifest").native()
        scenario.change_manifest = change
        yield scenario

    def inflate(manifest: Document) -> None:
        for sizes in (manifest["files"][0], manifest["totals"]):
            sizes["plaintext_bytes"] = 2**30 + 1

    inflated = Scenario("manifest_size_above_the_format_s", "a cms file of more than 1 GiB", "manifest").cms()
    inflated.change_manifest = inflate
    yield inflated

    def double(manifest: Document) -> None:
        again = copy.deepcopy(manifest["files"][0])
        again.update(name=again["name"].upper(), sealed_name="b.csv.sealed")
        manifest["files"].append(again)
        for total in ("plaintext_bytes", "rows", "sealed_bytes"):
            manifest["totals"][total] *= 2
        manifest["totals"]["files"] = 2

    twice = Scenario("manifest_file_twice", "two names that differ in case only", "manifest").native()
    twice.change_manifest = double
    yield twice
    for name, comment, encode in (
        ("pretty", "indented JSON", lambda m: json.dumps(m, sort_keys=True, indent=1).encode()),
        (
            "not_sorted",
            "members in another order",
            lambda m: json.dumps(dict(reversed(m.items())), separators=(",", ":")).encode(),
        ),
        ("deep", "a million nested arrays", lambda m: b"[" * 100_000),
        ("not_json", "not JSON", lambda m: b"batch: 1"),
        ("empty", "an empty manifest", lambda m: b""),
    ):
        scenario = Scenario(f"manifest_{name}", comment, "manifest").native()
        scenario.encode_manifest = encode
        yield scenario


def broken_keys() -> Iterator[Scenario]:
    def changed(name: str, comment: str, change: Callable[[Document], object], files: int = 1) -> Scenario:
        scenario = Scenario(f"keys_{name}", comment, "keys")
        for index in range(files):
            scenario.native(file=f"{'ab'[index]}.csv")
        scenario.change_keys = change
        return scenario

    def swap(keys: Document) -> None:
        first, second = keys["files"]
        first["recipients"], second["recipients"] = second["recipients"], first["recipients"]

    yield changed(
        "of_another_batch",
        "the keys.json of another batch, named by the manifest",
        setting("batch", "northwind.accruals.2026-11-20.1"),
    )
    yield changed("file_missing", "keys.json lacks a file", lambda k: k["files"].pop(), 2)
    yield changed(
        "file_extra", "keys.json has a file more", lambda k: k["files"].append(k["files"][0] | {"name": "z.csv"})
    )
    yield changed("files_reordered", "keys.json in another order", lambda k: k["files"].reverse(), 2)
    yield changed(
        "foreign_hash", "keys.json names another sealed file", lambda k: k["files"][0].update(sealed_sha256="0" * 64)
    )
    yield changed(
        "foreign_kid", "keys.json names another kid", lambda k: k["files"][0]["recipients"][0].update(kid="x")
    )
    yield changed("unknown_member", "a member that version 1 does not have", setting("note", "x"))
    swapped = Scenario("keys_swapped", "the wrapped keys of two files change places in keys.json", "header")
    swapped.native(file="a.csv").native(file="b.csv")
    swapped.change_keys = swap
    yield swapped
    other = Scenario("keys_changed", "keys.json is not the one that the manifest names", "keys").native()
    name = f"{BATCH}.keys.json"
    other.finish = lambda stored: stored.update({name: stored[name] + b" "})
    yield other
    missing = Scenario("keys_missing", "there is no keys.json", "incomplete").native()
    missing.finish = lambda stored: stored.pop(name)
    yield missing


def broken_folders() -> Iterator[Scenario]:
    def two(name: str, comment: str, expect: str, finish: Callable[[dict[str, bytes]], object]) -> Scenario:
        scenario = Scenario(f"folder_{name}", comment, expect).native(file="a.csv").native(file="b.csv")
        scenario.finish = finish
        return scenario

    def swap(stored: dict[str, bytes]) -> None:
        stored["a.csv.sealed"], stored["b.csv.sealed"] = stored["b.csv.sealed"], stored["a.csv.sealed"]

    yield two(
        "file_missing",
        "the second file is not there; the first is not opened either",
        "incomplete",
        lambda s: s.pop("b.csv.sealed"),
    )
    yield two(
        "file_cut", "the second file is cut", "file", lambda s: s.update({"b.csv.sealed": s["b.csv.sealed"][:-1]})
    )
    yield two(
        "file_longer",
        "the second file is longer",
        "file",
        lambda s: s.update({"b.csv.sealed": s["b.csv.sealed"] + b"\0"}),
    )
    yield two(
        "file_changed",
        "a bit of the second file is flipped",
        "file",
        lambda s: s.update({"b.csv.sealed": flip(s["b.csv.sealed"], -1)}),
    )
    yield two("files_swapped", "two files change places", "file", swap)
    strict = two(
        "unlisted_file_refused",
        "with --strict, a file that the manifest does not list",
        "extra",
        lambda s: s.update({"c.txt": b"x"}),
    )
    strict.strict = True
    yield strict
    undecided = two("two_batches", "two batches in the folder and none is chosen", "usage",
                    lambda s: s.update({"northwind.accruals.2026-11-22.1.manifest.json": b"{}"}))  # fmt: skip
    yield undecided
    chosen = two("chosen_batch_missing", "the chosen batch is not there", "incomplete", lambda s: None)
    chosen.chosen = "northwind.accruals.2026-11-23.1"
    yield chosen
