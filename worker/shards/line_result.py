"""Make the completion of a line for the store."""

from __future__ import annotations

import logging
import time
from concurrent.futures import CancelledError

from engine.request import EngineDead, RequestInvalid, RequestOutput, RequestTooLong
from jobs.records.completion import Completion, ErrorCode, Latency, Usage
from jobs.records.prompt import Prompt
from worker.shards.in_flight import Line

log = logging.getLogger(__name__)


def completion_of(line: Line) -> Completion | None:
    """Return the result of a line whose ticket is fulfilled, or None if it was aborted. Raises `EngineDead`."""
    try:
        return _completed(line.prompt, line.ticket.future.result(timeout=0))
    except CancelledError:
        return None
    except EngineDead:
        raise
    except RequestTooLong as error:
        return failed_line(line.prompt, ErrorCode.PROMPT_TOO_LONG, str(error))
    except RequestInvalid as error:
        return failed_line(line.prompt, ErrorCode.INVALID_LINE, str(error))
    except Exception as error:
        log.exception("line %r could not be completed", line.prompt.id)
        return failed_line(line.prompt, ErrorCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")


def failed_line(prompt: Prompt, code: ErrorCode, message: str) -> Completion:
    """Return an error result. Text in `message` that is not Unicode, quoted from a line, is escaped for the store."""
    printable = message.encode(errors="backslashreplace").decode()
    return Completion.failed_prompt(prompt, code, printable)


def _completed(prompt: Prompt, output: RequestOutput) -> Completion:
    num_tokens = len(output.token_ids)
    return Completion(
        index=prompt.index,
        id=prompt.id,
        text=output.text,
        finish_reason=output.finish_reason,
        usage=Usage(output.num_prompt_tokens, num_tokens, output.num_reasoning_tokens or None),
        token_ids=output.token_ids if prompt.return_token_ids else None,
        endpoint=prompt.endpoint,
        finished_at=time.time() - (time.monotonic() - output.finished_at),
        latency=_latency(output, num_tokens),
        reasoning=output.reasoning if prompt.include_reasoning else None,
    )


def _latency(output: RequestOutput, num_tokens: int) -> Latency:
    """Compute the latencies. TPOT is the mean time per token after the first, as in vLLM's benchmark_serving."""
    decoding = output.finished_at - output.first_token_at
    return Latency(
        ttft_ms=1e3 * (output.first_token_at - output.arrived_at),
        tpot_ms=1e3 * decoding / (num_tokens - 1) if num_tokens > 1 else None,
        e2el_ms=1e3 * (output.finished_at - output.arrived_at),
    )
