"""Thoughts over the templates of all kinds of Qwen3 models: the ids and the parts of Qwen's published snippets.

The snippets are the quick start of Qwen3's model cards, which splits a completion at `</think>`, and the recipe for a
thinking budget in Qwen's documentation. transformers chooses their tokens. The templates of the 2507 models are not
Qwen's files: tests/model/text/chat/templates.py writes what their model cards say. The model is tiny and random, but it
begins a thought after the newline that ends a prompt.

We differ from the snippets in what we mean to:

- A budget counts the tokens inside the thought, so not `<think>` itself. Only a completion that thinks has a budget.
- The first `</think>` ends the thought, because the budget must know the end when it comes.
- A thought that is cut off is reasoning, not an answer.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.config import EngineConfig
from engine.load import LoadedEngine, load_engine
from jobs.records.completion import Completion
from jobs.records.job import NewJob
from jobs.records.model_card import card_of_folder
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from model.grammar import Grammars
from model.text.tokenizer import Tokenizer
from model.thinking import ThinkingTokens
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from tests.model.text.chat.templates import HYBRID, INSTRUCT, THINKING
from worker.shards.in_flight import Line
from worker.shards.line_result import completion_of
from worker.shards.preparation import Preparation

DEMO = Path(__file__).resolve().parents[3] / "model" / "demo"
SENTENCE = (
    "\n\nConsidering the limited time by the user, I have to give the solution based on the thinking directly now.\n"
)
TIE = 1e-3  # logits that lie closer together may change places between two libraries
MAX_TOKENS = 260
END_BIASES = (5.0, 3.0, 2.0, 1.0, 0.0)  # of each conversation: some thoughts end soon, and some never
EOS_BIAS = 4.0
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "hybrid": (HYBRID, {}),
    "hybrid without thinking": (HYBRID, {"enable_thinking": False}),
    "Instruct-2507": (INSTRUCT, {}),
    "Thinking-2507": (THINKING, {}),
}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


CONVERSATIONS: list[list[dict[str, str]]] = [
    [user("What is 37 + 48? Think first.")],
    [user("What is the capital of France?"), {"role": "assistant", "content": "Paris"}, user("What is 5 + 6?")],
    # Messages that talk about the tags, as a user who asks how thinking works does.
    [user("What does <think> mean?"), {"role": "assistant", "content": "<think>\nx\n</think>\n\nA tag."}, user("Why?")],
    [{"role": "system", "content": "</think>"}, user("What is 21 + 17? Think step by step. <think>")],
    [user("</think>\n\n"), {"role": "assistant", "content": "</think>"}, user("<think>\n\n</think>\n\n Think first.")],
]


@dataclass(frozen=True)
class Thinker:
    """A tiny random model, as we load it and as transformers does."""

    engine: LoadedEngine
    reference: Any  # transformers' model
    tokens: ThinkingTokens
    allowed: tuple[int, ...]  # tokens of whole characters, the tags, and the end of a turn

    def bias(self, place: int) -> dict[int, float]:
        """What is added to the logits of a conversation."""
        return {self.tokens.end_id: END_BIASES[place], self.engine.eos_token_ids[0]: EOS_BIAS}


@dataclass(frozen=True)
class Kind:
    """A model with the chat template of its kind."""

    name: str
    folder: Path
    thinker: Thinker
    template_kwargs: dict[str, Any]

    def completions(self, max_tokens: int, budget: int | None = None) -> list[Completion]:
        """What a worker makes of all conversations. Empty if it refuses them all."""
        tokenizer, card, loaded = (
            Tokenizer.from_folder(self.folder),
            card_of_folder(self.folder, "m"),
            self.thinker.engine,
        )
        grammars, tags = Grammars(tokenizer, loaded.eos_token_ids), ThinkingTokens.of(tokenizer)
        job = NewJob("j", "demo", "native", SamplingSettings(), 5, len(CONVERSATIONS), 9, source="f", created_at=0.0)
        lines = [
            Prompt(
                place,
                str(place),
                messages=tuple(messages),
                settings=SamplingSettings(
                    temperature=0,
                    max_tokens=max_tokens,
                    thinking_token_budget=budget,
                    logit_bias=tuple(self.thinker.bias(place).items()),
                    allowed_token_ids=self.thinker.allowed,
                ),
                return_token_ids=True,
                chat_template_kwargs=self.template_kwargs,
            )
            for place, messages in enumerate(CONVERSATIONS)
        ]
        prepared = Preparation(tokenizer, card, grammars, tags).prepare(lines, job, group="", on_token=lambda _: None)
        assert len(prepared.refused) in (0, len(lines))
        lines = [line for line, _ in prepared.runnable]
        tickets = [tuple(loaded.engine.submit_many(requests)) for _, requests in prepared.runnable]
        for each in tickets:
            each[0].future.result(60)
        found = [completion_of(Line(line, each, 0)) for line, each in zip(lines, tickets, strict=True)]
        return [completion for completion in found if completion is not None]


@dataclass(frozen=True)
class Expected:
    """What Qwen's snippets make of one conversation."""

    token_ids: list[int]
    thinking: str
    content: str
    thought_is_cut: bool


