"""What a client may know of a model without torch: enough to refuse a line that the model could never run."""

from __future__ import annotations

import msgspec

from jobs.sampling import SamplingSettings


class ModelCard(msgspec.Struct, frozen=True):
    """Facts of a served model; every worker publishes its own in the store when it starts.

    `submit` checks lines against the card of a folder it can read, or else the published one. Where there is neither
    (no worker has served that model yet), the worker's own checks turn such a line into an `invalid_line` result.
    """

    name: str  # the served model's name
    vocab_size: int  # ids from 0 that a prompt may hold: the tokenizer's, not the padded embedding's
    max_model_len: int  # prompt and completion together, in tokens
    has_chat_template: bool
    defaults: SamplingSettings = SamplingSettings()  # from generation_config.json
