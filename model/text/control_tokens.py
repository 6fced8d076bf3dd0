"""Keeping what a person types from becoming a control token.

A template writes `<|im_end|>` to end a message. The same text inside a message must not end it: it is marked before
rendering, and what is marked is encoded as ordinary text afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from model.text.messages import MessagesInvalid

# Control and private-use characters that no template, trimming or normalisation touches. Latin-1's come first: a text
# of narrow characters stays narrow in memory. U+0085 is missing, because it counts as a line break.
_MARKS = (*range(0x80, 0x85), *range(0x86, 0xA0), *range(0xF0000, 0xFFFFE))


class ControlTokens:
    """The texts of a tokenizer's control tokens, and how to break and to find them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Made when it is needed: for 65,536 tokens this takes seconds."""
        return re.compile(_longest_of(self._texts))

    def mark_for(self, *values: object) -> str | None:
        """A character that stands nowhere in `values`, or None when no control token does either.

        Raises:
            MessagesInvalid: Every candidate is taken.
        """
        texts = [text for value in values for text in _texts(value)]
        if not any(self._pattern.search(text) for text in texts):
            return None
        taken = set().union(*texts)
        free = next((mark for mark in map(chr, _MARKS) if mark not in taken), None)
        if free is None:
            raise MessagesInvalid(
                "the messages use every control and private-use character of Latin-1 and plane 15; leave one out"
            )
        return free

    def break_up(self, value: object, mark: str) -> object:
        """A copy of JSON data in which each control token has `mark` after its first character."""
        if isinstance(value, str):
            return self._pattern.sub(lambda found: f"{found[0][0]}{mark}{found[0][1:]}", value)
        if isinstance(value, Mapping):
            return {self.break_up(key, mark): self.break_up(item, mark) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.break_up(item, mark) for item in value]
        return value

    def split(self, text: str) -> Iterator[tuple[bool, str]]:
        """Cut a text into (is a control token, piece), in order, without empty pieces."""
        end = 0
        for found in self._pattern.finditer(text):
            if end < found.start():
                yield False, text[end : found.start()]
            yield True, found[0]
            end = found.end()
        if end < len(text):
            yield False, text[end:]


def _longest_of(texts: Iterable[str]) -> str:
    """A pattern for the longest of the texts. It looks at each character once: the texts are joined in a tree.

    Python's alternatives are tried one after the other, which takes seconds for a few KB and thousands of texts.
    """
    tree: dict[str, Any] = {}
    for text in filter(None, texts):
        node = tree
        for character in text:
            node = node.setdefault(character, {})
        node[""] = {}  # a text may end here
    return _pattern_of(tree) if tree else r"(?!)"


def _pattern_of(node: dict[str, Any]) -> str:
    chain = ""
    while len(node) == 1:
        ((character, node),) = node.items()
        chain += re.escape(character)
    if not node:
        return chain
    branches = "|".join(re.escape(character) + _pattern_of(child) for character, child in node.items() if character)
    return f"{chain}(?:{branches}){'?' if '' in node else ''}"


def _texts(value: object) -> list[str]:
    """Every text in JSON data, keys included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (*_texts(key), *_texts(item))]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return []
