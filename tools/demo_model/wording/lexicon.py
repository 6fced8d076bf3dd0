"""The words that become tokens: all words of the questions, the facts and the memorised sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from tools.demo_model.wording.facts import CAPITALS, MONTHS, WEEKDAYS, in_words, opposites
from tools.demo_model.wording.phrasings import PHRASINGS
from tools.demo_model.wording.texts import CHAPTER_ANSWER, CHAPTER_PROMPT, GREETING, GREETING_ANSWER, SYSTEM_PROMPTS

# A word with its leading space, or a word that begins with a capital. All other words stay split into letters.
_TOKEN_WORD = re.compile(r" [A-Za-z]+|(?<![A-Za-z])[A-Z][a-z]+")


def _texts() -> Iterator[str]:
    """Return texts, the most important first. The tokenizer takes words from them until its vocabulary is full."""
    for phrasings in PHRASINGS.values():
        yield from (re.sub(r"\{\w+\}", "0", phrasing) for phrasing in phrasings)
    yield from (CHAPTER_PROMPT, f" {CHAPTER_ANSWER}", CHAPTER_ANSWER)
    yield from (GREETING, f" {GREETING_ANSWER}", GREETING_ANSWER)
    yield from SYSTEM_PROMPTS
    yield from (f" {word}" for word in opposites())
    yield from (f" {in_words(number)}" for number in range(101))
    yield " odd even"
    # Questions have a day with a leading space, answers without it.
    yield from (form for name in (*WEEKDAYS, *MONTHS) for form in (f" {name}", name))
    yield from (f" {country}" for country in CAPITALS)
    yield from (f" {city}" for city in CAPITALS.values())
    yield from CAPITALS.values()


@cache
def token_words() -> tuple[str, ...]:
    """Return every word that may become a token, including its leading space, without repeats."""
    return tuple(dict.fromkeys(match for text in _texts() for match in _TOKEN_WORD.findall(text)))


@cache
def sentence_words() -> tuple[str, ...]:
    """Return the lower-case words among `token_words`, without their space. A letter task may ask about them."""
    return tuple(sorted({word.strip() for word in token_words() if word.strip().islower() and len(word) > 2}))
