"""qwen-batch's engine, called directly in this process, without command line, queue and store."""

from __future__ import annotations

import sys
from dataclasses import replace

from benchmarks.peers.programs.peer_run import PeerRun, peer_parser
from benchmarks.peers.series.version import our_version
from benchmarks.peers.tasks.task import Task
from engine.load import load_engine
from engine.request import Request
from jobs.records.sampling import SamplingParams
from jobs.settings import Settings
from worker.engine_options import engine_config


def main() -> None:
    """Load the engine as a worker does, and measure."""
    parser = peer_parser(__doc__)
    parser.add_argument("--quantize", default="none")
    options = parser.parse_args()
    run = PeerRun.of_options(options)
    # Random weights make texts that repeat themselves, so guesses would be right too often.
    settings = Settings(quantize=options.quantize, prefix_caching=run.shares, speculate=False)
    config = replace(engine_config(settings), threads=options.threads)
    loaded = load_engine(options.model, config, log=lambda line: print(line, file=sys.stderr))

    def generate(task: Task) -> list[list[int]]:
        requests = [
            Request(tuple(prompt), SamplingParams(max_tokens=length, temperature=0, ignore_eos=True))
            for prompt, length in zip(task.prompts, task.lengths, strict=True)
        ]
        return [list(ticket.future.result().token_ids) for ticket in loaded.engine.submit_many(requests)]

    run.measure(generate, our_version())
    loaded.engine.shutdown()


if __name__ == "__main__":
    main()
