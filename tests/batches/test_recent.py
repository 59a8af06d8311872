"""The index that the pages read: derived from records, exact however old its joined copy is, and made again at any time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from monitor_world import Pages, pages_on

from batches import complete_recent, reindex
from batches.joined import read_joined
from batches.recent import blob_name, read_recent
from local.azurite import Azurite
from monitor.reading import DAYS, forget, read_feeds
from partners import UnknownFeed, load_partners

FEEDS = [(partner.name, feed) for partner in load_partners() for feed in partner.feeds]
ACCRUALS = ("northwind", "accruals")


@pytest.fixture
def pages(azurite: Azurite) -> Iterator[Pages]:
    forget()
    with pages_on(azurite, uuid.uuid4().hex[:8]) as made:
        yield made


def fresh(pages: Pages) -> set[str]:
    return set(read_joined(pages.context)[1])


def states(pages: Pages) -> dict[str, str]:
    forget()
    found = read_feeds(pages.context, [*FEEDS, ("more", "feeds"), ("than", "few"), ("are", "read")], days=DAYS)
    return {each.batch: each.state for feed in found for each in feed.seen}


def content(pages: Pages, name: str) -> bytes:
    return pages.context.stores.batches.download_blob(name).readall()


def test_timer_joins_every_feed_and_again_changes_nothing(pages: Pages) -> None:
    pages.delivered("2026-12-02")

    assert complete_recent(pages.context, FEEDS) == len(FEEDS) - 1
    assert fresh(pages) == {blob_name(*each) for each in FEEDS}
    before = content(pages, "_recent/all.json")
    changed = pages.context.stores.batches.get_blob_client("_recent/all.json").get_blob_properties().last_modified

    assert complete_recent(pages.context, FEEDS) == 0
    assert content(pages, "_recent/all.json") == before
    again = pages.context.stores.batches.get_blob_client("_recent/all.json").get_blob_properties().last_modified
    assert again == changed


def test_feed_that_changed_since_is_read_from_its_own_blob(pages: Pages) -> None:
    record = pages.staged("2026-12-02")
    complete_recent(pages.context, FEEDS)
    assert states(pages)[record.batch] == "under way"

    pages.failed("2026-12-02", "the vault did not answer")

    assert blob_name(*ACCRUALS) not in fresh(pages)
    assert states(pages)[record.batch] == "failed"
    complete_recent(pages.context, FEEDS)
    assert blob_name(*ACCRUALS) in fresh(pages)
    assert states(pages)[record.batch] == "failed"


@pytest.mark.parametrize("damage", [b"\x00{", b"[]", b'{"feeds": {"_recent/northwind/accruals.json": {}}}', None])
def test_joined_blob_that_is_damaged_or_gone_costs_no_batch(pages: Pages, damage: bytes | None) -> None:
    record = pages.delivered("2026-12-02")
    complete_recent(pages.context, FEEDS)
    if damage is None:
        pages.context.stores.batches.delete_blob("_recent/all.json")
    else:
        pages.write("_recent/all.json", damage)

    assert states(pages)[record.batch] == "delivered"
    complete_recent(pages.context, FEEDS)
    assert fresh(pages) == {blob_name(*each) for each in FEEDS}


def test_feed_that_is_removed_leaves_the_joined_blob(pages: Pages) -> None:
    complete_recent(pages.context, FEEDS)

    complete_recent(pages.context, [ACCRUALS])

    assert fresh(pages) == {blob_name(*ACCRUALS)}


@pytest.mark.parametrize("damage", [None, b"\x00{", b'{"seen": {}}'])
def test_index_is_made_again_from_the_records(pages: Pages, damage: bytes | None) -> None:
    pages.delivered("2026-12-02", answer="acknowledged")
    pages.failed("2026-12-03", "no")
    reindex(pages.context, *ACCRUALS)
    right = content(pages, blob_name(*ACCRUALS))
    if damage is None:
        pages.context.stores.batches.delete_blob(blob_name(*ACCRUALS))
    else:
        pages.write(blob_name(*ACCRUALS), damage)

    assert reindex(pages.context, *ACCRUALS) == 2
    assert reindex(pages.context, *ACCRUALS) == 2

    assert content(pages, blob_name(*ACCRUALS)) == right
    found = read_recent(pages.context, *ACCRUALS, since=pages.context.now().date().replace(day=1))
    assert found is not None
    assert [each.state for each in found.newest_first] == ["failed", "acknowledged"]


def test_index_of_no_feed_is_refused(pages: Pages) -> None:
    with pytest.raises(UnknownFeed):
        reindex(pages.context, "northwind", "nothing")
