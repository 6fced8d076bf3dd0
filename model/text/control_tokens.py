"""Keeping the text of messages from becoming control tokens.

A template writes `<|im_end|>` to end a message. If this text stands inside a message, it must not end the message.
Therefore a mark is put into it before rendering, and marked text is encoded as ordinary text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from model.text.messages import MessagesInvalid

# Control and private-use characters that templates, trimming and normalisation do not change. Those of Latin-1 come
# first, because Python then still stores a Latin-1 text in one byte per character. U+0085 is excluded: it counts as a
# line break.
_MARKS = (*range(0x80, 0x85), *range(0x86, 0xA0), *range(0xF0000, 0xFFFFE))


class ControlTokens:
    """Finds a tokenizer's control tokens in texts, and breaks them up."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Pattern of all control tokens. Built on first use, because 65,536 tokens take seconds."""
        return re.compile(_longest_of(self._texts))

    def mark_for(self, *values: object) -> str | None:
        """Return a character that does not occur in `values`, or None if they contain no control token.

        Raises:
            MessagesInvalid: All candidate characters occur in `values`.
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
        """Return a copy of JSON data with `mark` inserted after the first character of each control token."""
        if isinstance(value, str):
            return self._pattern.sub(lambda found: f"{found[0][0]}{mark}{found[0][1:]}", value)
        if isinstance(value, Mapping):
            return {self.break_up(key, mark): self.break_up(item, mark) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.break_up(item, mark) for item in value]
        return value

    def split(self, text: str) -> Iterator[tuple[bool, str]]:
        """Split a text into pairs (is a control token, piece), in order, without empty pieces."""
        end = 0
        for found in self._pattern.finditer(text):
            if end < found.start():
                yield False, text[end : found.start()]
            yield True, found[0]
            end = found.end()
        if end < len(text):
            yield False, text[end:]


def _longest_of(texts: Iterable[str]) -> str:
    """Return a pattern that matches the longest of the texts at each position.

    The pattern is built from a prefix tree, so it reads each character once. A plain list of alternatives is tried one
    by one: with thousands of texts that takes seconds for a few KB.
    """
    tree: dict[str, Any] = {}
    for text in filter(None, texts):
        node = tree
        for character in text:
            node = node.setdefault(character, {})
        node[""] = {}  # marks the end of a text
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
    """Return all texts in JSON data, including keys."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (*_texts(key), *_texts(item))]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return []
