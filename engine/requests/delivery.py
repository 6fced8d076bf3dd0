"""Delivery of results on a separate thread, so that detokenising does not delay the next step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from engine.request import RequestOutput, Ticket
from engine.requests.ports import Detokenizer
from engine.scheduling.sequence import Sequence


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
        if sequence.finish_reason is None or sequence.first_token_at is None:
            raise RuntimeError("a sequence is delivered before it has finished")
        return RequestOutput(
            token_ids=tuple(sequence.generated),
            text=self._text(sequence),
            finish_reason=sequence.finish_reason,
            num_prompt_tokens=sequence.num_prompt_tokens,
            arrived_at=sequence.ticket.arrived_at,
            first_token_at=sequence.first_token_at,
            finished_at=finished_at,
        )

    def _text(self, sequence: Sequence) -> str:
        """Return the generated text without the stop string or stop token that ended the sequence."""
        checker = sequence.stop_checker
        if checker.text is not None:
            return checker.text
        token_ids = sequence.generated
        if checker.ended_by_token:
            token_ids = token_ids[:-1]
        text = self._detokenizer.decode(token_ids)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            return text
        # The last character may be incomplete: `decode` writes a replacement character for it, a stream omits it.
        stream = self._detokenizer.stream()
        return "".join(stream.push(token_id) for token_id in token_ids)


def fail(ticket: Ticket, error: BaseException) -> None:
    """Make `ticket.future.result()` raise `error`. Has no effect on a future that was cancelled."""
    if ticket.future.set_running_or_notify_cancel():
        ticket.future.set_exception(error)


def cancel(ticket: Ticket) -> None:
    """Make `ticket.future.result()` raise `CancelledError`."""
    ticket.future.cancel()
    ticket.future.set_running_or_notify_cancel()
