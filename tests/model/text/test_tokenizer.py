from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import ModelUnusable
from model.text.messages import MessagesInvalid
from model.text.tokenizer import Tokenizer
from testing.models.byte_level_tokenizer import END_OF_TEXT, write_byte_level_tokenizer


def test_the_chapters_words_have_the_chapters_ids(qwen3_tokenizer: Tokenizer) -> None:
    ids = [9707, 11, 1644, 29406, 838, 273, 339, 10920, 87, 13, 47375, 2030, 93912, 13]
    assert qwen3_tokenizer.encode("Hello, Ardwarklethyrx. Haus und Garten.") == ids
    assert [qwen3_tokenizer.token_text(token) for token in ids[:4]] == ["Hello", ",", " Ar", "dw"]


@pytest.mark.parametrize(
    ("text", "token"), [("<|endoftext|>", 151643), ("<|im_end|>", 151645), ("<think>", 151667), ("</think>", 151668)]
)
def test_special_tokens_spelled_in_raw_text_are_those_tokens(qwen3_tokenizer: Tokenizer, text: str, token: int) -> None:
    assert qwen3_tokenizer.encode(text) == [token]
    assert qwen3_tokenizer.token_text(token) == text


def test_the_vocabulary_ends_after_the_highest_id(qwen3_tokenizer: Tokenizer) -> None:
    assert qwen3_tokenizer.vocab_size == 151_669


def test_decoding_skips_special_tokens_but_keeps_thinking(qwen3_tokenizer: Tokenizer) -> None:
    ids = qwen3_tokenizer.encode("<think>\nhm\n</think>\n\n4<|im_end|>")
    assert qwen3_tokenizer.decode(ids) == "<think>\nhm\n</think>\n\n4"
    assert qwen3_tokenizer.decode(ids, skip_special_tokens=False).endswith("4<|im_end|>")


def test_ids_that_the_tokenizer_lacks_have_no_text(qwen3_tokenizer: Tokenizer) -> None:
    assert qwen3_tokenizer.decode([9707, 151_700, 151_935]) == "Hello"


def test_a_lone_surrogate_is_a_value_error(qwen3_tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        qwen3_tokenizer.encode("half \ud83d")
    good, half = qwen3_tokenizer.encode_batch(["good", "half \ud83d"])
    assert good == qwen3_tokenizer.encode("good")
    assert isinstance(half, ValueError)


def test_a_batch_of_texts_gives_what_each_gives(qwen3_tokenizer: Tokenizer) -> None:
    texts = ["", "a", "Hello, world", "<|im_end|>", "你好" * 500]
    assert qwen3_tokenizer.encode_batch(texts) == [qwen3_tokenizer.encode(text) for text in texts]
    assert qwen3_tokenizer.encode_batch([]) == []


def test_a_tokenizer_without_a_template_encodes_text_alone(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(write_byte_level_tokenizer(tmp_path))
    assert not tokenizer.has_chat_template
    assert tokenizer.vocab_size == END_OF_TEXT + 1
    assert tokenizer.decode(tokenizer.encode("grüß<|endoftext|>")) == "grüß"
    with pytest.raises(MessagesInvalid, match="no chat template"):
        tokenizer.encode_messages([{"role": "user", "content": "hi"}])


def test_truncation_and_padding_kept_in_the_file_are_not_applied(tmp_path: Path) -> None:
    write_byte_level_tokenizer(tmp_path)
    file = tmp_path / "tokenizer.json"
    truncation = '"truncation":{"direction":"Right","max_length":4,"strategy":"LongestFirst","stride":0}'
    text = file.read_text()
    assert '"truncation": null' in text
    file.write_text(text.replace('"truncation": null', truncation))
    assert len(Tokenizer.from_folder(tmp_path).encode("longer than four")) == 16


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=r"no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '{"version": "1.0", "model": {"type": "BPE"}}', "\0\xff"])
def test_a_damaged_tokenizer_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelUnusable, match=r"tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


def test_a_tokenizer_that_is_not_byte_level_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(
        '{"version": "1.0", "added_tokens": [], "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},'
        ' "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'
    )
    with pytest.raises(ModelUnusable, match="not a byte-level tokenizer"):
        Tokenizer.from_folder(tmp_path)
