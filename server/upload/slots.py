"""The number of uploads at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from server.middleware.api_error import retry_later


class UploadSlots:
    """Counts the uploads of one HTTP process. All calls come from its event loop.

    Args:
        total: Max uploads at once.
        per_project: Max uploads at once of one project.
    """

    def __init__(self, total: int, per_project: int) -> None:
        self._total = total
        self._per_project = per_project
        self._running: Counter[str] = Counter()

    @contextmanager
    def taken(self, project: str) -> Iterator[None]:
        """Take a slot for the `with` block. Raises `ApiError` if there is none."""
        if self._running[project] >= self._per_project or self._running.total() >= self._total:
            raise retry_later(
                429,
                "Too many uploads run at the same time. Try again when one has ended.",
                "rate_limit_exceeded",
                kind="requests",
            )
        self._running[project] += 1
        try:
            yield
        finally:
            self._running[project] -= 1
