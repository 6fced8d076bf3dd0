"""Lines of a prompt file, one after the other, to prompts: the format found out, ids kept unique."""

from __future__ import annotations

from jobs.files.formats.card_check import check_against_card
from jobs.files.formats.json_line import Json, decode_object, shown
from jobs.files.formats.line_invalid import LineInvalid
from jobs.files.formats.native import NativeFormat
from jobs.files.formats.openai import OpenAIFormat
from jobs.files.formats.seen_ids import SeenIds
from jobs.records.job import Format
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Endpoint, Prompt

MAX_NUMBER_DIGITS = 12  # a longer number is a name, not a place in a file


BEFORE = 0  # the number of a line that is not in the file


class LinesBefore:
    """The ids of a job's lines, for lines that are added to it."""

    def __init__(self) -> None:
        self.ids = SeenIds()
        self.highest_number = 0  # lines without a name are named from here on

    def add(self, id: str) -> None:
        """Note a line's id."""
        self.ids.add(id, BEFORE)
        if id.isascii() and id.isdecimal() and len(id) < MAX_NUMBER_DIGITS:
            self.highest_number = max(self.highest_number, int(id))


class LineDecoder:
    """Decodes the lines of one file, in order. The first line that is a JSON object decides the file's format.

    Args:
        model: The job's model, which OpenAI lines must name; None if any will do.
        card: Facts of that model to check lines against, if known.
        after: The lines that these ones follow; None: they are the first.
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
        """The file's format; native as long as no line has been an object."""
        return "openai" if self._chosen is self._openai else "native"

    def decode(self, line: bytes, index: int, number: int) -> Prompt:
        """One line as a prompt; what is wrong with it stands in `invalid`. Never raises.

        Args:
            line: Its bytes; white space round the JSON is ignored.
            index: Its position among the non-blank lines, from 0.
            number: Its number in the file, from 1. A good native line without an id is named by it, counted on from
                the lines before. A bad line without an id of its own has it in `line`.
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
            if own_id is None:  # only now: a bad line's number must not keep another line from having it as its id
                self._take(prompt.id, number)
        except LineInvalid as error:
            return _bad(index, own_id, number, format.endpoint_of(said), str(error))
        return prompt

    def refused(self, index: int, number: int, reason: str) -> Prompt:
        """The prompt that stands for a line of which nothing could be read."""
        endpoint: Endpoint = "chat" if self.format == "openai" else "native"
        return _bad(index, None, number, endpoint, reason)

    def _format_of(self, said: dict[str, Json]) -> NativeFormat | OpenAIFormat:
        found = self._openai if "custom_id" in said or "body" in said else self._native
        self._chosen = self._chosen or found
        return found

    def _own_id(self, format: NativeFormat | OpenAIFormat, said: dict[str, Json], number: int) -> str | None:
        """The id that the line gives itself, which no other line has; None if it names none."""
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
        """Give an id to a line. Raises `LineInvalid` if another line has it."""
        earlier = self._seen.add(id, number)
        if earlier == BEFORE:
            raise LineInvalid(f"the id {shown(id)} is already in the job; ids must be unique in a job")
        if earlier is not None:
            raise LineInvalid(f"the id {shown(id)} is also the id of line {earlier:,}; ids must be unique in a file")


def _bad(index: int, own_id: str | None, number: int, endpoint: Endpoint, reason: str) -> Prompt:
    """The prompt that stands for a bad line: named by its own id, or else by its number, which is no id."""
    if own_id is None:
        return Prompt(index=index, id="", endpoint=endpoint, invalid=reason, line=number)
    return Prompt(index=index, id=own_id, endpoint=endpoint, invalid=reason)


_TITLES = {"native": "native", "openai": "OpenAI Batch"}
