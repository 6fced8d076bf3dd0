"""What a line may ask of one particular model."""

from __future__ import annotations

from jobs.files.formats.line_invalid import LineInvalid
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt


def check_against_card(prompt: Prompt, card: ModelCard) -> None:
    """Refuse a line that this model could never run.

    A prompt that is too long is not refused here: it fails alone with `prompt_too_long`, once its tokens are counted.
    A `max_tokens` above what the context leaves is no error either: it is cut to that.

    Raises:
        LineInvalid: A token id outside the vocabulary, or messages for a model without a chat template.
    """
    if prompt.messages is not None and not card.has_chat_template:
        raise LineInvalid(f"`messages` need a chat template, which {card.name} does not have; give a raw `prompt`")
    for key, ids in (("prompt", prompt.token_ids), ("stop_token_ids", prompt.settings.stop_token_ids)):
        if ids and max(ids) >= card.vocab_size:
            raise LineInvalid(
                f"`{key}` holds the token id {max(ids):,}; the vocabulary of {card.name} is from 0 to "
                f"{card.vocab_size - 1:,}"
            )
