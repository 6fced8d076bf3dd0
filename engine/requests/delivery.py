"""Delivery of results on a separate thread, so that detokenising does not delay the next step."""

from __future__ import annotations

from collections.abc import Sequence as Items
from concurrent.futures import ThreadPoolExecutor

from engine.request import RequestOutput, Ticket
from engine.requests.answer_logprobs import answer_logprobs
from engine.requests.ports import Detokenizer
from engine.scheduling.sequence import Sequence
from engine.stopping.thought import Thought


class Delivery:
    """A thread that decodes finished sequences and fulfils their tickets.

    A caller may cancel a ticket's future. The result is then dropped.
    """

    def __init__(self, detokenizer: Detokenizer) -> None:
        self._detokenizer = detokenizer
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine-delivery")

    def deliver(self, sequence: Sequence, finished_at: float) -> None:
        """Queue a finished sequence, whose ticket the thread will fulfil.

        `finished_at` is in `time.monotonic()` seconds.
        """
        self._thread.submit(self._deliver, sequence, finished_at)

    def close(self) -> None:
        """Wait until all results are delivered, then end the thread."""
        self._thread.shutdown()

    def _deliver(self, sequence: Sequence, finished_at: float) -> None:
        future = sequence.ticket.future
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._output(sequence, finished_at))
        except Exception as error:  # noqa: BLE001 - the waiting caller must get every error
            future.set_exception(error)

    def _output(self, sequence: Sequence, finished_at: float) -> RequestOutput:
        if sequence.finish_reason is None or sequence.admitted_at is None or sequence.first_token_at is None:
            raise RuntimeError("a sequence is delivered before it has finished")
        thought = sequence.stop_checker.thought
        return RequestOutput(
            token_ids=tuple(sequence.generated),
            text=self._answer(sequence, thought),
            finish_reason=sequence.finish_reason,
            num_prompt_tokens=sequence.num_prompt_tokens,
            arrived_at=sequence.ticket.arrived_at,
            admitted_at=sequence.admitted_at,
            first_token_at=sequence.first_token_at,
            finished_at=finished_at,
            reasoning=self._reasoning(sequence, thought),
            num_reasoning_tokens=0 if thought is None else thought.num_tokens,
            stop_reason=sequence.stop_checker.stop_reason,
            token_gaps=tuple(sequence.token_gaps),
            logprobs=answer_logprobs(sequence, self._detokenizer),
            scores=tuple(sequence.scores),
            pooled=sequence.pooled,
        )

    def _reasoning(self, sequence: Sequence, thought: Thought | None) -> str | None:
        """Return the text of the thought without its tags and the newlines beside them. None if there is no thought."""
        if thought is None or not thought.began:
            return None
        token_ids = thought.inside(_shown_ids(sequence))
        text = self._decoded(token_ids, sequence.params.skip_special_tokens).lstrip("\n")
        return text.rstrip("\n") if thought.ended else text

    def _answer(self, sequence: Sequence, thought: Thought | None) -> str:
        """Return the text after the thought, without the stop string or stop token that ended the sequence."""
        if sequence.stop_checker.text is not None:
            return sequence.stop_checker.text
        skips = sequence.params.skip_special_tokens
        if thought is None or not thought.began:
            return self._decoded(_shown_ids(sequence), skips)
        return self._decoded(_shown_ids(sequence)[thought.num_tokens :], skips).lstrip("\n")

    def _decoded(self, token_ids: Items[int], skip_special_tokens: bool) -> str:
        text = self._detokenizer.decode(token_ids, skip_special_tokens)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            return text
        # The last character may be incomplete: `decode` writes a replacement character for it, a stream omits it.
        stream = self._detokenizer.stream(skip_special_tokens)
        return "".join(stream.push(token_id) for token_id in token_ids)


def _shown_ids(sequence: Sequence) -> Items[int]:
    """Return the generated tokens, without an eos or stop token at the end unless the text includes stops."""
    drops = sequence.stop_checker.ended_by_token and not sequence.params.include_stop_str_in_output
    return sequence.generated[:-1] if drops else sequence.generated


def fail(ticket: Ticket, error: BaseException) -> None:
    """Make `ticket.future.result()` raise `error`. Has no effect on a future that was cancelled."""
    if ticket.future.set_running_or_notify_cancel():
        ticket.future.set_exception(error)


def cancel(ticket: Ticket) -> None:
    """Make `ticket.future.result()` raise `CancelledError`."""
    ticket.future.cancel()
    ticket.future.set_running_or_notify_cancel()
