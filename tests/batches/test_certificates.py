"""When certificates expire is on record by sealing, so that nothing else reads them."""

from __future__ import annotations

from batch_world import World

from batches.certificates import read_certificates


def test_sealing_leaves_when_its_certificates_expire(world: World) -> None:
    world.sealed()

    ((used,),) = read_certificates(world.context).values()
    assert (used.purpose, used.secret) == ("partner", "northwind-certificate")
    assert used.expires == world.vault.recipients("northwind-certificate", world.context.now())[0].expires


def test_a_blob_that_somebody_else_wrote_stops_no_batch(world: World) -> None:
    world.stores.batches.upload_blob("_certificates.json", b'{"partners": 5}')

    assert world.status(world.sealed())["state"] == "sealed"

    assert set(read_certificates(world.context)) == {"northwind"}
