"""Check what surrounds the prompt on each line of a batch file: id, method, URL and model.

Every fault gets OpenAI's code. What is inside the bodies is checked afterwards (`jobs/files/formats`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from jobs.batches.batch import BatchError
from jobs.files.formats.model_checks import same_model
from jobs.files.formats.seen_ids import SeenIds

MAX_SHOWN = 20  # faults that a batch lists; one more entry counts the others


class Faults:
    """The faults of a file. The first `MAX_SHOWN` are kept."""

    def __init__(self) -> None:
        self._shown: list[BatchError] = []
        self._count = 0

    def add(self, error: BatchError) -> None:
        """Add a fault."""
        self._count += 1
        if len(self._shown) < MAX_SHOWN:
            self._shown.append(error)

    def all(self) -> tuple[BatchError, ...]:
        """Return the faults that a batch lists. Empty if there is none."""
        more = self._count - len(self._shown)
        if not more:
            return tuple(self._shown)
        return (*self._shown, BatchError("too_many_errors", f"{more:,} more lines have faults."))


class _Body(msgspec.Struct):
    model: Any = None


class _Line(msgspec.Struct):
    custom_id: Any = None
    method: Any = None
    url: Any = None
    body: _Body | None = None


class Envelopes:
    """Checks the lines of one file, in order.

    Args:
        endpoint: The batch's endpoint, which every line must name.
        max_lines: Max lines of a batch.
    """

    def __init__(self, endpoint: str, max_lines: int) -> None:
        self._endpoint = endpoint
        self._max_lines = max_lines
        self._decoder = msgspec.json.Decoder(_Line)
        self._ids = SeenIds()
        self.model: str | None = None  # the model of the first line that names one

    def check(self, rows: Iterable[tuple[int, Any]]) -> tuple[BatchError, ...]:
        """Return the faults of all lines. `rows` are pairs of number and bytes."""
        faults, count = Faults(), 0
        for number, row in rows:
            count += 1
            if count > self._max_lines:
                message = f"The file has more than {self._max_lines:,} lines. Split it into several batches."
                return (BatchError("too_many_tasks", message),)
            fault = self._fault(number, row)
            if fault is not None:
                faults.add(fault)
        if count == 0:
            return (BatchError("empty_file", "The file has no lines."),)
        return faults.all()

    def _fault(self, number: int, row: Any) -> BatchError | None:  # noqa: ANN401 - bytes, or a row that was refused
        try:
            line = self._decoder.decode(row)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError) as error:
            if isinstance(error, msgspec.ValidationError):
                return BatchError("invalid_line", f"The line has another form: {error}.", number)
            return BatchError("invalid_json_line", "The line is no valid JSON object.", number)
        for key in ("custom_id", "method", "url", "body"):
            if getattr(line, key) is None:
                return BatchError("missing_required_parameter", f"Missing required parameter: '{key}'.", number, key)
        return self._fault_of_id(number, line) or self._fault_of_target(number, line)

    def _fault_of_id(self, number: int, line: _Line) -> BatchError | None:
        if type(line.custom_id) is not str or not line.custom_id:
            return BatchError("invalid_line", "'custom_id' must be a string that is not empty.", number, "custom_id")
        earlier = self._ids.add(line.custom_id, number)
        if earlier is None:
            return None
        message = f"The custom_id {line.custom_id[:100]!r} is also that of line {earlier:,}."
        return BatchError("duplicate_custom_id", message, number, "custom_id")

    def _fault_of_target(self, number: int, line: _Line) -> BatchError | None:
        if line.method != "POST":
            return BatchError("invalid_line", "'method' must be \"POST\".", number, "method")
        if line.url != self._endpoint:
            message = f"The URL of the line is {str(line.url)[:100]!r}; that of the batch is {self._endpoint!r}."
            return BatchError("url_mismatch", message, number, "url")
        model = line.body.model if line.body is not None else None
        if model is None:
            message = "Missing required parameter: 'body.model'."
            return BatchError("missing_required_parameter", message, number, "body.model")
        if type(model) is not str:
            return BatchError("invalid_line", "'body.model' must be a string.", number, "body.model")
        if self.model is None:
            self.model = model
        if model != self.model and not same_model(model, self.model):
            message = f"The line names the model {model[:100]!r}; the first line names {self.model[:100]!r}."
            return BatchError("model_mismatch", message, number, "body.model")
        return None
