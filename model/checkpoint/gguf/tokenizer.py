"""The tokenizer in a GGUF file's header, in the layout of transformers' files."""

from __future__ import annotations

from typing import Any, TypeGuard

from jobs.errors import ModelUnusable
from model.checkpoint.gguf.header import DAMAGED
from model.checkpoint.gguf.settings import GgufSettings
from model.text.text_encoder import QWEN_PATTERN

_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5  # types of tokens: llama.cpp's `llama_token_type`
_NAMES = {"eos_token": "eos", "pad_token": "padding", "bos_token": "bos"}
# llama.cpp's converter makes control tokens of all tokens that look like one. In Qwen's own `tokenizer.json`, these are
# ordinary ones, which a text may contain.
_NOT_SPECIAL = frozenset(
    {"<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"}
)
_TEMPLATE = "tokenizer.chat_template"


class GgufTokenizer:
    """A file's tokenizer.

    Raises:
        ModelUnusable: The constructor: the tokenizer is damaged, or of another kind than Qwen3's.
    """

    def __init__(self, settings: GgufSettings, name: str) -> None:
        """`name` is the file's name, for messages."""
        self._settings = settings
        self._name = name
        self._expect("model", "gpt2")
        self._expect("pre", "qwen2")
        self._tokens = self._texts("tokens")
        self._types = self._list("token_type", len(self._tokens))
        self.ids = {token: place for place, token in enumerate(self._tokens) if self._types[place] != _UNUSED}
        if len(self.ids) != len(self._tokens) - self._types.count(_UNUSED):
            raise ModelUnusable(f"{name}: two tokens have the same text.", DAMAGED)

    def tokenizer_json(self) -> dict[str, Any]:
        """Return what a `tokenizer.json` of this tokenizer says."""
        added = {place for place, kind in enumerate(self._types) if kind in (_CONTROL, _USER_DEFINED)}
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        split = {"type": "Split", "pattern": QWEN_PATTERN, "behavior": "Isolated", "invert": False}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [self._added_token(place) for place in sorted(added)],
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
            "post_processor": self._end_of_texts() or byte_level,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": "",
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": {token: place for token, place in self.ids.items() if place not in added},
                "merges": [self._merge(merge) for merge in self._texts("merges")],
            },
        }

    def tokenizer_config(self) -> dict[str, Any]:
        """Return what a `tokenizer_config.json` says: the tokens and the templates for conversations."""
        ids = {name: self._settings.optional(f"tokenizer.ggml.{key}_token_id") for name, key in _NAMES.items()}
        tokens = {name: self._tokens[place] for name, place in ids.items() if self._is_token(place)}
        sources = {"default": self._settings.optional(_TEMPLATE)}
        sources["tool_use"] = self._settings.optional(f"{_TEMPLATE}.tool_use")
        named = [{"name": name, "template": source} for name, source in sources.items() if isinstance(source, str)]
        templates = named if sources["default"] and len(named) > 1 else sources["default"]
        return {**tokens, **({"chat_template": templates} if templates else {})}

    def _added_token(self, place: int) -> dict[str, Any]:
        content = self._tokens[place]
        return {
            "id": place,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": self._types[place] == _CONTROL and content not in _NOT_SPECIAL,
        }

    def _end_of_texts(self) -> dict[str, Any] | None:
        """Return the post-processor that puts the end token after each text. None if the file does not ask for it."""
        end = self._settings.optional("tokenizer.ggml.eos_token_id")
        if self._settings.optional("tokenizer.ggml.add_eos_token") is not True or not self._is_token(end):
            return None
        token = self._tokens[end]
        text = {"Sequence": {"id": "A", "type_id": 0}}
        special = {"SpecialToken": {"id": token, "type_id": 0}}
        return {
            "type": "TemplateProcessing",
            "single": [text, special],
            "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}, special],
            "special_tokens": {token: {"id": token, "ids": [end], "tokens": [token]}},
        }

    def _is_token(self, place: object) -> TypeGuard[int]:
        return isinstance(place, int) and 0 <= place < len(self._tokens)

    def _merge(self, merge: str) -> list[str]:
        """Return the two tokens that a merge joins. They hold no spaces, because bytes are written as letters."""
        parts = merge.split(" ")
        if len(parts) != 2:
            raise ModelUnusable(f"{self._name}: the merge {merge!r:.80} does not name two tokens.", DAMAGED)
        return parts

    def _expect(self, key: str, known: str) -> None:
        found = self._settings.required(f"tokenizer.ggml.{key}")
        if found != known:
            raise ModelUnusable(
                f"{self._name}: tokenizer.ggml.{key} is {found!r:.80}; only {known!r}, that of Qwen3, is supported.",
                "Name a GGUF file of a Qwen3 model.",
            )

    def _texts(self, key: str) -> list[str]:
        return [text for text in self._list(key) if isinstance(text, str)]

    def _list(self, key: str, length: int | None = None) -> list[Any]:
        found = self._settings.required(f"tokenizer.ggml.{key}")
        if not isinstance(found, list) or (length is not None and len(found) != length):
            wanted = "a list" if length is None else f"a list of {length:,} entries"
            raise ModelUnusable(f"{self._name}: tokenizer.ggml.{key} must be {wanted}.", DAMAGED)
        return found
