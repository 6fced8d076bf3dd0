"""Lines that ask for embeddings or a ranking become requests that pool, and their outputs become results."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from engine.request import Pooling, Request, RequestOutput, Ticket
from jobs.records.completion import Completion, ErrorCode, RankedDocument, Usage
from jobs.records.job import NewJob
from jobs.records.model_card import ModelCard
from jobs.records.prompt import EmbedWish, Prompt, RerankWish
from jobs.records.sampling import FinishReason, SamplingParams, SamplingSettings
from model.text.tokenizer import Tokenizer
from testing.models.embedding_checkpoint import write_reranker_checkpoint
from tests.worker.fake_tokenizer import END, VOCAB_SIZE, FakeGrammars, FakeTokenizer
from worker.shards.in_flight import Line
from worker.shards.line_result import completion_of
from worker.shards.pooled_prompts import PooledPrompts
from worker.shards.preparation import Preparation, Prepared

TEXTS = ModelCard("fake", VOCAB_SIZE, 1_000, has_chat_template=True)
EMBEDDER = structs.replace(TEXTS, max_model_len=20, kind="embedding", embedding_size=64, prompts={"query": "Q: "})
JOB = NewJob("j", "fake", "native", SamplingSettings(temperature=1.0), 5, 9, 9, source="f", created_at=0.0)
BEFORE, AFTER = "<|im_start|>system\nJudge", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def prepare(prompt: Prompt, card: ModelCard) -> Prepared:
    return Preparation(FakeTokenizer(), card, FakeGrammars()).prepare([prompt], JOB, group="g", on_token=lambda _: None)


def requests(prompt: Prompt, card: ModelCard) -> tuple[Request, ...]:
    ((_, found),) = prepare(prompt, card).runnable
    return found


def refusal(prompt: Prompt, card: ModelCard) -> tuple[ErrorCode, str]:
    (refused,) = prepare(prompt, card).refused
    assert refused.error is not None
    return refused.error.code, refused.error.message


def embed(text: str, **said: Any) -> Prompt:
    wish = {name: said.pop(name) for name in list(said) if name in EmbedWish.__struct_fields__}
    return Prompt(0, "a", text, endpoint="embeddings", embed=EmbedWish(**wish), **said)


def rerank(*documents: str, **said: Any) -> Prompt:
    first, *more = documents
    return Prompt(0, "a", first, endpoint="rerank", more_prompts=tuple(more), rerank=RerankWish("Where?", **said))


def text_of(request: Request) -> str:
    return "".join("$" if token == END else chr(token) for token in request.token_ids)


@pytest.mark.parametrize(("card", "endpoint"), [(EMBEDDER, "embeddings"), (TEXTS, "native")])
def test_a_bad_line_of_an_embedding_model_has_the_result_of_a_line_that_asks_for_one(
    card: ModelCard, endpoint: str
) -> None:
    (refused,) = prepare(Prompt(0, "", invalid="No JSON.", line=3), card).refused
    assert (refused.endpoint, refused.line) == (endpoint, 3)
    assert refused.error is not None
    assert (refused.error.code, refused.error.message) == (ErrorCode.INVALID_LINE, "No JSON.")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (embed("a text"), "a text$"),
        (embed("text", instruction="Find"), "Instruct: Find\nQuery:text$"),
        (embed("text", prompt_name="query"), "Q: text$"),
        (embed("0123456789", truncate_prompt_tokens=4, truncation_side="right"), "012$"),
        (embed("0123456789", truncate_prompt_tokens=4), "789$"),
        (embed("0123456789" * 9, truncate_prompt_tokens=-1, truncation_side="right"), "0123456789012345678$"),
    ],
)
def test_a_text_gets_its_words_before_and_the_models_end_after_it(prompt: Prompt, expected: str) -> None:
    card = structs.replace(EMBEDDER, max_model_len=1_000) if len(expected) > 20 else EMBEDDER
    (request,) = requests(prompt, card)
    assert text_of(request) == expected
    assert request.pooling == Pooling()
    assert (request.params.temperature, request.thinking, request.grammar) == (0.0, None, None)


def test_token_ids_are_embedded_as_they_are_and_may_fill_the_context() -> None:
    ids = tuple(range(20))
    (request,) = requests(structs.replace(embed("", dimensions=8), text=None, token_ids=ids), EMBEDDER)
    assert (request.token_ids, request.pooling) == (ids, Pooling(8))


def test_a_text_that_is_too_long_fails_alone() -> None:
    assert refusal(embed("x" * 20), EMBEDDER)[0] is ErrorCode.PROMPT_TOO_LONG
    assert len(requests(embed("x" * 19), EMBEDDER)[0].token_ids) == 20


def test_each_document_is_a_prompt_of_its_own_with_the_same_beginning() -> None:
    one, two = map(text_of, requests(rerank("Paris", "Rome", instruction="Be strict"), TEXTS))
    assert one.startswith(BEFORE)
    assert one.endswith(f"<|im_start|>user\n<Instruct>: Be strict\n<Query>: Where?\n<Document>: Paris{AFTER}")
    assert two == one.replace("Paris", "Rome")
    labels = [request.pooling for request in requests(rerank("Paris"), TEXTS)]
    assert labels == [Pooling(label_ids=(ord("y"), ord("n")))]


def test_a_document_that_is_too_long_is_cut_and_the_end_of_the_prompt_stays() -> None:
    (request,) = requests(rerank("x" * 5_000), TEXTS)
    assert len(request.token_ids) == TEXTS.max_model_len
    assert text_of(request).endswith(f"xxx{AFTER}")


def test_the_prompt_of_a_document_is_that_of_the_model_card(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(write_reranker_checkpoint(tmp_path))
    prompts = PooledPrompts(tokenizer, TEXTS.prompts)
    prompt = rerank("A document.")
    token_ids = prompts.frame(prompt).around(tuple(tokenizer.encode(prompts.text(prompt))), None)
    assert tokenizer.decode(list(token_ids), skip_special_tokens=False) == (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: Given a '
        "web search query, retrieve relevant passages that answer the query\n<Query>: Where?\n<Document>: A document."
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    labels = [tokenizer.token_id(label) for label in ("yes", "no")]
    assert prompts.label_ids() == tuple(labels)
    assert None not in labels


def test_a_model_refuses_lines_that_want_what_it_does_not_make() -> None:
    chat = Prompt(0, "a", messages=({"role": "user", "content": "Hi"},))
    for prompt, card, reason in (
        (chat, EMBEDDER, "this asks for a text, but fake makes only embeddings"),
        (Prompt(0, "a", "Hi"), EMBEDDER, "this asks for a text, but fake makes only embeddings"),
        (rerank("Paris"), EMBEDDER, "this asks for a ranking, but fake makes only embeddings"),
        (embed("x"), TEXTS, "this asks for embeddings, but fake makes texts"),
        (embed("x", dimensions=65), EMBEDDER, "`dimensions` is 65"),
    ):
        code, message = refusal(prompt, card)
        assert code is ErrorCode.INVALID_LINE
        assert message.startswith(reason)
        assert message.endswith(".")


def test_a_vocabulary_without_the_labels_cannot_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTokenizer, "token_id", lambda _self, _token: None)
    assert refusal(rerank("Paris"), TEXTS)[1] == "The model cannot rank: its vocabulary lacks `yes` and `no`."


def completed(prompt: Prompt, *pooled: bytes) -> Completion:
    """The result of a line whose requests gave these values, each for a prompt of 5 tokens."""
    tickets = []
    for values in pooled:
        ticket = Ticket(Request((1,), SamplingParams(max_tokens=1), pooling=Pooling()))
        output = RequestOutput((), "", FinishReason.STOP, 5, 1.0, 1.2, 1.5, 2.0, pooled=values)
        ticket.future.set_result(output)
        tickets.append(ticket)
    found = completion_of(Line(prompt, tuple(tickets), 0))
    assert found is not None
    return found


def values(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def test_the_embeddings_of_a_line_stand_in_the_order_of_its_inputs() -> None:
    prompt = structs.replace(embed("one", as_base64=True), more_prompts=("two",))
    found = completed(prompt, values(1.0, 0.0), values(0.0, 1.0))
    assert found.embeddings == (values(1.0, 0.0), values(0.0, 1.0))
    assert (found.usage, found.as_base64, found.text, found.endpoint) == (Usage(10, 0), True, None, "embeddings")


def test_documents_are_ordered_by_the_share_of_yes() -> None:
    logits = [values(1.0, 3.0), values(2.0, 0.0), values(-900.0, 900.0), values(3.0, 1.0)]
    documents = ("a", "b", "c", "d")
    found = completed(rerank(*documents), *logits)
    good, bad = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))
    assert [(each.index, each.text) for each in found.ranking] == [(1, None), (3, None), (0, None), (2, None)]
    assert [each.score for each in found.ranking[:3]] == [good, good, bad]
    assert 0 <= found.ranking[3].score < 1e-300
    assert json.dumps([each.score for each in found.ranking])
    two = completed(rerank(*documents, top_n=2, return_documents=True), *logits)
    assert two.ranking == (RankedDocument(1, good, "b"), RankedDocument(3, good, "d"))


def test_a_line_without_a_finite_result_fails_alone() -> None:
    failed = completed(embed("x"), values(math.nan, 1.0))
    assert failed.error is not None
    assert failed.error.code is ErrorCode.INTERNAL_ERROR
    assert "values that are not finite" in failed.error.message
