"""Encoding texts to token ids in bounded memory. The library needs up to 165 bytes per byte of text."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import tokenizers

from model.text.token_lower_bound import TokenLowerBound, pre_tokenizer_steps, state_of

BATCH_CHARS = 1 << 19  # maximum characters that the library gets at a time: at most 2 MB

# Qwen's pre-tokenizer ends a word between these two characters, and NFC joins nothing there. Therefore the two parts of
# the text can be encoded separately. `tests/model/text/test_text_encoder.py` compares the ids.
_LETTER = "A-Za-zА-Яа-я\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3"
_MARK = r" \n.,;:!?\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"
_CUT = re.compile(f"(?<=[{_LETTER}])(?=[{_MARK}])")
QWEN_PATTERN = {
    "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
}


@dataclass(frozen=True)
class TooManyTokens:
    """The result for a text with more tokens than allowed."""

    at_least: int  # lower bound of the text's tokens
    exact: bool  # True if `at_least` is the exact number


class EncodingFailed(ValueError):
    """The tokenizer cannot encode a text."""


Encoded = list[int] | TooManyTokens | ValueError
"""Result of encoding one text: its ids, or the reason why it has none."""


class TextEncoder:
    """Encodes texts with one tokenizer. Thread-safe: one thread encodes at a time, on all processors."""

    def __init__(
        self, backend: tokenizers.Tokenizer, lock: threading.Lock | None = None, batch_chars: int = BATCH_CHARS
    ) -> None:
        """Create an encoder.

        Args:
            backend: A tokenizer without truncation and padding.
            lock: Shared by encoders that must not use memory at the same time.
            batch_chars: Maximum characters that the library gets at a time.
        """
        self._batch_chars = batch_chars
        self._backend = backend
        self._lock = lock or threading.Lock()
        self._lower_bound = TokenLowerBound(backend)
        self._can_cut = _can_cut(backend)

    def sibling(self, backend: tokenizers.Tokenizer) -> TextEncoder:
        """Return an encoder for another tokenizer. Both share a lock, so that their memory does not add up."""
        return TextEncoder(backend, self._lock, self._batch_chars)

    def encode(self, text: str, max_tokens: int | None = None) -> list[int] | TooManyTokens:
        """Return the ids of one text of any length.

        Args:
            text: The text. Special tokens spelled out in it become these tokens, if the backend knows them.
            max_tokens: Maximum number of tokens. A text with more is not encoded to its end.

        Raises:
            ValueError: The text has a lone surrogate, or the tokenizer fails on it.
        """
        text.encode()  # raises UnicodeEncodeError, a ValueError; the backend would only say "must be str"
        if max_tokens is not None and len(text) > max(self._batch_chars, max_tokens):
            lower_bound = self._lower_bound.of(text)
            if lower_bound > max_tokens:
                return TooManyTokens(lower_bound, exact=False)
        ids: list[int] = []
        for piece, is_last in self._pieces(text):
            (encoding,) = self._encode_batch([piece])
            count = len(ids) + len(encoding)
            if max_tokens is not None and count > max_tokens:
                return TooManyTokens(count, exact=is_last)
            ids += encoding.ids
        return ids

    def encode_each(self, texts: Iterable[str | ValueError], max_tokens: int | None = None) -> Iterator[Encoded]:
        """Encode many texts and yield the result of each. Short texts are encoded together.

        A failure yields an error instead of ids. Errors in the input are yielded unchanged.
        """
        batch: list[str | ValueError] = []
        size = 0
        for text in texts:
            length = len(text) if isinstance(text, str) else 0
            if size + length > self._batch_chars:
                yield from self._encode_together(batch, max_tokens)
                batch, size = [], 0
            batch.append(text)
            size += length
        yield from self._encode_together(batch, max_tokens)

    def _encode_together(self, batch: Sequence[str | ValueError], max_tokens: int | None) -> Iterator[Encoded]:
        texts = [text for text in batch if isinstance(text, str)]
        try:
            encodings = iter(self._encode_batch(texts)) if sum(map(len, texts)) <= self._batch_chars else None
        except ValueError:
            encodings = None
        if encodings is None:
            yield from (self._encode_or_error(text, max_tokens) for text in batch)
            return
        for text in batch:
            if not isinstance(text, str):
                yield text
                continue
            encoding = next(encodings)
            too_many = max_tokens is not None and len(encoding) > max_tokens
            yield TooManyTokens(len(encoding), exact=True) if too_many else encoding.ids

    def _encode_or_error(self, text: str | ValueError, max_tokens: int | None) -> Encoded:
        try:
            return self.encode(text, max_tokens) if isinstance(text, str) else text
        except ValueError as error:
            return error

    def _pieces(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yield the pieces of a text, each with True if it is the last. The ids do not depend on the cuts.

        Only long texts are cut.
        """
        start = 0
        while self._can_cut and len(text) - start > self._batch_chars:
            cut = _CUT.search(text, start + self._batch_chars // 2)
            if cut is None:
                break
            yield text[start : cut.start()], False
            start = cut.start()
        yield text[start:], True

    def _encode_batch(self, texts: list[str]) -> list[tokenizers.Encoding]:
        for text in texts:
            text.encode()
        try:
            with self._lock:
                return list(self._backend.encode_batch_fast(texts, add_special_tokens=False))
        except BaseException as error:
            if not is_panic(error):
                raise
            raise EncodingFailed(f"the model's tokenizer fails on it ({error})") from None


def is_panic(error: BaseException) -> bool:
    """Return True for a panic of Rust code. Its class is not an `Exception` and cannot be imported."""
    return type(error).__module__ == "pyo3_runtime"


def _can_cut(backend: tokenizers.Tokenizer) -> bool:
    """Return True if `_CUT` is known to be safe: the components are Qwen's, and no added token crosses a cut."""
    steps = pre_tokenizer_steps(state_of(backend.pre_tokenizer) or {})
    return (
        state_of(backend.normalizer) in (None, {"type": "NFC"})
        and [step.get("type") for step in steps] == ["Split", "ByteLevel"]
        and steps[0].get("pattern") == QWEN_PATTERN
        and steps[0].get("behavior") == "Isolated"
        and not steps[0].get("invert")
        and not steps[1].get("add_prefix_space")
        and not steps[1].get("use_regex")
        and not any(
            token.lstrip or token.rstrip or token.single_word or _CUT.search(token.content)
            for token in backend.get_added_tokens_decoder().values()
        )
    )