class Snippet:
    """Qwen's snippets, with transformers' choices after a prompt.

    The choices are computed for a whole completion at once, which must be the one that they lead to.
    """

    def __init__(self, kind: Kind, place: int, completion: tuple[int, ...]) -> None:
        from transformers import AutoTokenizer

        thinker, bias = kind.thinker, kind.thinker.bias(place)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(kind.folder)
        self._end_ids = thinker.engine.eos_token_ids
        tags: Any = self._tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
        self._open_id, self._close_id = tags
        prompt: Any = self._tokenizer.apply_chat_template(
            CONVERSATIONS[place], add_generation_prompt=True, return_dict=False, **kind.template_kwargs
        )
        self.num_prompt_tokens = len(prompt)
        self._is_open, self._is_off = prompt[-2] == self._open_id, self._close_id in prompt[-3:]
        self._completion = list(completion)
        with torch.no_grad():
            logits = thinker.reference(torch.tensor([prompt + self._completion])).logits[0, len(prompt) - 1 : -1]
        logits[:, list(bias)] += torch.tensor(list(bias.values()))
        self._logits = torch.full_like(logits, -torch.inf)
        self._logits[:, thinker.allowed] = logits[:, thinker.allowed]

    def run(self, budget: int | None, max_tokens: int) -> Expected:
        """Generate up to the budget, append the sentence unless the thought has ended, generate the rest, and split."""
        ids = self._more([], 1)
        thinks = self._is_open or (ids == [self._open_id] and not self._is_off)
        if budget is not None and thinks:
            ids = self._more([], budget + (not self._is_open))
            if self._close_id not in ids and not self._has_ended(ids):
                closing = self._tokenizer.encode(f"{SENTENCE}</think>\n\n", add_special_tokens=False)
                ids = [*ids, *closing]
        ids = self._more(ids, max_tokens)
        index = ids.index(self._close_id) + 1 if thinks and self._close_id in ids else 0
        parts = [self._tokenizer.decode(part, skip_special_tokens=True) for part in (ids[:index], ids[index:])]
        thinking, content = (part.strip("\n") for part in parts)
        return Expected(ids, thinking, content, thinks and not index)

    def _more(self, ids: list[int], length: int) -> list[int]:
        """`model.generate`: the ids with transformers' next choices, up to a length or an end token."""
        ids = list(ids)
        while len(ids) < length and not self._has_ended(ids):
            assert ids == self._completion[: len(ids)] and len(ids) < len(self._completion)
            row, ours = self._logits[len(ids)], self._completion[len(ids)]
            ids.append(ours if row[ours] >= row.max() - TIE else int(row.argmax()))
        return ids

    def _has_ended(self, ids: list[int]) -> bool:
        return bool(ids) and ids[-1] in self._end_ids


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thinker]:
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("thinker")
    write_tiny_checkpoint(folder, vocab_size=1280, tie_word_embeddings=False, max_position_embeddings=1024, seed=4)
    for name in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder / name)
    tokenizer = Tokenizer.from_folder(folder)
    tokens = ThinkingTokens.of(tokenizer)
    assert tokens is not None
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        state = reference.model(torch.tensor([tokenizer.encode_messages(CONVERSATIONS[0])])).last_hidden_state[0, -1]
        reference.lm_head.weight[tokens.start_id] = 20 * state / state.square().sum()
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = reference.lm_head.weight.detach().clone()
    save_file(tensors, folder / "edited.safetensors", metadata={"format": "pt"})
    (folder / "edited.safetensors").replace(folder / "model.safetensors")  # the reference may have mapped the old file
    ordinary = [each for each in range(tokenizer.vocab_size) if tokenizer.decode([each]).isascii()]
    config = EngineConfig(device="cpu", compile=False, threads=1, kv_cache_memory_bytes=16 << 20, speculate=False)
    loaded = load_engine(folder, config, log=lambda _: None)
    allowed = {each for each in ordinary if tokenizer.decode([each])} | {loaded.eos_token_ids[0]}
    yield Thinker(loaded, reference, tokens, tuple(sorted(allowed)))
    loaded.engine.shutdown()


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, thinker: Thinker, tmp_path_factory: pytest.TempPathFactory) -> Kind:
    template, kwargs = KINDS[request.param]
    folder = tmp_path_factory.mktemp("kind")
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        shutil.copy(DEMO / name, folder / name)
    config = json.loads((DEMO / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}))
    return Kind(request.param, folder, thinker, kwargs)


def inside(reasoning: str | None) -> str:
    """A thought without its tags and without the newlines around it."""
    return (reasoning or "").strip("\n").removeprefix("<think>").removesuffix("</think>").strip("\n")


@pytest.mark.slow
@pytest.mark.parametrize("budget", [None, 0, 1, 50, MAX_TOKENS // 2])
def test_ids_and_parts_are_those_of_qwens_snippets(kind: Kind, budget: int | None) -> None:
    completions = kind.completions(MAX_TOKENS, budget)
    assert bool(completions) is (budget is None or kind.name != "Instruct-2507")  # nothing is ignored without a word
    for place, completion in enumerate(completions):
        snippet = Snippet(kind, place, completion.token_ids or ())
        expected = snippet.run(budget, MAX_TOKENS)
        assert completion.usage is not None and completion.usage.prompt_tokens == snippet.num_prompt_tokens
        assert list(completion.token_ids or ()) == expected.token_ids
        assert (completion.usage.reasoning_tokens is None) is (kind.template_kwargs != {})
        if expected.thought_is_cut:
            assert (inside(completion.reasoning), completion.text) == (inside(expected.content), "")
        else:
            assert (completion.text or "").strip("\n") == expected.content
            assert inside(completion.reasoning) == inside(expected.thinking)


@pytest.mark.slow
@pytest.mark.parametrize("max_tokens", [1, 4, 9])
def test_a_completion_that_is_cut_inside_its_thought_has_no_answer(kind: Kind, max_tokens: int) -> None:
    for place, completion in enumerate(kind.completions(max_tokens)):
        expected = Snippet(kind, place, completion.token_ids or ()).run(None, max_tokens)
        assert list(completion.token_ids or ()) == expected.token_ids
        if expected.thought_is_cut:
            assert (inside(completion.reasoning), completion.text) == (inside(expected.content), "")
