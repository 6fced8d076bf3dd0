"""Read lines that compare documents with a query: native lines with `documents`, and bodies of `/v1/rerank`."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.files.formats import values
from jobs.files.formats.features.embeddings import optional_text
from jobs.files.formats.fields import Faults
from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.records.prompt import MAX_CHOICES, Prompt, RerankWish
from jobs.records.sampling import Range

RERANK_KEYS = ("query", "documents", "instruction", "top_n", "return_documents")


def wants_ranking(line: Mapping[str, Json]) -> bool:
    """Return whether a native line ranks documents. Beside a prompt or messages, the keys are columns."""
    has_both = line.get("query") is not None and line.get("documents") is not None
    return has_both and line.get("prompt") is None and line.get("messages") is None


def read_ranking(fields: Mapping[str, Json], place: tuple[int, str], faults: Faults) -> Prompt | None:
    """Return the prompt of a line that ranks documents. Adds to `faults`, and returns None if the line has any.

    Args:
        fields: Key and value of each field of the line or of its body.
        place: The line's index and id.
        faults: The faults that are known already.
    """
    documents = faults.catch(_documents, fields.get("documents"), default=[])
    wish = RerankWish(
        query=faults.catch(_query, fields.get("query"), default=""),
        instruction=faults.catch(optional_text, fields, "instruction", default=None),
        top_n=faults.catch(_top_n, fields.get("top_n"), default=None),
        return_documents=faults.catch(values.flag, fields, "return_documents", default=False),
    )
    if faults.found:
        return None
    first, *more = documents
    return Prompt(place[0], place[1], first, endpoint="rerank", more_prompts=tuple(more), rerank=wish)


def _query(value: Json) -> str:
    if type(value) is not str or not value:
        raise LineInvalid(f"`query` is {shown(value)}; it must be a text that is not empty")
    return value


def _documents(value: Json) -> list[str]:
    """Return the texts of documents. A document is a text, or an object with a `text`, as Cohere writes it."""
    if type(value) is not list or not value:
        raise LineInvalid(f"`documents` is {shown(value)}; it must be a list of at least one text")
    if len(value) > MAX_CHOICES:
        raise LineInvalid(f"`documents` has {len(value):,} texts; at most {MAX_CHOICES:,} per line are allowed")
    texts: list[Json] = [each.get("text") if type(each) is dict else each for each in value]
    wrong = next((place for place, text in enumerate(texts) if type(text) is not str), None)
    if wrong is not None:
        raise LineInvalid(f"`documents[{wrong}]` is {shown(value[wrong])}; it must be a text")
    return texts


def _top_n(value: Json) -> int | None:
    return None if value is None else values.whole("top_n", value, Range(1, MAX_CHOICES))
