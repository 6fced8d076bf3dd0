"""vLLM's build for CPUs: continuous batching in bfloat16, with its default compilation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks.peers.programs.peer_run import PeerRun, peer_parser
from benchmarks.peers.tasks.records import SCHEMA
from benchmarks.peers.tasks.task import Task

if TYPE_CHECKING:
    import vllm

CACHE_GIB = "4"


def main() -> None:
    """Bind one thread to each core, load and measure."""
    options = peer_parser(__doc__).parse_args()
    run = PeerRun.of_options(options)
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, cores))
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = CACHE_GIB
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"

    import vllm  # reads these variables when it is imported

    makes_records = any(task.is_records for task in run.tasks)  # only these need a tokenizer
    llm = vllm.LLM(
        str(options.model),
        dtype="bfloat16",
        max_model_len=-(-max(max(task.positions) for task in run.tasks) // 128) * 128,
        max_num_seqs=max(task.requests for task in run.tasks),
        enable_prefix_caching=run.shares,  # with a prefix cache, a prompt of an earlier round would cost no prefill
        skip_tokenizer_init=not makes_records,
        structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
    )

    def generate(task: Task) -> list[list[int]]:
        sampling = [
            record(length)
            if task.is_records
            else vllm.SamplingParams(temperature=0, max_tokens=length, ignore_eos=True, detokenize=False)
            for length in task.lengths
        ]
        prompts = [{"prompt_token_ids": prompt} for prompt in task.prompts]
        results = llm.generate(prompts, sampling, use_tqdm=False)
        return [list(result.outputs[0].token_ids) for result in results]

    def decode(ids: list[int]) -> str:
        return str(llm.get_tokenizer().decode(ids, skip_special_tokens=True))

    run.measure(generate, f"vllm {vllm.__version__}", decode=decode)


def record(length: int) -> vllm.SamplingParams:
    """Return the settings for a record of the schema."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    outputs = StructuredOutputsParams(json=SCHEMA)
    return SamplingParams(temperature=0, max_tokens=length, detokenize=False, structured_outputs=outputs)


if __name__ == "__main__":
    main()
