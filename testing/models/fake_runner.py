"""Runners and a tokenizer of our own, for tests of everything above the model."""

from __future__ import annotations

import codecs
import threading
import zlib
from collections.abc import Mapping
from collections.abc import Sequence as Items

from engine.scheduling.batch import Batch, PageCopy
from engine.scheduling.sequence import Sequence

VOCAB_SIZE = 260
EOS = 257


class TableRunner:
    """Gives each prompt the completion that stands in a table, then `EOS` for ever."""

    def __init__(self, table: Mapping[tuple[int, ...], Items[int]]) -> None:
        self.table = table
        self.batches: list[Batch] = []

    def run(self, batch: Batch) -> list[int]:
        self.batches.append(batch)
        return [self._next(batch.sequences[index], drafted) for index, drafted in batch.sampled_rows()]

    def _next(self, sequence: Sequence, num_drafted: int) -> int:
        completion = self.table.get(sequence.ticket.request.token_ids, ())
        place = len(sequence.tokens) - sequence.num_prompt_tokens + num_drafted
        return completion[place] if place < len(completion) else EOS


class CacheRunner:
    """A model in miniature: the next token is a hash of what the sequence's pages hold.

    Each entry notes the token and the kernel (prefill or decode) that wrote it. So each of these faults changes the
    generated tokens: a page that two sequences share, a missing token, or a token that is prefilled after it was
    decoded.

    Args:
        page_size: Tokens per page.
        num_ids: Number of different ids that it generates. With few of them, a text repeats itself.
    """

    def __init__(self, page_size: int, num_ids: int = 256) -> None:
        self._page_size = page_size
        self._num_ids = num_ids
        self._cache: dict[int, tuple[int, str]] = {}
        self.batches: list[Batch] = []

    def run(self, batch: Batch) -> list[int]:
        self.batches.append(batch)
        self._copy(batch.copies)
        for index, (sequence, count) in enumerate(zip(batch.sequences, batch.num_tokens, strict=True)):
            kernel = "decode" if index < batch.num_decodes else "prefill"
            for position, token_id in enumerate(sequence.fed(count), start=sequence.num_computed):
                self._cache[self._slot(sequence, position)] = (token_id, kernel)
        return [self._next(batch.sequences[index], drafted) for index, drafted in batch.sampled_rows()]

    def _copy(self, copies: Items[PageCopy]) -> None:
        before = dict(self._cache)
        for source, target in copies:
            for offset in range(self._page_size):
                if (seen := before.get(source * self._page_size + offset)) is not None:
                    self._cache[target * self._page_size + offset] = seen

    def _slot(self, sequence: Sequence, position: int) -> int:
        page, offset = divmod(position, self._page_size)
        return sequence.page_table[page] * self._page_size + offset

    def _next(self, sequence: Sequence, num_drafted: int) -> int:
        length = len(sequence.tokens) + num_drafted
        seen = [self._cache[self._slot(sequence, position)] for position in range(length)]
        return zlib.crc32(repr(seen).encode()) % self._num_ids


class GatedRunner:
    """Waits before every step until the test lets it go on; then does what another runner does."""

    def __init__(self, runner: TableRunner) -> None:
        self._runner = runner
        self.entered = threading.Semaphore(0)  # released when a step begins
        self.gate = threading.Semaphore(0)  # a step takes one

    def run(self, batch: Batch) -> list[int]:
        self.entered.release()
        self.gate.acquire()
        return self._runner.run(batch)

    def open(self) -> None:
        """Let all further steps pass."""
        self.gate.release(1_000_000)


class ByteTokenizer:
    """Ids below 256 are bytes of UTF-8; the others are special tokens."""

    vocab_size = VOCAB_SIZE

    def decode(self, token_ids: Items[int], skip_special_tokens: bool = True) -> str:
        return b"".join(_bytes_of(each, skip_special_tokens) for each in token_ids).decode(errors="replace")

    def stream(self, skip_special_tokens: bool = True) -> ByteStream:
        return ByteStream(skip_special_tokens)

    def token_bytes(self, token_id: int) -> bytes:
        return _bytes_of(token_id, skip_special_tokens=False)


class ByteStream:
    """Text as its bytes come."""

    def __init__(self, skip_special_tokens: bool = True) -> None:
        self._skip_special_tokens = skip_special_tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        return self._decoder.decode(_bytes_of(token_id, self._skip_special_tokens))

    @property
    def is_complete(self) -> bool:
        return not self._decoder.getstate()[0]


def _bytes_of(token_id: int, skip_special_tokens: bool) -> bytes:
    if token_id < 256:
        return bytes([token_id])
    return b"" if skip_special_tokens else f"<|{token_id}|>".encode()
