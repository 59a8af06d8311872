"""Batches that must not be believed: manifest, keys.json and folder."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator

from changes import Document, flip, setting, without
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from encoder import BATCH, Scenario, private_key, pss


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
        ("version_2", "version 2 without sums", setting("version", 2)),
        ("version_3", "version 3", setting("version", 3)),
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
        ("file_name_device", "a name that is a device on Windows", lambda m: m["files"][0].update(name="con.csv")),
        ("sealed_name_device", "a sealed name that is a device", lambda m: m["files"][0].update(sealed_name="Lpt1 .a.sealed")),
        ("thumbprint_spare_bits", "a thumbprint whose spare bits are set",
         lambda m: m["files"][0]["recipients"][0].update({"x5t#S256": m["files"][0]["recipients"][0]["x5t#S256"][:-1] + "Z"})),
        ("created_30_february", "a date that no calendar has", setting("created", "2026-02-30T00:00:00Z")),
        ("window_29_february", "a leap day in a common year", setting("window_start", "2026-02-29T00:00:00Z")),
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

    two = {"amount": "3", "fee": "-1.5"}
    for name, comment, totals, sums in (
        ("wrong", "a total that is not the sum of its files", two | {"amount": "4"}, two),
        ("wrong_in_last_digit", "a total that is wrong by 10^-12", two | {"amount": "3.000000000001"}, two),
        ("unordered", "columns out of order", dict(reversed(two.items())), dict(reversed(two.items()))),
        ("other_columns", "a file without one of the columns", two, {"amount": "3"}),
        ("needless_zero", "a sum with a needless zero", two | {"fee": "-1.50"}, two | {"fee": "-1.50"}),
        ("negative_zero", "a sum of -0", two | {"fee": "-0"}, two | {"fee": "-0"}),
        ("exponent", "a sum with an exponent", two | {"fee": "1e3"}, two | {"fee": "1e3"}),
        ("number", "a sum without quotes", two | {"fee": 1}, two | {"fee": 1}),
        ("column_with_blank", "a column that is no name", {"a b": "1"}, {"a b": "1"}),
    ):
        yield Scenario(f"manifest_sums_{name}", comment, "manifest").native().summing(totals, sums)  # type: ignore[arg-type]  # one is no text
    doubled = (
        Scenario("manifest_sums_column_twice", "a column that is there twice", "manifest").native().summing({}, {})
    )
    doubled.sums = doubled.lines[0]["sums"] = [{"column": "amount", "sum": "1"}, {"column": "amount", "sum": "1"}]
    yield doubled
    lacking = Scenario("manifest_sums_fewer_columns", "the second file lacks a column of the first", "manifest")
    yield lacking.native().native(file="b.csv").summing(two, two, {"amount": "0"})
    earlier = Scenario("manifest_sums_in_version_1", "sums in a manifest of version 1", "manifest").native()
    earlier.summing(two, two).change_manifest = setting("version", 1)
    yield earlier

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
