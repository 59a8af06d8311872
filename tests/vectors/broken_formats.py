"""Detached and CMS files that must not open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from changes import flip, setting
from encoder import AES_256_CBC, PKCS1_ALGORITHM, Scenario, sha256


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
        ("long_length", "a length with a needless byte", {"whole": lambda w: w[:1] + b"\x83\0" + w[2:]}),
        ("outer_length", "the outermost element ends before its content", {"whole": lambda w: w[:1] + b"\x10" + w[4:]}),
        ("inner_length", "an inner element is longer than the outer one", {"whole": lambda w: flip(w, 20)}),
        ("recipient_version", "a recipient of version 2", {"version": b"\x02\x01\x02"}),
        (
            "recipients_out_of_order",
            "the recipients are not in DER order",
            {"recipients": ("partner", "escrow"), "order": lambda infos: sorted(infos, reverse=True)},
        ),
        ("claims_4_gib", "an element claims 4 GiB", {"whole": lambda w: b"\x31\x84\xff\xff\xff\xff" + w}),
    ):
        yield Scenario(f"cms_{name}", comment, "header").cms(**more)
