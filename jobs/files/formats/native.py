"""Read native input lines: `{"id": …, "prompt" or "messages": …, settings, columns}`, see docs/results-format.md.

The body of an OpenAI line alone is a native line, too: it has the same fields.
"""

from __future__ import annotations

from jobs.files.formats.features.embeddings import EMBED_KEYS, read_embedding, wants_embeddings
from jobs.files.formats.features.logprobs import LOGPROB_KEYS
from jobs.files.formats.features.reranking import RERANK_KEYS, read_ranking, wants_ranking
from jobs.files.formats.features.score import asks_for_scores, with_score
from jobs.files.formats.features.thinking import TEMPLATE_KEYS
from jobs.files.formats.features.tools import TOOL_KEYS, with_tools
from jobs.files.formats.fields import (
    TRUNCATION_KEYS,
    Faults,
    Notes,
    make_prompt,
    read_prompt,
    read_settings,
    with_extra_body,
)
from jobs.files.formats.json_line import MAX_SHOWN_CHARS, Json, shown
from jobs.files.formats.known_fields import FIELDS, SETTING_KEYS, WithoutEffect, misspelled_key
from jobs.files.formats.messages import messages_in_text, read_messages
from jobs.records.model_card import ToolFormat
from jobs.records.prompt import Endpoint, Prompt

_OWN = frozenset(
    {
        "id",
        "prompt",
        "messages",
        "model",
        "n",
        "return_token_ids",
        "include_reasoning",
        "extra_body",
        *TRUNCATION_KEYS,
        *LOGPROB_KEYS,
        *TOOL_KEYS,
        *TEMPLATE_KEYS,
    }
)
_EMBED_OWN = frozenset({"id", "model", "extra_body", "embed", *EMBED_KEYS})
_RERANK_OWN = frozenset({"id", "model", "extra_body", *RERANK_KEYS})
_FEW_KEYS = frozenset({"id", "prompt", "model"})  # most lines of large files have no others
_OWN_AND_SCORE = _OWN | {"score"}
_NO_COLUMNS = _OWN | {key for key, known in FIELDS.items() if type(known) is not WithoutEffect}
_PROMPT_WORDS = ("prompt", "question", "instruction", "text", "query", "input", "task")  # likeliest names first
KEYS = (
    *("id", "prompt", "messages", *SETTING_KEYS, "n", "return_token_ids", "include_reasoning", *TRUNCATION_KEYS),
    *("chat_template_kwargs", "enable_thinking", *LOGPROB_KEYS),
)


