"""The record of a file of the HTTP service: an uploaded file, or the output of a batch."""

from __future__ import annotations

from typing import Literal

import msgspec

Purpose = Literal["batch", "batch_output"]
PURPOSES: tuple[Purpose, ...] = ("batch", "batch_output")


class StoredFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """Facts of one file. Its bytes are in the file store under the same project and id."""

    id: str
    filename: str  # as the client said it; never a path
    purpose: Purpose
    size: int  # bytes
    digest: str  # SHA-256 of the bytes, hexadecimal
    created_at: float  # seconds since the epoch
    expires_at: float | None = None
