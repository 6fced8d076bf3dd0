"""Tasks about the letters of a word: spelling, reversing, counting."""

from __future__ import annotations

import string
from collections.abc import Callable
from random import Random

from tools.demo_model.tasks.task import Instance, Task
from tools.demo_model.wording.lexicon import sentence_words
from tools.demo_model.wording.phrasings import PHRASINGS
from tools.demo_model.wording.words import ENGLISH_WORDS

_SHORTEST, _LONGEST = 3, 7


def _random_letters(rng: Random, count: int) -> str:
    # Half of the words have very few letters, because repeated letters are hard.
    alphabet = rng.sample(string.ascii_lowercase, rng.randint(2, 4)) if rng.random() < 0.5 else string.ascii_lowercase
    return "".join(rng.choice(alphabet) for _ in range(count))


def _word_with_known_start(rng: Random) -> str:
    """Return a word that begins like a word of the tokenizer.

    The model must then split a token of several letters.
    """
    known = rng.choice(sentence_words())
    start = known[: rng.randint(2, min(len(known), _LONGEST))]
    return start + _random_letters(rng, rng.randint(max(0, _SHORTEST - len(start)), _LONGEST - len(start)))


def _draw_word(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(ENGLISH_WORDS)
    if kind < 0.7:
        return _random_letters(rng, rng.randint(_SHORTEST, _LONGEST))
    return _word_with_known_start(rng)


def _as_typed(word: str, rng: Random) -> str:
    return f'"{word}"' if rng.random() < 0.3 else word


def draw_for(answer: Callable[[str], str]) -> Callable[[Random], Instance]:
    """Return a draw of words. `answer` computes the right answer of a word."""

    def draw(rng: Random) -> Instance:
        word = _draw_word(rng)
        return Instance({"w": _as_typed(word, rng)}, answer(word), word)

    return draw


def _draw_letter_count(rng: Random) -> Instance:
    word = _draw_word(rng)
    letter = rng.choice(word) if rng.random() < 0.8 else rng.choice(string.ascii_lowercase)
    values = {"w": _as_typed(word, rng), "l": _as_typed(letter, rng)}
    return Instance(values, str(word.count(letter)), word)


LETTERS: tuple[Task, ...] = (
    Task(
        name="reverse",
        weight=2.5,
        phrasings=PHRASINGS["reverse"],
        draw=draw_for(lambda word: word[::-1]),
    ),
    Task(
        name="spell",
        weight=1.0,
        phrasings=PHRASINGS["spell"],
        draw=draw_for(" ".join),
    ),
    Task(
        name="uppercase",
        weight=0.8,
        phrasings=PHRASINGS["uppercase"],
        draw=draw_for(str.upper),
    ),
    Task(
        name="length",
        weight=2.0,
        phrasings=PHRASINGS["length"],
        draw=draw_for(lambda word: str(len(word))),
    ),
    Task(
        name="count-letter",
        weight=4.0,
        phrasings=PHRASINGS["count-letter"],
        draw=_draw_letter_count,
    ),
    Task(
        name="first-letter",
        weight=0.5,
        phrasings=PHRASINGS["first-letter"],
        draw=draw_for(lambda word: word[0]),
    ),
    Task(
        name="last-letter",
        weight=0.8,
        phrasings=PHRASINGS["last-letter"],
        draw=draw_for(lambda word: word[-1]),
    ),
)
