"""The newest batches of all feeds in one blob, `_recent/all.json`: an overview of many feeds reads it and one listing.

The timer joins the feeds' own blobs (`batches.recent`) with their ETags. What changed since is seen in the listing: such a feed
is not taken from here, its own blob is read. So the joined blob is never wrong, only less useful when it is old, cut or missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from pydantic import Field

from batches import blobs
from batches.context import Context
from batches.errors import Unreadable
from batches.recent import FOLDER, Seen, blob_name, read_recent, rebuild
from batches.record import Stored
from partners import UnknownFeed

JOINED_DAYS = 37  # what an overview shows, and a day more at both ends
AT_ONCE = 16
_NAME = f"{FOLDER}all.json"

FeedName = tuple[str, str]  # partner, feed


class FeedJoined(Stored):
    """One feed's batches of the last days, as its own blob with this ETag has them."""

    etag: str
    seen: tuple[Seen, ...] = ()


class Joined(Stored):
    """_recent/all.json: by the name of the feed's own blob."""

    feeds: dict[str, FeedJoined] = Field(default={})


def read_joined(context: Context) -> tuple[set[str], dict[str, FeedJoined]]:
    """Return the names of all feeds' blobs, and those of them whose batches are here as they are there."""
    listed = _list(context)
    joined = _read(context) if _NAME in listed else Joined()
    fresh = {name: each for name, each in joined.feeds.items() if listed.get(name) == each.etag}
    return listed.keys() - {_NAME}, fresh


def complete(context: Context, feeds: Iterable[FeedName]) -> int:
    """Make the feeds' blobs that are missing or unreadable, and join all; return how many were made.

    A feed without batches gets an empty one.
    """
    names = {blob_name(*each): each for each in feeds}
    listed, fresh = read_joined(context)
    made = 0
    for name in names.keys() - fresh.keys():
        if name not in listed or not _is_readable(context, *names[name]):
            rebuild(context, *names[name])
            made += 1
    _join(context, names, fresh)
    return made


def reindex(context: Context, partner: str, feed: str) -> int:
    """Make a feed's blob anew and return how many batches it holds. Raises PartnerError."""
    whose = context.partner(partner)
    if feed not in whose.feeds:
        raise UnknownFeed(f"{partner} has no feed {feed!r}", f"its feeds are: {', '.join(whose.feeds)}")
    return len(rebuild(context, partner, feed).seen)


def _join(context: Context, names: dict[str, FeedName], fresh: dict[str, FeedJoined]) -> None:
    """Write the joined blob, where it would change. An entry whose feed changes meanwhile is not used by any reader."""
    listed = _list(context)
    kept = {name: each for name, each in fresh.items() if name in names and listed.get(name) == each.etag}
    changed = sorted(name for name in names if name in listed and name not in kept)
    if not changed and kept.keys() == fresh.keys() and _NAME in listed:
        return
    first = context.now().date() - timedelta(days=JOINED_DAYS)

    def read(name: str) -> FeedJoined | None:
        try:
            recent = read_recent(context, *names[name], since=first)
        except Unreadable:
            return None
        return FeedJoined(etag=listed[name], seen=tuple(recent.newest_first)) if recent else None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = {name: each for name, each in zip(changed, pool.map(read, changed), strict=True) if each}
    content = Joined(feeds={**kept, **found}).model_dump_json(exclude_defaults=True).encode()
    context.stores.batches.upload_blob(_NAME, content, overwrite=True)


def _is_readable(context: Context, partner: str, feed: str) -> bool:
    try:
        return read_recent(context, partner, feed, since=context.now().date()) is not None
    except Unreadable:
        return False


def _list(context: Context) -> dict[str, str]:
    found = context.stores.batches.list_blobs(name_starts_with=FOLDER)
    return {str(blob.name): str(blob.etag) for blob in found}


def _read(context: Context) -> Joined:
    try:
        return blobs.read_model(context.stores.batches, _NAME, Joined) or Joined()
    except Unreadable:
        return Joined()
