"""A request that pools ends with its prompt: one state is read, no token is generated, and no page stays taken."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity

from engine.load import LoadedEngine
from engine.request import Pooling, Request, RequestOutput, RequestTooLong, Ticket
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy, priority
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.sequence import Sequence
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import FinishReason, SamplingParams
from testing.models.cpu_engine import load_cpu_engine
from testing.models.embedding_checkpoint import write_embedding_checkpoint, write_reranker_checkpoint

PARAMS = SamplingParams(max_tokens=1, temperature=0.0)
LENGTHS = (1, 2, 7, 64, 65, 100, 129, 200)
LABELS = (5, 9)
Load = Callable[..., LoadedEngine]


def prompt(number: int, length: int) -> tuple[int, ...]:
    """A prompt; those of numbers with the same remainder begin alike."""
    return tuple((place * 31 + number % 3 * 7) % 256 for place in range(length))


def embedding_requests(dimensions: int | None = None) -> list[Request]:
    pooling = Pooling(dimensions)
    return [Request(prompt(*each), PARAMS, pooling=pooling) for each in enumerate(LENGTHS)]


def label_requests() -> list[Request]:
    return [Request(prompt(*each), PARAMS, pooling=Pooling(label_ids=LABELS)) for each in enumerate(LENGTHS)]


def run_together(loaded: LoadedEngine, batch: list[Request]) -> list[RequestOutput]:
    return [ticket.future.result(120) for ticket in loaded.engine.submit_many(batch)]


def pooled(outputs: list[RequestOutput]) -> list[bytes]:
    values = [output.pooled for output in outputs]
    return [each for each in values if each is not None]


@pytest.fixture
def load() -> Iterator[Load]:
    """`load(folder, ...)` starts an engine with few pages."""
    engines = []

    def start(folder: Path, num_pages: int = 40, **settings: object) -> LoadedEngine:
        asked = {"max_model_len": 200, "threads": 1} | settings
        engines.append(load_cpu_engine(folder, torch.float32, num_pages, **asked))
        return engines[-1]

    yield start
    for each in engines:
        each.engine.shutdown()


def check_laws(load: Load, folder: Path, **settings: object) -> list[RequestOutput]:
    """Return what each of `embedding_requests()` gives alone. No neighbour, chunk or cache may change a bit of it."""
    first = load(folder, **settings)
    alone = [output for request in embedding_requests() for output in run_together(first, [request])]
    assert pooled(run_together(first, embedding_requests())) == pooled(alone)
    other = load(folder, max_batched_tokens=48, prefix_caching=False, **settings)
    assert pooled(run_together(other, embedding_requests())) == pooled(alone)
    assert first.engine.utilization().cached_tokens > 0
    assert first.engine.utilization().kv_cache_usage == 0
    assert first.engine.utilization().output_tokens == 0
    return alone


@pytest.mark.usefixtures("kernels")
def test_no_neighbour_chunk_or_cache_changes_a_bit_of_an_embedding(tmp_path: Path, load: Load) -> None:
    for output in check_laws(load, write_embedding_checkpoint(tmp_path)):
        assert (output.token_ids, output.text, output.finish_reason) == ((), "", FinishReason.STOP)


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
def test_embeddings_are_those_of_transformers(tmp_path: Path, load: Load) -> None:
    from transformers import AutoModel

    folder = write_embedding_checkpoint(tmp_path)
    reference = AutoModel.from_pretrained(folder, dtype=torch.float32)
    for request, output in zip(embedding_requests(), run_together(load(folder), embedding_requests()), strict=True):
        with torch.inference_mode():
            state = reference(torch.tensor([request.token_ids])).last_hidden_state[0, -1]
        found = torch.tensor(array("f", output.pooled or b""))
        assert float(cosine_similarity(found, state, dim=0)) >= 0.99999


@pytest.mark.usefixtures("built_kernels")
def test_in_bfloat16_all_layers_in_one_call_keep_the_bits_too(tmp_path: Path, load: Load) -> None:
    shape = {"dtype": "bfloat16", "hidden_size": 128, "head_dim": 64, "intermediate_size": 192}
    alone = check_laws(load, write_embedding_checkpoint(tmp_path, **shape), dtype="bfloat16", compile=True)
    assert len(set(pooled(alone))) == len(alone)


def test_an_embedding_has_the_dimensions_that_its_request_asks_for(tmp_path: Path, load: Load) -> None:
    cut = run_together(load(write_embedding_checkpoint(tmp_path)), embedding_requests(16))
    assert {len(each) for each in pooled(cut)} == {16 * 4}


@pytest.mark.usefixtures("kernels")
def test_no_neighbour_changes_a_bit_of_the_logits_of_labels_or_of_a_text(tmp_path: Path, load: Load) -> None:
    loaded = load(write_reranker_checkpoint(tmp_path), num_pages=100)
    texts = [Request(prompt(5, 30), SamplingParams(max_tokens=20, temperature=0.0, ignore_eos=True)) for _ in range(2)]
    mixed = run_together(loaded, [texts[0], *label_requests(), texts[1]])
    alone = [output for request in [texts[0], *label_requests()] for output in run_together(loaded, [request])]
    assert pooled(mixed) == pooled(alone)
    assert mixed[0].token_ids == mixed[-1].token_ids == alone[0].token_ids


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
def test_logits_of_labels_are_those_of_transformers(tmp_path: Path, load: Load) -> None:
    from transformers import AutoModelForCausalLM

    folder = write_reranker_checkpoint(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    outputs = run_together(load(folder, num_pages=100), label_requests())
    for output, request in zip(outputs, label_requests(), strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([request.token_ids])).logits[0, -1]
        found = torch.tensor(array("f", output.pooled or b""))
        torch.testing.assert_close(found, logits[list(LABELS)], rtol=1e-4, atol=1e-4)


def test_a_prompt_that_pools_may_fill_the_context_and_no_more(tmp_path: Path, load: Load) -> None:
    loaded = load(write_embedding_checkpoint(tmp_path))
    full, longer = (Request((1,) * length, PARAMS, pooling=Pooling()) for length in (200, 201))
    (output,) = run_together(loaded, [full])
    assert output.pooled is not None
    with pytest.raises(RequestTooLong, match="201 tokens; it may have 200"):
        run_together(loaded, [longer])


def test_the_pages_of_a_prompt_that_pools_are_free_after_its_only_step() -> None:
    allocator = PageAllocator(9, page_size=4)
    scheduler = Scheduler(allocator, SchedulingPolicy(8, 64))
    request = Request((1,) * 10, PARAMS, pooling=Pooling())
    checker = StopChecker(PARAMS, (), 1)
    sequence = Sequence(Ticket(request), checker, priority(0, 0, PARAMS, 1, urgent=False))
    scheduler.add(sequence)
    batch = scheduler.schedule()
    assert batch is not None
    assert batch.pooled_rows == (0,)
    assert scheduler.advance(batch, [b"abcd"]) == [sequence]
    assert (sequence.pooled, sequence.num_generated, sequence.num_new) == (b"abcd", 0, 0)
    assert allocator.num_free == allocator.num_usable
    assert scheduler.schedule() is None
