"""Read what a line says about log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.files.formats import values
from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.records.prompt import MAX_LOGPROBS, Endpoint
from jobs.records.sampling import Range

LOGPROB_KEYS = ("logprobs", "top_logprobs")
_COUNT = Range(0, MAX_LOGPROBS)


def read_logprobs(fields: Mapping[str, Json], endpoint: Endpoint) -> int | None:
    """Return how many of the likeliest tokens the line wants at each place. None: it wants no log-probabilities.

    A conversation has `logprobs: true` and perhaps `top_logprobs`. A text to go on with has a number in `logprobs`.
    A native line may have either.

    Raises:
        LineInvalid: A value is wrong for the endpoint, or `top_logprobs` stands alone.
    """
    wanted, top = fields.get("logprobs"), fields.get("top_logprobs")
    count = None if top is None else values.whole("top_logprobs", top, _COUNT)
    if wanted is None or wanted is False:
        if count:
            needed = _WITH_TOP[endpoint]
            raise LineInvalid(f"`top_logprobs` is {count}, but the line asks for no log-probabilities; add {needed}")
        return None
    if endpoint in ("chat", "responses"):
        if wanted is not True:
            raise LineInvalid(
                f"`logprobs` is {shown(wanted)}; it must be true or false, and `top_logprobs` a number {_COUNT}"
            )
        return count or 0
    if wanted is True and endpoint == "native":
        return count or 0
    said = values.whole("logprobs", wanted, _COUNT)
    if count is not None and count != said:
        raise LineInvalid(f"`logprobs` is {said} but `top_logprobs` is {count}")
    return said


_WITH_TOP: dict[Endpoint, str] = {
    "native": "`logprobs: true`",
    "chat": "`logprobs: true`",
    "completions": "`logprobs` with a number",
    "responses": '"message.output_text.logprobs" to `include`',
    "score": "nothing, because scores are log-probabilities",
}
