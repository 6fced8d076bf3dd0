"""Make the completion of a line for the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError

from msgspec import structs

from engine.request import ConstraintFailed, EngineDead, RequestInvalid, RequestOutput, RequestTooLong, Ticket
from engine.requests.answer_logprobs import before
from jobs.records.completion import Choice, Completion, ErrorCode, Latency, ToolCall, Usage
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason
from model.text.tool_calls import ToolCallParser
from worker.shards.in_flight import Line
from worker.shards.likelihoods.echo import with_prompts
from worker.shards.likelihoods.packed_logprobs import packed
from worker.shards.likelihoods.scoring import labelled_completion, scored_completion
from worker.shards.pooled_result import NotFinite, embeddings_of, ranking_of

log = logging.getLogger(__name__)


def completion_of(line: Line, parser: ToolCallParser | None = None, quantize: str = "none") -> Completion | None:
    """Return the result of a line whose tickets are fulfilled, or None if it was aborted. Raises `EngineDead`.

    Args:
        line: The line.
        parser: Finds tool calls; None if the model cannot call tools.
        quantize: Quantisation of this worker's weights.
    """
    failures = [error for ticket in line.tickets if (error := _failure(ticket)) is not None]
    error = next((failure for failure in failures if not isinstance(failure, CancelledError)), None)
    if error is None:
        if failures:
            return None
        outputs = [ticket.future.result() for ticket in line.tickets]
        try:
            completed = _joined(line, outputs, parser)
        except NotFinite as fault:
            return failed_line(line.prompt, ErrorCode.INTERNAL_ERROR, f"The line has no result: {fault}.")
        return structs.replace(completed, quantize=quantize)
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


def _joined(line: Line, outputs: Sequence[RequestOutput], parser: ToolCallParser | None) -> Completion:
    """Join the outputs of a line's requests to the kind of result that the line asks for. Raises `NotFinite`."""
    prompt = line.prompt
    if prompt.pools:
        return _pooled(prompt, outputs)
    if prompt.score:
        return structs.replace(scored_completion(prompt, line.tickets), latency=_latency(outputs))
    if prompt.labels is not None:
        return structs.replace(labelled_completion(prompt, prompt.labels, outputs), latency=_latency(outputs))
    if prompt.echo is not None:
        generated = [each.future.result() for each in line.tickets if each.request.scoring is None]
        return with_prompts(_completed(line, generated, parser), prompt, line.tickets)
    return _completed(line, outputs, parser)


def _completed(line: Line, computed: Sequence[RequestOutput], parser: ToolCallParser | None) -> Completion:
    """Join the outputs of a line's requests. Equal completions are computed once, so an output may give several."""
    prompt = line.prompt
    repeats = prompt.num_choices // len(computed)
    outputs = [output for output in computed for _ in range(repeats)]
    made = [_choice(prompt, output, parser) for output in computed]
    reasoning_tokens = sum(output.num_reasoning_tokens for output in outputs)
    is_constrained = any(ticket.request.grammar is not None for ticket in line.tickets)
    usage = Usage(
        prompt_tokens=sum(output.num_prompt_tokens for output in outputs[:: prompt.n]),
        completion_tokens=sum(len(output.token_ids) for output in outputs),
        reasoning_tokens=reasoning_tokens or None,
    )
    completion = Completion(
        index=prompt.index,
        id=prompt.id,
        text="",
        usage=usage,
        endpoint=prompt.endpoint,
        finished_at=_wall_clock(outputs),
        latency=_latency(computed),
        malformed_tool_calls=repeats * sum(num_malformed for _, num_malformed in made),
        cut_structured_outputs=sum(
            is_constrained and output.finish_reason is FinishReason.LENGTH for output in outputs
        ),
    )
    return completion.with_choices([choice for choice, _ in made for _ in range(repeats)])


def _pooled(prompt: Prompt, outputs: Sequence[RequestOutput]) -> Completion:
    """Return the embeddings of a line's prompts, or the ranking of its documents."""
    return Completion(
        index=prompt.index,
        id=prompt.id,
        finish_reason=FinishReason.STOP,
        usage=Usage(sum(output.num_prompt_tokens for output in outputs), 0),
        endpoint=prompt.endpoint,
        finished_at=_wall_clock(outputs),
        latency=_latency(outputs),
        embeddings=embeddings_of(outputs) if prompt.embed is not None else (),
        as_base64=prompt.embed is not None and prompt.embed.as_base64,
        ranking=ranking_of(prompt, outputs) if prompt.rerank is not None else (),
    )


def _wall_clock(outputs: Sequence[RequestOutput]) -> float:
    """Return the time at which the last output was finished, in seconds since the epoch."""
    return time.time() - (time.monotonic() - max(output.finished_at for output in outputs))


def _choice(prompt: Prompt, output: RequestOutput, parser: ToolCallParser | None) -> tuple[Choice, int]:
    """Return a completion, and the number of its malformed tool calls."""
    choice = Choice(
        text=output.text,
        finish_reason=output.finish_reason,
        token_ids=output.token_ids if prompt.return_token_ids else None,
        reasoning=output.reasoning if prompt.include_reasoning else None,
        ended_in_thought=output.num_reasoning_tokens == len(output.token_ids),
        stop_reason=output.stop_reason,
        logprobs=None if output.logprobs is None else packed(output.logprobs),
    )
    if parser is None or prompt.tools is None or prompt.tool_choice == "none":
        return choice, 0
    answer_ids = output.token_ids[output.num_reasoning_tokens :]
    answer = parser.parse(answer_ids, output.text, prompt.tools, prompt.settings.skip_special_tokens is not False)
    calls = tuple(ToolCall(call.name, call.arguments) for call in answer.calls)
    ended = output.finish_reason is FinishReason.STOP
    if calls and output.logprobs is not None:
        choice = structs.replace(choice, logprobs=packed(before(output.logprobs, parser.start_id)))
    return structs.replace(
        choice,
        text=answer.content,
        tool_calls=calls,
        finish_reason=FinishReason.TOOL_CALLS if calls and ended else output.finish_reason,
    ), answer.num_malformed


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
