"""When certificates expire is on record by sealing, so that nothing else reads them."""

from __future__ import annotations

from datetime import UTC, datetime

from batch_world import World

from batches.certificates import InUse, read_certificates, remember_certificates
from delivery import parse_host_key

PIN = "AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
OTHER_PIN = "AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC"


def test_sealing_leaves_when_its_certificates_expire(world: World) -> None:
    world.sealed()

    ((used,),) = read_certificates(world.context).partners.values()
    assert (used.purpose, used.secret) == ("partner", "northwind-certificate")
    assert used.expires == world.vault.recipients("northwind-certificate", world.context.now())[0].expires


def test_a_blob_that_somebody_else_wrote_stops_no_batch(world: World) -> None:
    world.stores.batches.upload_blob("_certificates.json", b'{"partners": 5}')

    assert world.status(world.sealed())["state"] == "sealed"

    assert set(read_certificates(world.context).partners) == {"northwind"}


def test_keys_and_host_keys_have_the_days_on_which_they_were_in_use(world: World) -> None:
    first, second = (
        InUse(purpose="partner", secret="northwind-certificate", expires=None, thumbprint=each) for each in "ab"
    )
    old, new = (f"ssh-ed25519 {line}" for line in (PIN, OTHER_PIN))
    monday, tuesday, friday = (datetime(2026, 11, day, 2, tzinfo=UTC) for day in (23, 24, 27))

    remember_certificates(world.at(monday), "northwind", (first,), [old])
    written = world.stores.batches.get_blob_client("_certificates.json").get_blob_properties().last_modified
    remember_certificates(world.at(tuesday), "northwind", (first,), [old])
    again = world.stores.batches.get_blob_client("_certificates.json").get_blob_properties().last_modified
    remember_certificates(world.at(friday), "northwind", (first, second), [new])

    keys = read_certificates(world.context).keys["northwind"]
    assert again == written, "nothing changed, so nothing is written"
    assert {(each.kind, each.name, each.since, each.until) for each in keys} == {
        ("partner", "northwind-certificate", monday, None),
        ("partner", "northwind-certificate", friday, None),
        ("host key", "ssh-ed25519", monday, friday),
        ("host key", "ssh-ed25519", friday, None),
    }
    assert all(each.fingerprint.startswith("SHA256:") for each in keys if each.kind == "host key")


def test_sealing_leaves_the_thumbprint_and_the_pins(world: World) -> None:
    world.sealed()

    keys = read_certificates(world.context).keys["northwind"]

    wanted = world.vault.recipients("northwind-certificate", world.context.now())[0].thumbprint
    assert [each.fingerprint for each in keys if each.kind == "partner"] == [wanted]
    pins = world.context.partner("northwind").sftp.host_keys
    assert [each.fingerprint for each in keys if each.kind == "host key"] == [
        parse_host_key(pin).sha256 for pin in pins
    ]
