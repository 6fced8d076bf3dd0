"""Log-probabilities of a completion, as a worker stores them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from jobs.records.completion import Logprobs


def packed_logprobs(
    tokens: Sequence[tuple[int, float]],
    token_bytes: Mapping[int, bytes],
    top: Sequence[Sequence[tuple[int, float]]] = (),
    *,
    ended_by_token: bool = False,
) -> Logprobs:
    """Pack tokens with their log-probabilities, and the likeliest tokens at each place, if any."""
    likeliest = [pair for place in top for pair in place]
    return Logprobs(
        token_ids=struct.pack(f"<{len(tokens)}i", *(token for token, _ in tokens)),
        own=struct.pack(f"<{len(tokens)}f", *(value for _, value in tokens)),
        top_ids=struct.pack(f"<{len(likeliest)}i", *(token for token, _ in likeliest)),
        top=struct.pack(f"<{len(likeliest)}f", *(value for _, value in likeliest)),
        token_bytes=dict(token_bytes),
        ended_by_token=ended_by_token,
    )
