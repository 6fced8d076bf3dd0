"""Validate grammars with the library llguidance, which is imported when the first constraint comes."""

from __future__ import annotations

import importlib.util
import re
import threading
import time
from dataclasses import dataclass

import msgspec

from jobs.files.formats.json_line import LineInvalid

_MAX_ABANDONED = 4  # checks that go on in threads of their own, because nothing can stop them
_MAX_REASON_CHARS = 300
_UNIMPLEMENTED = "Unimplemented keys: "
_KEYWORD_MESSAGES = (_UNIMPLEMENTED, "oneOf", "Unknown format: ")
_IN_GRAMMAR = "failed to compile JSON schema: "  # begins a message about a schema inside a grammar
_COUNT = re.compile(r" \(\d+ times\)$")  # follows a message that several parts of a schema cause
_NO_TOKENIZER = "no tokenizer"  # begins the message that names of tokens are not checked here
_RESOURCE = re.compile(r"Resource '(.*)' is not present")
_POINTER = re.compile(r"Pointer '(.*)' does not exist")
_PLACE = re.compile(r"^(at )?\d+\(\d+\): ")  # line and column in a grammar that the author of the line did not write
_NOT_INSTALLED = (
    "schemas, regexes, choices and grammars need the package llguidance, which is not installed here: install it with "
    "`pip install llguidance`"
)


@dataclass(frozen=True)
class Findings:
    """Result of the check of a grammar."""

    fault: str | None = None  # reason why it cannot be used
    unenforced: tuple[str, ...] = ()  # keywords of a schema that are not enforced


class Validator:
    """Validates grammars. Not thread-safe.

    Args:
        max_seconds: Limit of processor time for one grammar. An ordinary schema takes less than a millisecond.
    """

    def __init__(self, max_seconds: float = 1.5) -> None:
        self._max_seconds = max_seconds
        self._abandoned: list[threading.Thread] = []

    def findings(self, grammar: str) -> Findings:
        """Validate a grammar within the limit of processor time. Some schemas would take minutes.

        Args:
            grammar: A grammar of `jobs.constraints.grammar`.

        Raises:
            LineInvalid: The package llguidance is not installed.
        """
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= _MAX_ABANDONED:
            return Findings("it was not checked, because several others take too long; give a simpler one")
        if importlib.util.find_spec("llguidance") is None:
            raise LineInvalid(_NOT_INSTALLED)
        found: list[Findings] = []
        thread = threading.Thread(target=lambda: found.append(_try_to_validate(grammar)), daemon=True)
        began = time.process_time()
        thread.start()
        while thread.is_alive() and time.process_time() - began < self._max_seconds:
            thread.join(0.02)
        if not found:
            self._abandoned.append(thread)
            return Findings(f"its check takes more than {self._max_seconds} s; give a simpler one")
        return found[0]

    def lark_of(self, gbnf: str) -> str:
        """Convert a grammar of llama.cpp to Lark's syntax. Raises `LineInvalid` if it cannot be read."""
        try:
            from llguidance.gbnf_to_lark import gbnf_to_lark
        except ImportError:
            raise LineInvalid(_NOT_INSTALLED) from None
        try:
            return str(gbnf_to_lark(gbnf))
        except Exception as error:  # noqa: BLE001 - the converter has no narrower class
            raise LineInvalid(f"the grammar cannot be used: {_one_line(str(error))}") from None


def _try_to_validate(grammar: str) -> Findings:
    try:
        return _validate(grammar)
    except Exception as error:  # noqa: BLE001 - llguidance has no narrower class, and its messages may change
        return Findings(f"its check failed: {_one_line(str(error))}")
    except BaseException:  # noqa: BLE001 - a panic of llguidance is no `Exception`
        return Findings("llguidance, which enforces it, cannot read a part of it")


def _validate(grammar: str) -> Findings:
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(verbose_errors=False)
    is_error, messages = LLMatcher.validate_grammar_with_warnings(grammar, limits=limits)
    if is_error and not messages[0].startswith(_KEYWORD_MESSAGES):
        return Findings(_plain(messages[0]))
    return Findings(None, tuple(sorted({keyword for message in messages for keyword in _keywords(message)})))


def _keywords(message: str) -> list[str]:
    """Return the keywords that a message of llguidance is about, each with back-ticks."""
    message = _COUNT.sub("", message)
    if message.startswith(_UNIMPLEMENTED):
        return [f"`{keyword}`" for keyword in msgspec.json.decode(message.removeprefix(_UNIMPLEMENTED))]
    if message.startswith("oneOf"):
        return ["`oneOf`"]
    if message.startswith("Unknown format: "):
        return [f"`format` {message.removeprefix('Unknown format: ')}"]
    return [] if message.startswith(_NO_TOKENIZER) else [_one_line(message)]


def _plain(message: str) -> str:
    """Return the reason of a message in the words of somebody who wrote a schema."""
    if resource := _RESOURCE.match(message):
        return f"it has a `$ref` to {resource[1]}, which is outside of the schema"
    if pointer := _POINTER.match(message):
        return f"it has a `$ref` to #{pointer[1]}, which does not exist"
    reason = _one_line(message).removeprefix(_IN_GRAMMAR)
    if reason.startswith(_KEYWORD_MESSAGES):
        keywords = ", ".join(_keywords(reason))
        return f"it has {keywords}, which cannot be enforced; leave it out, or set `strict` to false"
    return f"it is too large ({reason})" if "too big" in reason or "too large" in reason else reason


def _one_line(reason: str) -> str:
    """Return the reason of a library's message, which may quote the grammar on further lines."""
    reason = reason.partition("error: ")[2] or _PLACE.sub("", reason)
    reason = reason.strip().partition("\n")[0]
    return reason if len(reason) <= _MAX_REASON_CHARS else f"{reason[:_MAX_REASON_CHARS]}…"
