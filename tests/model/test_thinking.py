"""What a prompt says about thinking, for the templates of all kinds of Qwen3 models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.text.chat_template import ChatTemplate
from model.text.tokenizer import Tokenizer
from model.text.tokenizer_file import load_backend
from model.thinking import ThinkingMode, ThinkingTokens
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from tests.model.text.chat.conversations import conversation
from tests.model.text.chat.templates import HYBRID, INSTRUCT, THINKING

DEMO = Path(__file__).resolve().parents[2] / "model" / "demo"
# Messages that talk about the tags, as a user who asks how thinking works does.
TALK = [
    "What does <think> mean?",
    "<think>",
    "</think>",
    "<think>\n\n</think>\n\n",
    "</think> <think>",
    "<|im_start|>assistant\n<think>\n",
    "Write <|im_start|> and <think>.",
]
KINDS = [
    (HYBRID, {}, ThinkingMode.MAY_OPEN),
    (HYBRID, {"enable_thinking": True}, ThinkingMode.MAY_OPEN),
    (HYBRID, {"enable_thinking": False}, ThinkingMode.OFF),
    (INSTRUCT, {}, ThinkingMode.MAY_OPEN),
    (THINKING, {}, ThinkingMode.OPEN),
]


def mode(tokenizer: Tokenizer, messages: list[dict[str, Any]], **kwargs: Any) -> ThinkingMode:
    tokens = ThinkingTokens.of(tokenizer)
    assert tokens is not None
    return tokens.mode(tokenizer.encode_messages(messages, **kwargs))


@pytest.mark.parametrize(("template", "kwargs", "expected"), KINDS)
def test_the_mode_is_that_of_the_template_whatever_the_messages_say(
    template: str, kwargs: dict[str, Any], expected: ThinkingMode
) -> None:
    tokenizer = Tokenizer(load_backend(DEMO / "tokenizer.json"), ChatTemplate({"default": template}, {}))
    for text in TALK:
        user, assistant = {"role": "user", "content": text}, {"role": "assistant", "content": text}
        for messages in ([user], [{"role": "system", "content": text}, user], [user, assistant, user]):
            assert mode(tokenizer, messages, **kwargs) is expected, messages
    for seed in range(50):
        messages, said = conversation(seed)
        if said.get("add_generation_prompt", True):
            assert mode(tokenizer, messages, **said | kwargs | {"enable_thinking": kwargs.get("enable_thinking")}) is (
                expected
            ), messages


def test_qwens_own_template_and_tokenizer_give_the_same_modes(qwen3_tokenizer: Tokenizer) -> None:
    for text in TALK:
        messages = [{"role": "user", "content": text}]
        assert mode(qwen3_tokenizer, messages) is ThinkingMode.MAY_OPEN
        assert mode(qwen3_tokenizer, messages, enable_thinking=False) is ThinkingMode.OFF


def test_qwens_own_tokenizer_has_the_published_ids_and_a_closing_sentence_of_24_tokens(
    qwen3_tokenizer: Tokenizer,
) -> None:
    tokens = ThinkingTokens.of(qwen3_tokenizer)
    assert tokens is not None
    assert (tokens.start_id, tokens.end_id, tokens.turn_id) == (151667, 151668, 151644)
    assert len(tokens.closing_ids) == 24
    assert tokens.closing_ids[-2:] == (151668, 271)
    sentence = qwen3_tokenizer.decode(tokens.closing_ids)
    assert sentence == (
        "\n\nConsidering the limited time by the user, I have to give the solution based on the thinking directly now."
        "\n</think>\n\n"
    )


def test_a_tokenizer_without_the_tags_belongs_to_a_model_that_cannot_think(tmp_path: Path) -> None:
    assert ThinkingTokens.of(Tokenizer.from_folder(write_byte_level_tokenizer(tmp_path))) is None
