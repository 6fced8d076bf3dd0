"""Keys of lines: two lines with the same key have the same completion."""

from __future__ import annotations

import hashlib
from collections import Counter

import msgspec

from jobs.records.line_defaults import NO_LINE_DEFAULTS, LineDefaults
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings

_encoder = msgspec.json.Encoder(order="deterministic")


class LineKeys:
    """Computes the keys of a job's lines. Call `key` for each line, in order.

    Equal prompts with equal settings have the same key, independent of their ids and positions.

    A sampled line without its own seed gets a seed from the job's seed and its position, so equal lines of one job
    differ. Their keys contain the job's seed and a count of equal lines, but no position. The n-th of several equal
    lines therefore matches the n-th one in another job with the same seed, even at another position.

    Args:
        defaults: The job's settings over the model's. They apply to each setting that a line does not set.
        seed: The job's seed.
        line_defaults: The job's other values for its lines.
    """

    def __init__(self, defaults: SamplingSettings, seed: int, line_defaults: LineDefaults = NO_LINE_DEFAULTS) -> None:
        self._line_defaults = line_defaults
        self._defaults = defaults
        self._seed = seed
        self._seen: Counter[bytes] = Counter()

    def key(self, prompt: Prompt) -> bytes | None:
        """Return the line's key of 16 bytes, or None for an invalid line."""
        if prompt.invalid is not None:
            return None
        prompt = self._line_defaults.applied_to(prompt)
        settings = prompt.settings.over(self._defaults)
        is_sampled = settings.temperature != 0 and settings.seed is None
        if settings.temperature == 0:
            settings = msgspec.structs.replace(settings, seed=None)
        key = _digest(
            (
                (prompt.text, prompt.token_ids, prompt.more_prompts, prompt.messages, prompt.chat_template_kwargs),
                settings,
                (prompt.truncate_prompt_tokens, prompt.truncation_side),
                (prompt.tools, prompt.tool_choice, prompt.forces_calls),
                (prompt.n, prompt.return_token_ids, prompt.include_reasoning, prompt.constraint),
                (prompt.logprobs, prompt.score, prompt.labels, prompt.echo),
                (prompt.embed, prompt.rerank),
                self._seed if is_sampled else None,
            )
        )
        if not is_sampled:
            return key
        self._seen[key] += 1
        return _digest((key.hex(), self._seen[key]))


def _digest(facts: object) -> bytes:
    return hashlib.blake2b(_encoder.encode(facts), digest_size=16).digest()
