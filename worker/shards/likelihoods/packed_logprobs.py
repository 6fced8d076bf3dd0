"""Log-probabilities in the form in which the store keeps them."""

from __future__ import annotations

import struct

from engine.request import AnswerLogprobs
from engine.requests.answer_logprobs import ids_of
from jobs.records.completion import Logprobs


def packed(found: AnswerLogprobs) -> Logprobs:
    """Return the log-probabilities of an answer for the store."""
    named = set(found.token_ids).union(*(ids_of(place) for place in found.places))
    return Logprobs(
        token_ids=struct.pack(f"<{len(found.token_ids)}i", *found.token_ids),
        own=struct.pack(f"<{len(found.places)}f", *(place.own for place in found.places)),
        top_ids=b"".join(place.top_ids for place in found.places),
        top=b"".join(place.top for place in found.places),
        token_bytes={token_id: raw for token_id, raw in found.token_bytes.items() if token_id in named},
        ended_by_token=found.ended_by_token,
    )
