"""The parent's side of the helper process for templates (`jobs.templates.template_server`).

A frame is a length of four bytes, big-endian, followed by that number of bytes. The parent sends frames that contain
frames: a batch of requests. The first request holds the templates to compile. Each later one holds a conversation or a
list of rows. The helper answers each request at once with one frame, so the parent knows which request failed.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from jobs.templates.plain_template import PlainTemplate

CPU_SECONDS = 2.0  # default limit for one request, and for compilation
MEMORY_BYTES = 64 << 20  # fixed part of the memory limit for one conversation
MEMORY_PER_REQUEST_BYTE = 32  # parsed JSON takes up to 30 bytes per byte, and a template copies its text a few times
OUT_OF_MEMORY = 3  # exit status after the memory limit was reached

RENDERED, FAILED = b"r", b"f"  # first byte of an answer; the text or the error follows

PATIENCE_SECONDS = 60.0  # real time for one answer; CPU_SECONDS end first unless the machine hangs
READ_BYTES = 1 << 20


def head(content: bytes) -> bytes:
    """Return the header of a frame: the length of its content."""
    return len(content).to_bytes(4, "big")


class TemplateDamaged(Exception):
    """A template does not compile."""


class RenderFailed(Exception):
    """A template failed on one conversation."""


class TemplateProcess:
    """A helper process with compiled templates. Thread-safe. A helper that has ended is replaced.

    The helper also ends when this object is deleted, or when this process ends, because its pipe is then closed.
    """

    def __init__(self, sources: Mapping[str, str], strict: bool = False, cpu_seconds: float = CPU_SECONDS) -> None:
        """Start the helper and compile the templates.

        Args:
            sources: Template texts by name.
            strict: True if a variable that does not exist is an error.
            cpu_seconds: CPU time limit for one request, and for compilation.

        Raises:
            TemplateDamaged: A template does not compile, or exceeds the limits.
        """
        self.plain: dict[str, PlainTemplate] = {}  # the templates among `sources` that need no helper
        self._setup = json.dumps({"sources": dict(sources), "strict": strict, "cpu_seconds": cpu_seconds}).encode()
        self._cpu_seconds = cpu_seconds
        self._lock = threading.Lock()
        self._open: _Rendering | None = None  # the helper works on it, and `_helper` is None
        self._helper: _Helper | None = self._start()

    def render(self, requests: Sequence[bytes]) -> list[str | RenderFailed]:
        """Return the text of each request, or the error.

        A request is the JSON of `[template's name, variables]`. Where the variables are a list of objects, the text is
        the JSON of a list: for each object `[true, text]` or `[false, error]`.
        """
        return self.begin(requests)()

    def begin(self, requests: Sequence[bytes]) -> Callable[[], list[str | RenderFailed]]:
        """Send requests to the helper. Returns a function that waits for the answers, which are those of `render`.

        The helper has one group of requests at a time. If it still works on another one, this method waits for that
        one's answers first.
        """
        with self._lock:
            if self._open is not None:
                self._finish(self._open)
            helper, self._helper = self._helper or self._start(), None
            try:
                helper.send(requests)
            except _HelperEnded:  # another one gets the requests later
                helper.stop()
                self._open = _Rendering(requests, None)
            else:
                self._open = _Rendering(requests, helper)
            return partial(self._answers, self._open)

    def _answers(self, rendering: _Rendering) -> list[str | RenderFailed]:
        with self._lock:
            if rendering is self._open:
                self._finish(rendering)
            return rendering.answers

    def _finish(self, rendering: _Rendering) -> None:
        """Wait for the answers to the requests that the helper has."""
        requests, answers, helper = rendering.requests, rendering.answers, rendering.helper
        self._open = None
        again = False  # True if a helper has already ended during the next request
        try:
            while len(answers) < len(requests):
                try:
                    if helper is None:
                        helper = self._start()
                        helper.send(list(islice(requests, len(answers), None)))
                    for answer in helper.answers(len(requests) - len(answers)):
                        text = answer[1:].decode()
                        answers.append(text if answer[:1] == RENDERED else RenderFailed(text))
                        again = False
                except _HelperEnded as end:
                    if helper is not None:
                        helper.stop()
                        helper = None
                    # Try once more: an earlier conversation may have filled the memory, or a user killed the helper.
                    if end.final or again:
                        answers.append(RenderFailed(end.reason))
                    again = not (end.final or again)
            self._helper = helper
        finally:
            if helper is not None and self._helper is None:
                helper.stop()

    def _start(self) -> _Helper:
        helper = _Helper(self._cpu_seconds)
        try:
            helper.send([self._setup])
            (answer,) = helper.answers(1)
        except _HelperEnded as end:
            helper.stop()
            raise TemplateDamaged(f"while it was compiled {end.reason}") from end
        said = json.loads(answer)
        if "plain" not in said:
            helper.stop()
            raise TemplateDamaged(f"{said['message'].rstrip('.')} (line {said['line']})")
        self.plain = {name: PlainTemplate(parts) for name, parts in said["plain"].items() if parts is not None}
        return helper


@dataclass
class _Rendering:
    """A group of requests that the helper has, and the answers that have come."""

    requests: Sequence[bytes]
    helper: _Helper | None  # None if it has ended
    answers: list[str | RenderFailed] = field(default_factory=list)


class _HelperEnded(Exception):
    """The helper process has ended. `final` is True if its current request is the cause and must not be retried."""

    def __init__(self, reason: str, final: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class _Helper:
    """One helper process and its pipes. Only one thread may use it at a time."""

    def __init__(self, cpu_seconds: float) -> None:
        self._cpu_seconds = cpu_seconds
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "jobs.templates.template_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            process_group=0,  # keeps Ctrl-C in a terminal from the helper
        )
        self._selector = selectors.DefaultSelector()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._unread = bytearray()
        self.stop = weakref.finalize(self, _stop, self._process, self._selector)

    def send(self, requests: Sequence[bytes]) -> None:
        """Send requests in one frame. The helper must have answered all earlier ones.

        Raises:
            _HelperEnded: The helper has ended.
        """
        parts = [part for request in requests for part in (head(request), request)]
        length = sum(map(len, parts))
        rest = memoryview(b"".join([length.to_bytes(4, "big"), *parts]))
        try:
            while rest:
                rest = rest[self._requests.write(rest) :]
        except BrokenPipeError:
            raise self._ended() from None

    def answers(self, count: int) -> Iterator[bytes]:
        """Yield the answers to the next `count` requests, in order.

        Raises:
            _HelperEnded: The helper ended, or gave no answer, while it worked on the next unanswered request.
        """
        try:
            for _ in range(count):
                yield self._take(int.from_bytes(self._take(4), "big"))
        except EOFError:
            raise self._ended() from None
        except TimeoutError:
            raise _HelperEnded(f"it gave no answer for {PATIENCE_SECONDS:.0f} s", final=True) from None

    def _take(self, length: int) -> bytes:
        while len(self._unread) < length:
            if not self._selector.select(PATIENCE_SECONDS):
                raise TimeoutError
            read = self._answers.read(READ_BYTES)
            if not read:
                raise EOFError
            self._unread += read
        taken = bytes(self._unread[:length])
        del self._unread[:length]
        return taken

    def _ended(self) -> _HelperEnded:
        status = self._process.wait()
        if status == -signal.SIGPROF:
            return _HelperEnded(f"it ran for more than {self._cpu_seconds:g} s", final=True)
        if status == OUT_OF_MEMORY:
            return _HelperEnded(f"it took more than {MEMORY_BYTES >> 20} MiB of memory", final=False)
        return _HelperEnded(f"the process that runs it ended with the status {status}", final=False)


def _stop(process: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
    """Kill the helper, which has no state to save, and leave no zombie process."""
    selector.close()
    process.kill()
    with contextlib.suppress(BrokenPipeError):
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
    process.wait()
