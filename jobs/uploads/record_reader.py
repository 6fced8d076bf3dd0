"""Read the records of files or batches from Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from jobs.errors import RecordDamaged
from jobs.stores.damage import reading
from jobs.stores.redis.connection.server import Command, RedisServer
from jobs.uploads.file_records import Page

_Record = TypeVar("_Record")


class RecordReader(Generic[_Record]):
    """Reads records of one type. The value of a key is one record as JSON.

    Args:
        server: The server.
        kind: Type of the records.
    """

    def __init__(self, server: RedisServer, kind: type[_Record]) -> None:
        self._server = server
        self._decoder = msgspec.json.Decoder(kind)

    def each(self, names: Sequence[str]) -> list[_Record | RecordDamaged | None]:
        """Return the record of each key, None for a key that does not exist, or the error of a damaged record."""
        replies = self._server.replies(("GET", name) for name in names)
        return [self._record_or_damage(name, reply) for name, reply in zip(names, replies, strict=True)]

    def page(self, listing: str, page: Page, key_of: Callable[[str], str]) -> list[_Record]:
        """Return a part of the records that a sorted set of ids lists. Damaged records are skipped and noted.

        Args:
            listing: Key of the sorted set.
            page: The part. The object of `page.after` need not exist any more.
            key_of: Returns the key of the record with an id.
        """
        names = [key_of(member.decode()) for member in self._server.run(*_range_of(listing, page))]
        if not names:
            return []
        found: list[_Record] = []
        for name, value in zip(names, self._server.run("MGET", *names), strict=True):
            if value is not None:  # None: the record was removed after the listing was read
                with self._server.damage.skipping(), reading(name):
                    found.append(self._decoder.decode(value))
        return found

    def _record_or_damage(self, name: str, reply: Any) -> _Record | RecordDamaged | None:  # noqa: ANN401 - of Redis
        if reply is None or isinstance(reply, RecordDamaged):
            return reply
        try:
            with reading(name):
                return self._decoder.decode(reply)
        except RecordDamaged as error:
            return error


def _range_of(listing: str, page: Page) -> Command:
    """Return the command that reads a part of a sorted set of ids."""
    bound = f"({page.after}" if page.after is not None else None
    if page.newest_first:
        return ("ZREVRANGEBYLEX", listing, bound or "+", "-", "LIMIT", 0, page.limit)
    return ("ZRANGEBYLEX", listing, bound or "-", "+", "LIMIT", 0, page.limit)
