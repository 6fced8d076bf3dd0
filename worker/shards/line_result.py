"""Make the completion of a line for the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError

from engine.request import ConstraintFailed, EngineDead, RequestInvalid, RequestOutput, RequestTooLong, Ticket
from jobs.records.completion import Choice, Completion, ErrorCode, Latency, Usage
from jobs.records.prompt import Prompt
from worker.shards.in_flight import Line

log = logging.getLogger(__name__)


def completion_of(line: Line) -> Completion | None:
    """Return the result of a line whose tickets are fulfilled, or None if it was aborted. Raises `EngineDead`."""
    failures = [error for ticket in line.tickets if (error := _failure(ticket)) is not None]
    error = next((failure for failure in failures if not isinstance(failure, CancelledError)), None)
    if error is None:
        return None if failures else _completed(line.prompt, [ticket.future.result() for ticket in line.tickets])
    if isinstance(error, EngineDead):
        raise error
    if isinstance(error, RequestTooLong):
        return failed_line(line.prompt, ErrorCode.PROMPT_TOO_LONG, str(error))
    if isinstance(error, RequestInvalid | ConstraintFailed):
        return failed_line(line.prompt, ErrorCode.INVALID_LINE, str(error))
    log.error("line %r could not be completed", line.prompt.id, exc_info=error)
    return failed_line(line.prompt, ErrorCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")


def _failure(ticket: Ticket) -> BaseException | None:
    return CancelledError() if ticket.future.cancelled() else ticket.future.exception(timeout=0)


def failed_line(prompt: Prompt, code: ErrorCode, message: str) -> Completion:
    """Return an error result. Text in `message` that is not Unicode, quoted from a line, is escaped for the store."""
    printable = message.encode(errors="backslashreplace").decode()
    return Completion.failed_prompt(prompt, code, printable)


def _completed(prompt: Prompt, computed: Sequence[RequestOutput]) -> Completion:
    """Join the outputs of a line's requests. Equal completions are computed once, so an output may give several."""
    outputs = [output for output in computed for _ in range(prompt.num_choices // len(computed))]
    first, *more = [_choice(prompt, output) for output in outputs]
    reasoning_tokens = sum(output.num_reasoning_tokens for output in outputs)
    usage = Usage(
        prompt_tokens=sum(output.num_prompt_tokens for output in outputs[:: prompt.n]),
        completion_tokens=sum(len(output.token_ids) for output in outputs),
        reasoning_tokens=reasoning_tokens or None,
    )
    return Completion(
        index=prompt.index,
        id=prompt.id,
        text=first.text,
        finish_reason=first.finish_reason,
        usage=usage,
        token_ids=first.token_ids,
        endpoint=prompt.endpoint,
        finished_at=time.time() - (time.monotonic() - max(output.finished_at for output in outputs)),
        latency=_latency(computed),
        reasoning=first.reasoning,
        ended_in_thought=first.ended_in_thought,
        stop_reason=first.stop_reason,
        more_choices=tuple(more),
    )


def _choice(prompt: Prompt, output: RequestOutput) -> Choice:
    return Choice(
        text=output.text,
        finish_reason=output.finish_reason,
        token_ids=output.token_ids if prompt.return_token_ids else None,
        reasoning=output.reasoning if prompt.include_reasoning else None,
        ended_in_thought=output.num_reasoning_tokens == len(output.token_ids),
        stop_reason=output.stop_reason,
    )


def _latency(outputs: Sequence[RequestOutput]) -> Latency:
    """Compute a line's latencies, from its first to its last token. TPOT is a mean over its completions.

    TPOT of a completion is the mean time per token after the first, as in vLLM's benchmark_serving.
    """
    arrived_at = outputs[0].arrived_at
    tpots = [
        (output.finished_at - output.first_token_at) / (len(output.token_ids) - 1)
        for output in outputs
        if len(output.token_ids) > 1
    ]
    return Latency(
        ttft_ms=1e3 * (min(output.first_token_at for output in outputs) - arrived_at),
        tpot_ms=1e3 * sum(tpots) / len(tpots) if tpots else None,
        e2el_ms=1e3 * (max(output.finished_at for output in outputs) - arrived_at),
    )
