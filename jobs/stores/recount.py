"""Count a job's lines and tokens again, from the completions that are left in the store."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.records.completion import Completion
from jobs.stats.stats_counters import JobCounters


@dataclass
class Recount:
    """New counters for an ended job that has lost some of its results.

    Args:
        may_be_reused: True if the job took completions from earlier jobs. Such completions have no latency.
    """

    may_be_reused: bool
    completed: int = 0
    failed: int = 0
    input_tokens: int = 0  # sum over completed lines
    output_tokens: int = 0
    reused: int = 0
    counters: JobCounters = field(default_factory=JobCounters)  # finish reasons, latencies and tokens of reused lines

    def add(self, completion: Completion) -> None:
        """Count one line."""
        if completion.error is not None:
            self.failed += 1
            self.counters.add_error(completion.error)
            return
        usage = completion.usage
        prompt_tokens, completion_tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        self.completed += 1
        self.input_tokens += prompt_tokens
        self.output_tokens += completion_tokens
        self.counters.add_finish(completion)
        if self.may_be_reused and completion.latency is None:
            self.reused += 1
            self.counters.reused_input_tokens += prompt_tokens
            self.counters.reused_output_tokens += completion_tokens
