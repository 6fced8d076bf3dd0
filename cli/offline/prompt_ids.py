"""Encode the prompt that a command gets in its words. Needs no PyTorch, which takes seconds to import."""

from __future__ import annotations

from model.text.tokenizer import Tokenizer


def prompt_ids(tokenizer: Tokenizer, prompt: str, chat: bool) -> list[int]:
    """Return the token ids of a raw prompt, or of a user's message in the model's chat template."""
    return tokenizer.encode_messages([{"role": "user", "content": prompt}]) if chat else tokenizer.encode(prompt)
