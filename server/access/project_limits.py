"""Limits of one project, which the file of API keys may set."""

from __future__ import annotations

from typing import Annotated

import msgspec

from server.options import Limits

_Limit = Annotated[int, msgspec.Meta(ge=1)] | None


class ProjectLimits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one project may use, where that differs from the options of the service. `Limits` explains the fields."""

    file_bytes: _Limit = None
    project_bytes: _Limit = None
    project_files: _Limit = None
    unfinished_batches: _Limit = None
    waiting_lines: _Limit = None
    requests_per_minute: _Limit = None
    requests_at_once: _Limit = None
    uploads_per_hour: _Limit = None
    batches_per_hour: _Limit = None
    tokens_per_minute: _Limit = None

    def over(self, limits: Limits) -> Limits:
        """Return `limits` with the fields that this project sets."""
        return msgspec.structs.replace(limits, **msgspec.to_builtins(self))
