"""The demo's tokenizer: byte-level BPE like Qwen's. Its merges are built, not trained.

Every merge extends the beginning of a known word by one letter. A word of the questions is therefore one token. A
quoted word, or a lower-case word without a space before it, stays split into letters, which the letter tasks need.
"""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from tools.demo_model.data.chat_format import END_OF_TEXT, TURN_END, TURN_START
from tools.demo_model.wording.lexicon import token_words

VOCABULARY_SIZE = 1280
_SPECIAL = (END_OF_TEXT, TURN_START, TURN_END)
_TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>")  # part of the text: decoding keeps them

# Qwen's split: contractions, words with at most one other character before them, single digits, punctuation, spaces.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _merges(limit: int) -> list[tuple[str, str]]:
    """Return at most `limit` merges. Merges that begin with a space come first, so that " Paris" becomes one token."""
    prefixes: dict[str, None] = {}
    for word in token_words():
        spelled = word.replace(" ", "Ġ")  # how byte-level BPE writes a space
        prefixes.update(dict.fromkeys(spelled[:end] for end in range(2, len(spelled) + 1)))
    kept = list(prefixes)[:limit]
    return [(prefix[:-1], prefix[-1]) for prefix in sorted(kept, key=lambda prefix: not prefix.startswith("Ġ"))]


def build_tokenizer() -> Tokenizer:
    """Return the tokenizer, which is always the same: bytes, then merges, then special tokens and tags."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = _merges(VOCABULARY_SIZE - len(alphabet) - len(_SPECIAL) - len(_TAGS))
    tokens = alphabet + [left + right for left, right in merges]
    tokenizer = Tokenizer(BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in _TAGS])
    return tokenizer
