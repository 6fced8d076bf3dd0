"""Find lines of a job: 50 per page, within a time limit."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from jobs.records.completion import Completion
from jobs.records.job import Job, ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.client_facets import JobReader

LINES_PER_PAGE = 50
_BETWEEN_STRINGS = re.compile(r"[\[\]{},:.+\-0-9 ]+")  # what JSON has between its strings and its words
_WORDS = "true false null"
_ONE_LINE_SECONDS = 2.0  # max time to find a line that `extend` added, which may be in any of the last shards


@dataclass(frozen=True)
class LineWish:
    """Selection of the lines that a visitor wants to see."""

    first: int = 0  # index of the first line, from 0
    only_failed: bool = False
    search: str = ""  # text in the prompt, the completion, the error or the id
    max_lines: int = LINES_PER_PAGE


@dataclass(frozen=True)
class Line:
    """A line and its result, if it has one."""

    prompt: Prompt
    completion: Completion | None


@dataclass(frozen=True)
class LinePage:
    """Lines that fit, and how far the job was read."""

    lines: list[Line]
    reached: int  # index of the first line that was not looked at
    is_end: bool  # True: there is nothing after `reached`


def find_lines(reader: JobReader, job: Job, wish: LineWish, max_seconds: float) -> LinePage:
    """Return the first lines that fit. Stops after `max_seconds`, but looks at one line at least.

    Raises:
        JobNotFound: The job was deleted.
        RecordDamaged: The input of a shard is damaged or gone.
        StoreUnavailable: The store cannot be reached.
    """
    deadline = time.monotonic() + max_seconds
    found: list[Line] = []
    reached = wish.first
    needle = wish.search.casefold()
    text = needle if _is_in_json(needle) else ""
    num_regular_lines = job.spec.num_lines - job.spec.added_lines
    for shard in _shards(reader, job, wish):
        is_regular = shard.index < _num_regular(job)
        rows = reader.lines(shard, text if is_regular else "")
        if is_regular and not rows:
            reached = max(reached, min((shard.index + 1) * job.spec.shard_size, num_regular_lines))
        for prompt, completion in rows:
            if prompt.index < wish.first:
                continue
            if len(found) == wish.max_lines:
                return LinePage(found, prompt.index, is_end=False)
            reached = prompt.index + 1
            if _fits(prompt, completion, wish.only_failed, needle):
                found.append(Line(prompt, completion))
        if reached > wish.first and time.monotonic() > deadline:
            return LinePage(found, reached, is_end=reached >= job.spec.num_lines)
    return LinePage(found, max(reached, job.spec.num_lines), is_end=True)


def find_line(reader: JobReader, job: Job, index: int) -> Line | None:
    """Return one line of a job, or None if it has no such line. Raises as `find_lines`."""
    page = find_lines(reader, job, LineWish(index, max_lines=1), _ONE_LINE_SECONDS)
    return next((line for line in page.lines if line.prompt.index == index), None)


def _shards(reader: JobReader, job: Job, wish: LineWish) -> Iterator[ShardRef]:
    """Iterate over the shards that may have lines from `wish.first` on."""
    first = min(wish.first // job.spec.shard_size, _num_regular(job))
    if wish.only_failed:
        return (shard for shard in reader.failed_shards(job.id) if shard.index >= first)
    return (ShardRef(job.id, index) for index in range(first, job.spec.num_shards))


def _num_regular(job: Job) -> int:
    """Return the number of shards of one size. Lines that `extend` added are in shards of other sizes behind them."""
    return -(-(job.spec.num_lines - job.spec.added_lines) // job.spec.shard_size)


def _is_in_json(needle: str) -> bool:
    """Return whether the JSON of each line that has a casefolded needle has the needle, too.

    JSON writes quotes, backslashes and control characters in another way. A needle without a word of its own may be in
    a text that is made of several values, such as token ids.
    """
    if not needle.isprintable() or '"' in needle or "\\" in needle:
        return False
    return any(word not in _WORDS for word in _BETWEEN_STRINGS.sub(" ", needle).split())


def _fits(prompt: Prompt, completion: Completion | None, only_failed: bool, needle: str) -> bool:
    if only_failed and (completion is None or completion.error is None):
        return False
    return not needle or any(needle in text.casefold() for text in _texts(prompt, completion))


def _texts(prompt: Prompt, completion: Completion | None) -> Iterator[str]:
    yield prompt.id
    yield from (text for _, text in turns_of(prompt))
    if completion is None:
        return
    if completion.error is not None:
        yield completion.error.message
    for choice in completion.choices:
        yield choice.text
        yield choice.reasoning or ""


def turns_of(prompt: Prompt) -> Iterator[tuple[str, str]]:
    """Iterate over the messages of a prompt as role and text. A prompt without a conversation has the role `prompt`."""
    for part in prompt.parts():
        if part.messages is not None:
            yield from ((str(message.get("role", "")), _content_of(message)) for message in part.messages)
        elif part.text is not None:
            yield "prompt", part.text
        elif part.token_ids is not None:
            yield "prompt", " ".join(map(str, part.token_ids))
        else:
            yield "line", part.invalid or ""


def _content_of(message: dict[str, Any]) -> str:
    """Return the text of a message. Whatever is no text is shown as JSON."""
    content = message.get("content")
    rest = {name: value for name, value in message.items() if name not in ("role", "content") and value is not None}
    shown: list[str] = []
    if isinstance(content, str):
        shown.append(content)
    elif isinstance(content, list):
        shown += _parts(content)
    elif content is not None:
        shown.append(_json(content))
    return "\n".join([*shown, *([_json(rest)] if rest else [])])


def _parts(parts: Iterable[Any]) -> Iterator[str]:
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else None
        yield text if isinstance(text, str) else _json(part)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