class NativeFormat:
    """Reads native lines.

    Args:
        notes: Gets what deserves a notice.
        kept: Names of columns that are kept even if they resemble a key of ours.
        calls: How the model writes calls of tools; None if unknown.
    """

    name = "native"
    id_key = "id"
    model_key = "model"
    no_columns = _NO_COLUMNS

    def __init__(self, notes: Notes, kept: tuple[str, ...] = (), calls: ToolFormat | None = None) -> None:
        self._notes = notes
        self._calls = calls
        self._kept = kept
        self.keeps_prompt = "prompt" in kept  # beside `messages`, where `prompt` is a column

    def model_of(self, line: dict[str, Json]) -> Json:
        """Return the model that the line names, or None."""
        return line.get("model")

    def no_columns_of(self, prompt: Prompt) -> frozenset[str]:
        """Return the keys of a line that are no columns."""
        if prompt.pools:
            return _EMBED_OWN if prompt.rerank is None else _RERANK_OWN
        return _NO_COLUMNS | {"score"} if prompt.score else _NO_COLUMNS

    def with_n(self, line: dict[str, Json], n: int) -> dict[str, Json]:
        """Return the line with a number of completions, unless the line says it itself."""
        return line if line.get("n") is not None else line | {"n": n}

    def endpoint_of(self, line: dict[str, Json]) -> Endpoint:
        """Return the line's endpoint. Never raises, because the error of a bad line needs an endpoint, too."""
        if wants_embeddings(line):
            return "embeddings"
        return "rerank" if wants_ranking(line) else "native"

    def prompt_of(self, line: dict[str, Json], place: tuple[int, str], faults: Faults) -> Prompt | None:
        """Convert the line to a prompt. Adds to `faults`, and returns None if the line has any."""
        prompt = line.get("prompt")
        if _FEW_KEYS.issuperset(line) and type(prompt) is str and prompt:
            return None if faults.found else Prompt(place[0], place[1], prompt)
        if "extra_body" in line:
            line = faults.catch(with_extra_body, line, default=line)
        if wants_embeddings(line):
            self._check_columns(line, _EMBED_OWN, ("embed", *EMBED_KEYS), faults)
            return read_embedding(line, "embed", place, faults)
        if wants_ranking(line):
            self._check_columns(line, _RERANK_OWN, RERANK_KEYS, faults)
            return read_ranking(line, place, faults)
        said: dict[str, Json] = {}
        unknown: list[str] = []
        scored = asks_for_scores(line)
        own = _OWN_AND_SCORE if scored else _OWN
        if not own.issuperset(line):
            said, unknown = read_settings(line, own, faults, self._notes)
        resembling = self._resembling(unknown) if unknown else []
        prompt, messages, name = line.get("prompt"), messages_in_text(line.get("messages")), "messages"
        if messages is None and type(prompt) is list and prompt and type(prompt[0]) is dict:
            prompt, messages, name = None, prompt, "prompt"
        elif messages is not None and self.keeps_prompt:
            prompt = None
        if (prompt is None) == (messages is None) and not resembling:
            faults.found.append(_not_one_prompt(line, unknown))
        faults.found += resembling
        if messages is not None:
            messages = faults.catch(read_messages, messages, self._notes.ignored, name, default=None)
        made = make_prompt(line, place, "native", said, faults, prompt, messages)
        made = with_tools(made, line, faults, self._notes, self._calls)
        return made if made is None or not scored else faults.catch(with_score, made, line, default=None)

    def templated(self, line: dict[str, Json], place: tuple[int, str], n: int, faults: Faults) -> Prompt | None:
        """Convert a line that a template made. Adds to `faults`, and returns None if the line has any.

        Args:
            line: Object with `prompt`, `embed` or good `messages`, and perhaps `id`.
            place: The line's index and id.
            n: Number of completions.
            faults: The faults that are known already.
        """
        messages = line.get("messages")
        if "embed" in line:
            return read_embedding(line, "embed", place, faults)
        if messages is None:
            text, _ = faults.catch(read_prompt, line["prompt"], default=(None, None))
            return None if faults.found else Prompt(place[0], place[1], text, n=n)
        return None if faults.found else Prompt(place[0], place[1], None, None, tuple(messages), n=n)

    def _check_columns(
        self, line: dict[str, Json], own: frozenset[str], known: tuple[str, ...], faults: Faults
    ) -> None:
        """Add a fault for each column of a line without a completion that resembles one of its `known` keys."""
        for key in line:
            if key in own or key in self._kept:
                continue
            if (nearest := misspelled_key(key, known)) is not None:
                faults.found.append(
                    f"{shown(key)} is not a known key; did you mean `{nearest}`? If it is a column, add --keep {key}"
                )

    def _resembling(self, unknown: list[str]) -> list[str]:
        """Return a fault for each unknown key that resembles a key of ours."""
        faults = []
        for key in unknown:
            nearest = None if key in self._kept else misspelled_key(key, KEYS)
            if nearest is not None:
                as_column = _template_of(key) if nearest == "prompt" else f"--keep {key}"
                faults.append(
                    f"{shown(key)} is not a known key; did you mean `{nearest}`? If it is a column, add {as_column}"
                )
        return faults


def _not_one_prompt(line: dict[str, Json], unknown: list[str]) -> str:
    if line.get("prompt") is not None:
        return (
            "the line has both `prompt` and `messages`; it must have exactly one of the two. "
            f"To run `messages`, add --keep prompt; to run `prompt`, add {_template_of('prompt')}"
        )
    fault = "the line has neither `prompt` nor `messages`; it must have exactly one of the two"
    texts = [key for key in unknown if type(line[key]) is str and _can_be_shown(key) and not key.lower().endswith("id")]
    if not texts:
        return f"{fault}. Can a prompt be made of its columns? Add --template" if unknown else fault
    column = min(texts, key=_rank)  # the first of the best; names alone decide, so that all rows get the same advice
    return f"{fault}. Is {shown(column)} the prompt? Try {_template_of(column)}"


def _rank(column: str) -> int:
    """Return how unlikely a column's name is for a prompt. 0 is the likeliest."""
    return next((rank for rank, word in enumerate(_PROMPT_WORDS) if word in column.lower()), len(_PROMPT_WORDS))


def _can_be_shown(column: str) -> bool:
    """Return whether a column's name can stand in a template on a command line."""
    return len(column) <= MAX_SHOWN_CHARS and column.isprintable() and not {*column} & {*"'\"\\"}


def _template_of(column: str) -> str:
    variable = column if column.isidentifier() else f'row["{column}"]'
    return f"--template '{{{{ {variable} }}}}'"
