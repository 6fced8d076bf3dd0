"""The phrasings of every question. The demo model understands only these."""

from __future__ import annotations

PHRASINGS: dict[str, tuple[str, ...]] = {
    "add": (
        "What is {a} + {b}?",
        "What is {a} plus {b}?",
        "Add {a} and {b}.",
        "{a} + {b} =",
        "Calculate {a} + {b}.",
    ),
    "subtract": (
        "What is {a} - {b}?",
        "What is {a} minus {b}?",
        "Subtract {b} from {a}.",
        "{a} - {b} =",
        "Calculate {a} - {b}.",
    ),
    "multiply": (
        "What is {a} * {b}?",
        "What is {a} times {b}?",
        "Multiply {a} by {b}.",
        "{a} * {b} =",
        "Calculate {a} * {b}.",
    ),
    "reverse": (
        "Reverse the word {w}.",
        "Write the word {w} backwards.",
        "What is {w} spelled backwards?",
        "Reverse this word: {w}",
    ),
    "spell": (
        "Spell the word {w}.",
        "Spell {w} letter by letter.",
        "How do you spell {w}?",
        "Spell this word: {w}",
    ),
    "uppercase": (
        "Write {w} in capital letters.",
        "Uppercase the word {w}.",
        "Convert {w} to uppercase.",
        "Put this word in uppercase: {w}",
    ),
    "length": (
        "How many letters are in the word {w}?",
        "How long is the word {w}?",
        "Count the letters in {w}.",
        "What is the number of letters in {w}?",
    ),
    "count-letter": (
        "How many times does the letter {l} appear in {w}?",
        "How many letters {l} are in the word {w}?",
        "Count the letter {l} in {w}.",
        "How many {l} are there in {w}?",
    ),
    "first-letter": (
        "What is the first letter of {w}?",
        "Which letter does the word {w} start with?",
        "Give the first letter of the word {w}.",
        "First letter of {w}:",
    ),
    "last-letter": (
        "What is the last letter of {w}?",
        "Which letter does the word {w} end with?",
        "Give the last letter of the word {w}.",
        "Last letter of {w}:",
    ),
    "capital": (
        "What is the capital of {c}?",
        "Name the capital of {c}.",
        "Which city is the capital of {c}?",
        "Tell me the capital city of {c}.",
        "The capital of {c} is",
    ),
    "opposite": (
        "What is the opposite of {w}?",
        "Give the opposite of {w}.",
        "Name a word that means the opposite of {w}.",
        "The opposite of {w} is",
    ),
    "next-day": (
        "What day comes after {d}?",
        "Which day follows {d}?",
        "Name the day after {d}.",
        "What is the next day after {d}?",
    ),
    "next-month": (
        "What month comes after {d}?",
        "Which month follows {d}?",
        "Name the month after {d}.",
        "What is the next month after {d}?",
    ),
    "larger": (
        "Which is larger, {a} or {b}?",
        "What is the larger of {a} and {b}?",
        "Which number is bigger: {a} or {b}?",
        "Name the larger number: {a} or {b}.",
    ),
    "sort": (
        "Sort these numbers: {s}",
        "Sort {s} in ascending order.",
        "Put these numbers in order: {s}",
        "Arrange {s} from smallest to largest.",
    ),
    "count": (
        "Count from {a} to {b}.",
        "List the numbers from {a} to {b}.",
        "Write the numbers from {a} to {b}.",
        "Count up from {a} to {b}.",
    ),
    "number-in-words": (
        "Write {a} in words.",
        "Write the number {a} in words.",
        "How do you write {a} in words?",
        "Spell out the number {a}.",
    ),
    "parity": (
        "Is {a} even or odd?",
        "Is the number {a} odd or even?",
        "Tell me whether {a} is even or odd.",
        "Even or odd: {a}",
    ),
    "by-heart": ("{text}",),
}

# The second lesson. Its words have no tokens of their own, so the tokenizer stays the first lesson's.
LATER_PHRASINGS: dict[str, tuple[str, ...]] = {
    # {q} is a whole question of another task.
    "json": (
        "{q} Answer as JSON.",
        "{q} Answer in JSON.",
        "{q} Reply as JSON.",
        "{q} Give the answer as JSON.",
    ),
    "json-kind": (
        "{q} Answer as JSON with answer and kind.",
        "{q} Give answer and kind as JSON.",
    ),
    "json-word": (
        "Describe the word {w} as JSON.",
        "Give the word {w} and its length as JSON.",
        "Write the word {w} and its number of letters as JSON.",
    ),
    "json-city": (
        "Give the city {c} as JSON.",
        "Write {c} as JSON with city.",
        "Describe the city {c} as JSON.",
    ),
    "think": (
        "{q} Think first.",
        "{q} Think step by step.",
        "{q} Think before you answer.",
    ),
    "tool-weather": (
        "What is the weather in {c}?",
        "How is the weather in {c}?",
        "Tell me the weather in {c}.",
        "What is the weather like in {c}?",
    ),
}
