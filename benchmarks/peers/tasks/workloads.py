"""The tasks by their names."""

from __future__ import annotations

import random

from benchmarks.peers.tasks.records import MAX_TOKENS
from benchmarks.peers.tasks.task import Kind, Task
from cli.offline.batch_throughput import random_workload

STREAM_PROMPT_TOKENS = 8
STREAM_OUTPUT_TOKENS = 64
PREFILL_TOKENS = 1024
SHARED_TOKENS: dict[Kind, int] = {"shared": 600, "shared_long": 4000}


def one_stream(vocab_size: int) -> Task:
    """Return one prompt of 8 tokens, with 64 tokens out."""
    return Task("one_stream", 0, [_short_prompt(vocab_size, 0)], [STREAM_OUTPUT_TOKENS])


def streams(vocab_size: int, batch: int) -> Task:
    """Return `batch` such prompts at once. Nearly all of the time is decoding at exactly this batch size."""
    prompts = [_short_prompt(vocab_size, number) for number in range(batch)]
    return Task("streams", 0, prompts, [STREAM_OUTPUT_TOKENS] * batch)


def prefill(vocab_size: int) -> Task:
    """Return one prompt of 1,024 random tokens, with one token out."""
    luck = random.Random(0)
    return Task("prefill", 0, [[luck.randrange(1000, 150_000) % vocab_size for _ in range(PREFILL_TOKENS)]], [1])


def batch(vocab_size: int, requests: int, seed: int) -> Task:
    """Return the batch workload: prompts of 32 to 256 tokens, with 32 to 192 tokens out."""
    pairs = random_workload(requests, vocab_size, seed)
    return Task("batch", seed, [prompt for prompt, _ in pairs], [length for _, length in pairs])


def shared(vocab_size: int, kind: Kind, requests: int) -> Task:
    """Return prompts that begin with the same tokens, with 20 to 80 tokens of their own and 8 to 24 tokens out.

    The primer has the same beginning. It stands for the requests that a service answered before.
    """
    luck = random.Random(kind)
    own = [luck.randint(20, 80) for _ in range(requests + 1)]
    lengths = [luck.randint(8, 24) for _ in range(requests)]
    beginning = [luck.randrange(1000, 150_000) % vocab_size for _ in range(SHARED_TOKENS[kind])]
    primer, *prompts = (
        [*beginning, *(luck.randrange(1000, 150_000) % vocab_size for _ in range(count))] for count in own
    )
    return Task(kind, 0, prompts, lengths, primer)


def records(vocab_size: int, requests: int) -> Task:
    """Return the prompts of the batch workload, to answer with records of a JSON schema."""
    return Task("records", 0, batch(vocab_size, requests, 0).prompts, [MAX_TOKENS] * requests)


def _short_prompt(vocab_size: int, number: int) -> list[int]:
    first = 1000 + number * STREAM_PROMPT_TOKENS
    return [token % vocab_size for token in range(first, first + STREAM_PROMPT_TOKENS)]
