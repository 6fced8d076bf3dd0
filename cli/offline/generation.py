"""Streams the completion of one prompt in this process."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from cli.offline.local_model import LocalModel
from engine.load import LoadedEngine
from engine.request import Request
from jobs.records.sampling import SamplingParams
from model.generate import generate_text_basic_stream


@dataclass(frozen=True)
class TextPiece:
    """The text that one token, or the end of the completion, adds.

    A text has only whole characters, so it may be empty.
    """

    text: str
    is_token: bool


def stream_with_engine(loaded: LoadedEngine, token_ids: list[int], params: SamplingParams) -> Iterator[TextPiece]:
    """Generate with the engine: KV cache, sampling and stop strings. The last piece has the remaining characters.

    Raises:
        RequestTooLong: The prompt does not fit.
    """
    tokens: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    ticket = loaded.engine.submit(Request(tuple(token_ids), params, on_token=tokens.put))
    ticket.future.add_done_callback(lambda _: tokens.put(None))
    stream, shown = loaded.tokenizer.stream(), ""
    # A stop string may begin in text that is ready to show: hold back the length of the longest one.
    held_back = max((len(stop) - 1 for stop in params.stop), default=0)
    text = ""
    while (token := tokens.get()) is not None:
        text += stream.push(token)
        new = text[len(shown) : max(len(shown), len(text) - held_back)]
        shown += new
        yield TextPiece(new, is_token=True)
    yield TextPiece(ticket.future.result().text[len(shown) :], is_token=False)


def stream_without_cache(
    local: LocalModel, token_ids: list[int], max_tokens: int, eos_token_ids: tuple[int, ...]
) -> Iterator[TextPiece]:
    """Generate greedily without a KV cache: run the whole sequence again for every token, as the chapter does first."""
    stream = local.tokenizer.stream()
    prompt = torch.tensor([token_ids], device=local.model.device)
    for ids in generate_text_basic_stream(local.model, prompt, max_tokens):
        token = int(ids.item())
        if token in eos_token_ids:
            break
        yield TextPiece(stream.push(token), is_token=True)
    yield TextPiece(stream.flush(), is_token=False)
