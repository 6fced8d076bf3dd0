"""Say errors and notices in the words of Python: the client of the queue names options of the commands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from jobs.errors import QwenBatchError

_SWITCHES = frozenset({"any-model", "new", "reuse", "skip-invalid", "strict-model"})
_LAST_ASSISTANT = re.compile(r"--(drop|continue)-last-assistant")
_WITH_VALUE = re.compile(r"--(?:(template) ('[^']*')|(model) ([\w./-]*\w)|(keep) (\S*\w))")
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")


def in_words_of_python(said: str, known: Collection[str]) -> str:
    """Return a message in which arguments stand instead of options of the commands.

    Args:
        said: An error's message or its hint, or a notice.
        known: Names of arguments. Other options stay as they are.
    """

    def argument(found: re.Match[str]) -> str:
        name = found[1].replace("-", "_")
        if name not in known:
            return found[0]
        return f"{name}=True" if found[1] in _SWITCHES else f"`{name}`"

    said = said.replace("--no-thinking", "thinking=False")
    said = _LAST_ASSISTANT.sub(r'last_assistant="\1"', said)
    return _OPTION.sub(argument, _WITH_VALUE.sub(_with_value, said))


def unknown_argument(function: str, name: str, known: Sequence[str]) -> TypeError:
    """Return the error of a function without an argument of this name. It suggests the nearest one, or lists all."""
    near = difflib.get_close_matches(name, known, 1)
    advice = f"Did you mean {near[0]!r}?" if near else f"Its arguments are {', '.join(known)}."
    return TypeError(f"{function}() has no argument {name!r}. {advice}")


@contextmanager
def errors_in_words_of_python(known: Collection[str]) -> Iterator[Callable[[str], str]]:
    """Translate the errors that a block raises (`in_words_of_python`). The block gets the translation for notices."""
    try:
        yield lambda said: in_words_of_python(said, known)
    except QwenBatchError as error:
        error.message = in_words_of_python(error.message, known)
        error.hint = in_words_of_python(error.hint, known)
        error.args = (error.message,)
        raise


def _with_value(found: re.Match[str]) -> str:
    name, value = (part for part in found.groups() if part is not None)
    if name == "template":
        return f"template={value}"
    return f'keep=["{value}"]' if name == "keep" else f'model="{value}"'
