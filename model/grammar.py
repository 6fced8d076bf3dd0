"""Grammars that the text of a completion must follow. This is the only module of a worker that imports llguidance."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

    from model.text.tokenizer import Tokenizer

_KEPT = 256  # compiled grammars; most jobs have one
MAX_LEXER_STATES = 50_000
_NEWLINES = ("\n", "\n\n")


class GrammarInvalid(ValueError):
    """A grammar cannot be used. The message says why."""


class Matcher:
    """Follows one completion through a grammar, token by token. Not thread-safe."""

    def __init__(self, state: LLMatcher, vocab_size: int) -> None:
        """Create a matcher from a state of its own. `vocab_size` is the number of tokens in a mask."""
        self.mask_words = -(-vocab_size // 32)
        self._state = state

    @property
    def ended(self) -> bool:
        """True if nothing may follow the text so far."""
        return self._state.is_stopped()

    @property
    def fault(self) -> str | None:
        """Reason why the matcher has given up. None if it works."""
        return self._state.get_error().partition("\n")[0] if self._state.is_error() else None

    def accept(self, token_id: int) -> None:
        """Add the next token. A token that the grammar does not allow is a fault."""
        self._state.consume_token(token_id)

    def write_mask(self, address: int) -> None:
        """Compute which tokens may come next. A matcher that gives up has a fault afterwards.

        Args:
            address: Address of `mask_words` int32. Bit b of word w is set if token 32 w + b may come next. The words
                are not changed if the matcher has a fault already.
        """
        if not self._state.is_error():
            self._state.unsafe_compute_mask_ptr(address, 4 * self.mask_words)


class Grammar:
    """A compiled grammar.

    Args:
        start: Matcher of an empty text. It is copied for each completion.
        vocab_size: Number of tokens in a mask.
        newlines: Ids of the tokens that are only newlines, with the number of newlines.
    """

    def __init__(self, start: LLMatcher, vocab_size: int, newlines: Mapping[int, int]) -> None:
        self.newlines = newlines
        self._start = start
        self._vocab_size = vocab_size

    def matcher(self) -> Matcher:
        """Return a matcher for one completion."""
        return Matcher(self._start.deep_copy(), self._vocab_size)


class Grammars:
    """Compiles grammars for one tokenizer, and keeps the latest. Thread-safe.

    Args:
        tokenizer: The tokenizer. It is prepared, which takes a second, when the first grammar comes.
        eos_token_ids: Tokens that may follow a complete text.
        max_lexer_states: Limit for a grammar whose patterns explode. A state takes about 2 kB.
    """

    def __init__(
        self, tokenizer: Tokenizer, eos_token_ids: Iterable[int], max_lexer_states: int = MAX_LEXER_STATES
    ) -> None:
        self._max_lexer_states = max_lexer_states
        self._tokenizer = tokenizer
        self._eos_token_ids = [token_id for token_id in eos_token_ids if token_id < tokenizer.vocab_size]
        self._lock = threading.Lock()
        self._prepared: LLTokenizer | None = None
        self._newlines: dict[int, int] = {}
        self._kept: OrderedDict[bytes, Grammar | GrammarInvalid] = OrderedDict()

    def compiled(self, text: str) -> Grammar:
        """Compile a grammar in llguidance's JSON.

        Raises:
            GrammarInvalid: The grammar has a fault, or llguidance is not installed.
        """
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        with self._lock:
            found = self._kept.get(digest)
            if found is None:
                found = self._kept[digest] = self._compile(text)
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        if isinstance(found, GrammarInvalid):
            raise found
        return found

    def _compile(self, text: str) -> Grammar | GrammarInvalid:
        try:
            from llguidance import LLMatcher, LLParserLimits
        except ImportError:
            return GrammarInvalid("this worker lacks the package llguidance, which schemas and grammars need")
        if self._prepared is None:
            self._prepared, self._newlines = self._prepare()
        limits = LLParserLimits(verbose_errors=False, max_lexer_states=self._max_lexer_states)
        start = LLMatcher(self._prepared, text, log_level=0, limits=limits)
        if start.is_error():
            return GrammarInvalid(start.get_error().partition("\n")[0])
        return Grammar(start, self._prepared.vocab_size, self._newlines)

    def _prepare(self) -> tuple[LLTokenizer, dict[int, int]]:
        from llguidance import LLTokenizer

        prepared = LLTokenizer(self._tokenizer.to_json(), eos_token=self._eos_token_ids or None)
        encoded = [(self._tokenizer.encode(text), len(text)) for text in _NEWLINES]
        return prepared, {ids[0]: count for ids, count in encoded if len(ids) == 1}
