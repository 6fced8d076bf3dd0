"""Interface of the writers of events, one per endpoint."""

from __future__ import annotations

from typing import Protocol

from jobs.records.completion import Completion
from server.middleware.api_error import ApiError
from server.online.under_way import NewText


class EventWriter(Protocol):
    """Makes the events of one answer. Every method returns the bytes of some events."""

    def begin(self) -> bytes:
        """Return what comes before all text."""

    def text(self, new: NewText) -> bytes:
        """Return text that has arrived."""

    def end(self, completion: Completion) -> bytes:
        """Return what comes after all text."""

    def fail(self, error: ApiError) -> bytes:
        """Return the end of an answer that has an error. Clients raise it."""
