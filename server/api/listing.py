"""Listings: the query of a request, and the shape of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.responses import Response

from jobs.records.object_id import ObjectKind, is_object_id
from jobs.uploads.file_records import Page
from server.api.body_checks import invalid_value, whole_number


class Listing(msgspec.Struct, frozen=True):
    """A page of a listing."""

    data: list[Any]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: str = "list"


def json_reply(value: object, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def page_of(query: QueryParams, kind: ObjectKind, default_limit: int, max_limit: int) -> Page:
    """Return the page that a query asks for, with one object more than its limit, to see whether there are more.

    Raises:
        ApiError: A parameter has an invalid value.
    """
    said, after, order = query.get("limit"), query.get("after"), query.get("order", "desc")
    limit = default_limit
    if said is not None:
        limit = whole_number(said) or 0
        if not 1 <= limit <= max_limit:
            raise invalid_value("limit", said, f"a whole number from 1 to {max_limit:,}")
    if after is not None and not is_object_id(kind, after):
        raise invalid_value("after", after, f"the id of a {kind}")
    if order not in ("asc", "desc"):
        raise invalid_value("order", order, "'asc' or 'desc'")
    return Page(limit + 1, after, newest_first=order == "desc")


def listing_of(objects: Sequence[Any], page: Page) -> Listing:
    """Return the answer with the objects of a page. Each object has an `id`."""
    shown = list(objects[: page.limit - 1])
    first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
    return Listing(shown, first, last, len(objects) >= page.limit)
