"""Variables that a line gives to the chat template."""

from __future__ import annotations

from model.checkpoint.hub import DEMO_FOLDER
from model.text.tokenizer import Tokenizer

MESSAGES = [{"role": "user", "content": "What is 2 + 3?"}]


def test_a_conversation_may_be_rendered_without_the_assistants_turn() -> None:
    tokenizer = Tokenizer.from_folder(DEMO_FOLDER)
    usual = tokenizer.encode_messages(MESSAGES)
    without = tokenizer.encode_messages(MESSAGES, add_generation_prompt=False)
    assert len(without) < len(usual)
    assert usual[: len(without)] == without
