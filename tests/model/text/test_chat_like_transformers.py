from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from model.text.tokenizer import Tokenizer
from tests.model.text.conversations import SNIPPETS, conversation


@pytest.fixture(scope="module")
def reference(qwen3_tokenizer_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(qwen3_tokenizer_folder)


def test_two_hundred_conversations_give_the_ids_that_transformers_gives(
    qwen3_tokenizer: Tokenizer, reference: Any
) -> None:
    for seed in range(200):
        messages, kwargs = conversation(seed)
        expected = reference.apply_chat_template(
            messages, return_dict=False, **{"add_generation_prompt": True, **kwargs}
        )
        assert qwen3_tokenizer.encode_messages(messages, **kwargs) == expected, f"conversation {seed}"


def test_raw_text_gives_the_ids_and_the_text_that_transformers_gives(
    qwen3_tokenizer: Tokenizer, reference: Any
) -> None:
    for text in [*SNIPPETS, "".join(SNIPPETS), "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>", "<|im_end"]:
        ids = reference.encode(text, add_special_tokens=False)
        assert qwen3_tokenizer.encode(text) == ids
        for skip in (True, False):
            expected = reference.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
            assert qwen3_tokenizer.decode(ids, skip_special_tokens=skip) == expected


def test_a_batch_of_conversations_gives_what_each_gives_and_a_bad_one_fails_alone(qwen3_tokenizer: Tokenizer) -> None:
    conversations = [conversation(seed) for seed in range(8)]
    alone = [qwen3_tokenizer.encode_messages(messages, **kwargs) for messages, kwargs in conversations]
    bad = [{"role": "user", "content": 5}]
    together = qwen3_tokenizer.encode_conversations([(bad, {}), *conversations])
    assert isinstance(together[0], ValueError)
    assert together[1:] == alone
