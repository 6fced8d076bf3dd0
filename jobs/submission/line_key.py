"""What makes two lines the same work, so that the completion of one can serve for the other."""

from __future__ import annotations

import hashlib
from collections import Counter

import msgspec

from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings

_encoder = msgspec.json.Encoder(order="deterministic")


class LineKeys:
    """Keys of the lines of one job, asked for in their order.

    The same prompt with the same settings has the same key, whatever its id and its place. A line that is sampled and
    names no seed has one that follows from the job's seed and its place; the n-th of several equal lines of a job is
    then the same as the n-th of those in another job with that seed. So a line that moved keeps its completion.

    Args:
        defaults: The job's settings over the model's, for what a line leaves out.
        seed: The job's.
    """

    def __init__(self, defaults: SamplingSettings, seed: int) -> None:
        self._defaults = defaults
        self._seed = seed
        self._seen: Counter[bytes] = Counter()

    def key(self, prompt: Prompt) -> bytes | None:
        """Sixteen bytes; None for a line that cannot run."""
        if prompt.invalid is not None:
            return None
        settings = prompt.settings.over(self._defaults)
        is_sampled = settings.temperature != 0 and settings.seed is None
        if settings.temperature == 0:
            settings = msgspec.structs.replace(settings, seed=None)
        key = _digest(
            (
                (prompt.text, prompt.token_ids, prompt.messages, prompt.chat_template_kwargs),
                settings,
                prompt.return_token_ids,
                self._seed if is_sampled else None,
            )
        )
        if not is_sampled:
            return key
        self._seen[key] += 1
        return _digest((key.hex(), self._seen[key]))


def _digest(facts: object) -> bytes:
    return hashlib.blake2b(_encoder.encode(facts), digest_size=16).digest()
