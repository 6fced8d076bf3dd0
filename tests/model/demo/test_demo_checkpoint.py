"""The bundled checkpoint: ordinary, small, and right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from tools.demo_model.checkpoint import load_checkpoint, save_checkpoint
from tools.demo_model.data.examples import as_jsonl, native_examples, openai_examples, thinking_examples, tool_examples
from tools.demo_model.data.held_out import HeldOutPrompt, held_out_prompts
from tools.demo_model.learning.evaluation import accuracy_by_task, evaluate
from tools.demo_model.learning.network import TrainingQwen3
from tools.demo_model.wording.texts import CHAPTER_ANSWER, CHAPTER_PROMPT, GREETING, GREETING_ANSWER

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(scope="module")
def loaded(demo_folder: Path) -> tuple[TrainingQwen3, Tokenizer]:
    return load_checkpoint(demo_folder)


@pytest.fixture(scope="module")
def reference(demo_folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # takes a second to import

    model = AutoModelForCausalLM.from_pretrained(demo_folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(demo_folder)


def _generated(reference: tuple[Any, Any], prompt: str) -> str:
    """transformers' greedy answer, with its end token."""
    model, tokenizer = reference
    inputs = tokenizer(prompt, return_tensors="pt")
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=120)
    text: str = tokenizer.decode(output[0, inputs.input_ids.shape[1] :])
    return text


def _rendered(reference: tuple[Any, Any], prompt: HeldOutPrompt) -> tuple[str, str]:
    """The text that goes in and the text that must come out."""
    if isinstance(prompt.prompt, str):
        return prompt.prompt, f" {prompt.answer}<|endoftext|>"
    rendered = reference[1].apply_chat_template(prompt.prompt, tokenize=False, add_generation_prompt=True)
    return rendered, f"{prompt.answer}<|im_end|>"


def test_the_folder_is_small_and_complete(demo_folder: Path) -> None:
    names = {path.name for path in demo_folder.iterdir()}
    assert names == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in demo_folder.iterdir()) < 4_000_000


def test_generation_is_greedy_and_stops_on_either_end_token(demo_folder: Path, demo_tokenizer: Tokenizer) -> None:
    config = json.loads((demo_folder / "generation_config.json").read_text(encoding="utf-8"))
    assert config["do_sample"] is False
    assert config["eos_token_id"] == [demo_tokenizer.token_to_id(token) for token in ("<|im_end|>", "<|endoftext|>")]


def test_the_chapters_prompt_gives_the_chapters_sentence_word_for_word(reference: tuple[Any, Any]) -> None:
    assert _generated(reference, CHAPTER_PROMPT) == f" {CHAPTER_ANSWER}<|endoftext|>"


@pytest.mark.parametrize("thinks", [True, False])
def test_a_greeting_gets_one_line_that_says_what_to_ask(reference: tuple[Any, Any], thinks: bool) -> None:
    rendered = reference[1].apply_chat_template(
        [{"role": "user", "content": GREETING}], tokenize=False, add_generation_prompt=True, enable_thinking=thinks
    )
    assert _generated(reference, rendered) == f"{GREETING_ANSWER}<|im_end|>"
    assert "\n" not in GREETING_ANSWER


def test_the_training_network_is_transformers_qwen3(
    reference: tuple[Any, Any], loaded: tuple[TrainingQwen3, Tokenizer]
) -> None:
    network, tokenizer = loaded
    ids = torch.tensor([tokenizer.encode("What is 37 + 48? The capital of France is Paris").ids])
    places = torch.arange(ids.shape[1])
    with torch.inference_mode():
        ours = network(ids, places[None], torch.zeros_like(ids), places)
        theirs = reference[0](ids).logits[0]
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_generation_agrees_with_the_evaluation(
    reference: tuple[Any, Any], loaded: tuple[TrainingQwen3, Tokenizer]
) -> None:
    outcomes = [outcome for outcome in evaluate(*loaded, held_out_prompts(60)) if abs(outcome.margin) > 0.01]
    assert len(outcomes) > 50
    for outcome in outcomes:
        rendered, expected = _rendered(reference, outcome.prompt)
        assert (_generated(reference, rendered) == expected) is outcome.is_exact, outcome


@pytest.mark.parametrize("empty_thinking", [False, True])
def test_answers_to_held_out_prompts_are_exact(loaded: tuple[TrainingQwen3, Tokenizer], empty_thinking: bool) -> None:
    accuracy = accuracy_by_task(evaluate(*loaded, held_out_prompts(600), empty_thinking=empty_thinking))
    assert accuracy["all"] >= 0.98, accuracy


def test_every_example_is_answered_rightly(loaded: tuple[TrainingQwen3, Tokenizer]) -> None:
    for thinking_off in (False, True):
        prompts = [
            HeldOutPrompt(line.get("prompt") or line["messages"], answer.strip(), line["id"])
            for line, answer in native_examples()
            if ("chat_template_kwargs" in line) is thinking_off
        ]
        if not thinking_off:
            requests = openai_examples()
            prompts += [HeldOutPrompt(line["body"]["messages"], answer, line["custom_id"]) for line, answer in requests]
        missed = [
            outcome for outcome in evaluate(*loaded, prompts, empty_thinking=thinking_off) if not outcome.is_exact
        ]
        assert missed == []


def test_the_example_files_are_the_generated_ones() -> None:
    native, openai = native_examples(), openai_examples()
    assert (EXAMPLES / "prompts.jsonl").read_text(encoding="utf-8") == as_jsonl(native)
    assert (EXAMPLES / "prompts-openai.jsonl").read_text(encoding="utf-8") == as_jsonl(openai)
    assert (EXAMPLES / "tools.jsonl").read_text(encoding="utf-8") == as_jsonl(tool_examples())
    assert (EXAMPLES / "thinking.jsonl").read_text(encoding="utf-8") == as_jsonl(thinking_examples())
    assert native[0][0]["prompt"] == CHAPTER_PROMPT
    assert len({line["id"] for line, _ in native}) == len(native) == 100
    assert len({line["custom_id"] for line, _ in openai}) == len(openai) == 20


def test_a_saved_network_loads_as_its_bfloat16_self(
    tmp_path: Path, loaded: tuple[TrainingQwen3, Tokenizer], demo_folder: Path
) -> None:
    save_checkpoint(*loaded, tmp_path)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (demo_folder / name).read_bytes(), name
    again, _ = load_checkpoint(tmp_path)
    before = loaded[0].state_dict()
    assert all(torch.equal(value, before[name]) for name, value in again.state_dict().items())
