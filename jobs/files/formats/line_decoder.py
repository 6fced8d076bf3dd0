"""Decode the lines of a prompt file: detect the format, and keep ids unique."""

from __future__ import annotations

from jobs.files.formats.json_line import Json, LineInvalid, decode_object, shown
from jobs.files.formats.model_checks import check_against_card
from jobs.files.formats.native import NativeFormat
from jobs.files.formats.openai import OpenAIFormat
from jobs.files.formats.seen_ids import SeenIds
from jobs.records.job import Format
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Endpoint, Prompt

MAX_NUMBER_DIGITS = 12  # an id with this many digits or more is not taken for a line number


BEFORE = 0  # line number for a line of the job that is not in the file


class LinesBefore:
    """Ids of a job's existing lines, needed when lines are added to the job."""

    def __init__(self) -> None:
        self.ids = SeenIds()
        self.highest_number = 0  # highest id that is a number; new lines without an id count on from it

    def add(self, id: str) -> None:
        """Add the id of an existing line."""
        self.ids.add(id, BEFORE)
        if id.isascii() and id.isdecimal() and len(id) < MAX_NUMBER_DIGITS:
            self.highest_number = max(self.highest_number, int(id))


class LineDecoder:
    """Decodes the lines of one file, in order. The first line that is a JSON object decides the file's format.

    Args:
        model: The job's model, which OpenAI lines must name. None to accept any model.
        card: Facts of the model, to check lines against. None if unknown.
        after: The job's existing lines. None for a new job.
    """

    def __init__(
        self, model: str | None = None, card: ModelCard | None = None, after: LinesBefore | None = None
    ) -> None:
        self._native = NativeFormat()
        self._openai = OpenAIFormat(model)
        self._chosen: NativeFormat | OpenAIFormat | None = None
        self._card = card
        self._seen = after.ids.copy() if after is not None else SeenIds()
        self._names_from = after.highest_number if after is not None else 0

    @property
    def format(self) -> Format:
        """The file's format; native until the first JSON object."""
        return "openai" if self._chosen is self._openai else "native"

    def decode(self, line: bytes, index: int, number: int) -> Prompt:
        """Decode one line. If the line is bad, the prompt's `invalid` gives the reason. Never raises.

        Args:
            line: Bytes of the line. White space around the JSON is ignored.
            index: Position of the line among the non-blank lines, from 0.
            number: Line number in the file, from 1. A good native line without an id gets `number` as its id, plus the
                highest number of `after`. A bad line without its own id gets `number` as its `line`.
        """
        try:
            said = decode_object(line)
        except LineInvalid as error:
            return self.refused(index, number, str(error))
        format = self._format_of(said)
        own_id: str | None = None
        try:
            own_id = self._own_id(format, said, number)
            prompt = self._read(format, said, index, own_id or str(number + self._names_from))
            if own_id is None:  # after decoding, so that a bad line's number stays free as an id for other lines
                self._take(prompt.id, number)
        except LineInvalid as error:
            return _bad(index, own_id, number, format.endpoint_of(said), str(error))
        return prompt

    def refused(self, index: int, number: int, reason: str) -> Prompt:
        """Return the prompt for a line that cannot be decoded at all."""
        endpoint: Endpoint = "chat" if self.format == "openai" else "native"
        return _bad(index, None, number, endpoint, reason)

    def _format_of(self, said: dict[str, Json]) -> NativeFormat | OpenAIFormat:
        found = self._openai if "custom_id" in said or "body" in said else self._native
        self._chosen = self._chosen or found
        return found

    def _own_id(self, format: NativeFormat | OpenAIFormat, said: dict[str, Json], number: int) -> str | None:
        """Return the line's own id, or None. Raises `LineInvalid` if another line has the id."""
        id = format.id_of(said)
        if id is not None:
            self._take(id, number)
        return id

    def _read(self, format: NativeFormat | OpenAIFormat, said: dict[str, Json], index: int, id: str) -> Prompt:
        if format is not self._chosen:
            raise LineInvalid(
                f"the line is in the {_TITLES[format.name]} format, but the file's first line is in the "
                f"{_TITLES[self.format]} format; a file must use one format"
            )
        prompt = format.prompt_of(said, index, id)
        if self._card is not None:
            check_against_card(prompt, self._card)
        return prompt

    def _take(self, id: str, number: int) -> None:
        """Register a line's id. Raises `LineInvalid` if another line has the id."""
        earlier = self._seen.add(id, number)
        if earlier == BEFORE:
            raise LineInvalid(f"the id {shown(id)} is already in the job; ids must be unique in a job")
        if earlier is not None:
            raise LineInvalid(f"the id {shown(id)} is also the id of line {earlier:,}; ids must be unique in a file")


def _bad(index: int, own_id: str | None, number: int, endpoint: Endpoint, reason: str) -> Prompt:
    """Return the prompt for a bad line. It has the line's own id, or else the line's number in `line`."""
    if own_id is None:
        return Prompt(index=index, id="", endpoint=endpoint, invalid=reason, line=number)
    return Prompt(index=index, id=own_id, endpoint=endpoint, invalid=reason)


_TITLES = {"native": "native", "openai": "OpenAI Batch"}
