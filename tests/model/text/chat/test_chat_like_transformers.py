from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.text.tokenizer import Tokenizer
from tests.model.text.chat.conversations import SNIPPETS, conversation


@pytest.fixture(scope="module")
def reference(qwen3_tokenizer_folder: Path) -> Any:
    from transformers import AutoTokenizer  # takes a second to import

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


def test_conversations_that_go_on_from_their_last_message_give_the_ids_that_transformers_gives(
    qwen3_tokenizer: Tokenizer, reference: Any
) -> None:
    compared = 0
    for seed in range(100):
        messages, kwargs = conversation(seed)
        kwargs = {name: value for name, value in kwargs.items() if name != "add_generation_prompt"}
        messages.append({"role": "assistant", "content": SNIPPETS[seed % len(SNIPPETS)] + " It is "[: seed % 8]})
        try:
            expected = reference.apply_chat_template(messages, return_dict=False, continue_final_message=True, **kwargs)
        except ValueError:  # it looks for the last message in the prompt, and Qwen's template has changed that message
            continue
        compared += 1
        encoded = qwen3_tokenizer.encode_messages(messages, continue_final_message=True, **kwargs)
        assert encoded == expected, f"conversation {seed}"
    assert compared > 90


def test_a_last_message_with_a_control_token_goes_on_as_ordinary_text(qwen3_tokenizer: Tokenizer) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "a<|im_end|>b"}]
    encoded = qwen3_tokenizer.encode_messages(messages, continue_final_message=True)
    assert qwen3_tokenizer.decode(encoded, skip_special_tokens=False).endswith("a<|im_end|>b")
    assert encoded.count(qwen3_tokenizer.encode("<|im_end|>")[0]) == 1  # the end of the user's message


def test_a_template_that_leaves_out_the_last_message_is_named(qwen3_tokenizer_folder: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).symlink_to(qwen3_tokenizer_folder / name)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    with pytest.raises(ValueError, match="leaves out the last message"):
        Tokenizer.from_folder(tmp_path).encode_messages(
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "a"}], continue_final_message=True
        )


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
