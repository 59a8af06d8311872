"""What goes right at a partner: every format and size, and whole batches."""

from __future__ import annotations

from collections.abc import Iterator

from encoder import BATCH, Scenario, sha256

SIZES = (0, 1, 16383, 16384, 16385, 32768)


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
    sums = Scenario("manifest_with_sums", "version 2: sums of number columns, of two files and of the batch")
    sums.native().native(file="b.csv")
    yield sums.summing(
        {"amount": "0.3", "fee": "-12.000000000001", "units": "10000000000000000000000"},
        {"amount": "0.1", "fee": "-12", "units": "9999999999999999999999"},
        {"amount": "0.2", "fee": "-0.000000000001", "units": "1"},
    )
    for format in ("detached", "cms"):  # noqa: A001  # the field's word
        one = Scenario(f"{format}_with_sums", "a manifest of version 2, with a sum")
        getattr(one, format)()
        yield one.summing({"amount": "-7.5"}, {"amount": "-7.5"})
    yield Scenario("manifest_without_columns", "version 2, and no column has a sum").native().summing({}, {})
