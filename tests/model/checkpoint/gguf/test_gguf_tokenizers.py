"""A GGUF file's tokenizer is that of the checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from model.checkpoint.gguf.folder import gguf_folder
from model.checkpoint.hub import DEMO_FOLDER
from model.text.tokenizer import Tokenizer
from testing.models.gguf_checkpoint import gguf_of
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from tests.model.checkpoint.gguf.conftest import refusal

Plain = Callable[..., Path]
MESSAGES = [{"role": "system", "content": "Answer."}, {"role": "user", "content": "<|im_end|> 1 + 1? é \u1f468"}]


def test_qwen3s_tokenizer_comes_back_as_it_was(tmp_path: Path, qwen3_tokenizer_folder: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "tiny", vocab_size=151_936, hidden_size=8, num_hidden_layers=1)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(qwen3_tokenizer_folder / name, folder / name)
    made = gguf_folder(gguf_of(folder, "BF16").write(tmp_path / "tiny.gguf"))
    assert json.loads((made / "tokenizer.json").read_text()) == json.loads((folder / "tokenizer.json").read_text())
    tokenizer = Tokenizer.from_folder(made)
    assert tokenizer.vocab_size == 151_669  # the model has padding
    assert tokenizer.has_chat_template


def test_the_demo_models_prompts_have_the_same_ids(tmp_path: Path) -> None:
    made = gguf_folder(gguf_of(DEMO_FOLDER, "BF16").write(tmp_path / "demo.gguf"))
    ours, theirs = Tokenizer.from_folder(made), Tokenizer.from_folder(DEMO_FOLDER)
    for thinking in (False, True):
        ids = ours.encode_messages(MESSAGES, enable_thinking=thinking)
        assert ids == theirs.encode_messages(MESSAGES, enable_thinking=thinking)
        assert ours.decode(ids) == theirs.decode(ids)


def test_a_file_may_hold_a_template_for_tools_beside_the_usual_one(tmp_path: Path, plain: Plain) -> None:
    content = gguf_of(plain())
    content.settings |= {"tokenizer.chat_template": "plain", "tokenizer.chat_template.tool_use": "with tools"}
    tokenizer = Tokenizer.from_folder(gguf_folder(content.write(tmp_path / "tiny.gguf")))
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert tokenizer.decode(tokenizer.encode_messages(MESSAGES)) == "plain"
    assert tokenizer.decode(tokenizer.encode_messages(MESSAGES, tools=tools)) == "with tools"


def test_a_base_model_has_no_template(tmp_path: Path, plain: Plain) -> None:
    made = gguf_folder(gguf_of(plain()).write(tmp_path / "tiny.gguf"))
    assert not Tokenizer.from_folder(made).has_chat_template


def test_an_embedding_model_puts_its_end_token_after_each_text(tmp_path: Path, plain: Plain) -> None:
    content = gguf_of(plain())
    content.settings |= {"tokenizer.ggml.eos_token_id": 256, "tokenizer.ggml.add_eos_token": True}
    tokenizer = Tokenizer.from_folder(gguf_folder(content.write(tmp_path / "tiny.gguf")))
    assert tokenizer.tokens_around() == ((), (256,))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model", "llama", "tokenizer.ggml.model is 'llama'; only 'gpt2', that of Qwen3, is supported."),
        ("pre", "qwen35", "tokenizer.ggml.pre is 'qwen35'; only 'qwen2', that of Qwen3, is supported."),
        ("pre", None, "has no setting tokenizer.ggml.pre."),
        ("tokens", ["a", "a"], "tokenizer.ggml.token_type must be a list of 2 entries."),
        ("tokens", 5, "tokenizer.ggml.tokens must be a list."),
        ("merges", ["a b c"], "the merge 'a b c' does not name two tokens."),
        ("merges", None, "has no setting tokenizer.ggml.merges."),
    ],
)
def test_another_or_a_damaged_tokenizer_is_refused(
    tmp_path: Path, plain: Plain, key: str, value: object, message: str
) -> None:
    content = gguf_of(plain())
    content.settings[f"tokenizer.ggml.{key}"] = value
    if value is None:
        del content.settings[f"tokenizer.ggml.{key}"]
    file = content.write(tmp_path / "tiny.gguf")
    assert refusal(lambda: gguf_folder(file)).message in (f"{file}: {message}", f"{file} {message}")


def test_two_tokens_of_the_same_text_are_refused(tmp_path: Path, plain: Plain) -> None:
    content = gguf_of(plain())
    content.settings["tokenizer.ggml.tokens"][1] = content.settings["tokenizer.ggml.tokens"][0]
    file = content.write(tmp_path / "tiny.gguf")
    assert refusal(lambda: gguf_folder(file)).message == f"{file}: two tokens have the same text."
