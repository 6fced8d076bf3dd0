"""OpenVINO GenAI's continuous batching on the CPU.

optimum-intel exports the model once. It has no format for bfloat16 weights: "bf16" stores float16 and computes in
bfloat16. "int8" compresses only the weights, and also computes in bfloat16. With `--precision f32` the plugin rounds
the inputs of products to 8 bits by default; a single stream is then faster. The cache has 8 bits by default, and
bfloat16 with `--kv-cache bf16`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import openvino_genai

from benchmarks.peers.programs.peer_run import PeerRun, peer_parser
from benchmarks.peers.tasks.records import pattern
from benchmarks.peers.tasks.task import Task

FORMATS = {"bf16": "fp16", "int8": "int8"}  # our name -> optimum-intel's name


def main() -> None:
    """Export the model if no exported one exists, build the pipeline and measure."""
    parser = peer_parser(__doc__)
    parser.add_argument("--weights", choices=FORMATS, default="bf16")
    fastest = "bf16" if _has_bfloat16() else "f32"
    parser.add_argument("--precision", choices=("bf16", "f32"), default=fastest, help="of products")
    parser.add_argument("--kv-cache", choices=("default", "bf16"), default="default")
    parser.add_argument("--cache-gib", type=int, default=4, help="size of the cache")
    parser.add_argument("--batch-tokens", type=int, default=1024, help="tokens of a step at the most")
    options = parser.parse_args()
    run = PeerRun.of_options(options)
    folder = exported(options.model, options.converted / f"openvino-{options.weights}", options.weights)

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = options.cache_gib
    scheduler.max_num_seqs = max(task.requests for task in run.tasks)
    scheduler.max_num_batched_tokens = options.batch_tokens
    scheduler.enable_prefix_caching = run.shares  # else an earlier prompt would cost no prefill
    properties = {"INFERENCE_PRECISION_HINT": options.precision, "INFERENCE_NUM_THREADS": options.threads}
    if options.kv_cache != "default":
        properties["KV_CACHE_PRECISION"] = options.kv_cache
    pipeline = openvino_genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU", properties)

    def generate(task: Task) -> list[list[int]]:
        prompts = [openvino.Tensor(np.array([prompt], dtype=np.int64)) for prompt in task.prompts]
        settings = [
            record(pipeline.get_config(), length) if task.is_records else greedy(length) for length in task.lengths
        ]
        results = pipeline.generate(prompts, settings)
        return [list(result.m_generation_ids[0]) for result in results]

    version = f"openvino-genai {openvino_genai.__version__.split('-')[0]}"
    run.measure(generate, version, decode=pipeline.get_tokenizer().decode)


def _has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 values itself. Without, OpenVINO refuses a bfloat16 cache."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.exists() else []
    return "ONEDNN_MAX_CPU_ISA" not in os.environ and not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def greedy(length: int) -> openvino_genai.GenerationConfig:
    """Return the settings for exactly `length` greedy tokens.

    `min_new_tokens` would forbid the ids that end a text, and so change the other tokens.
    """
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = length
    config.ignore_eos = True
    config.do_sample = False
    return config


def record(config: openvino_genai.GenerationConfig, length: int) -> openvino_genai.GenerationConfig:
    """Return the settings for a record of the schema. The model's own settings have the ids that end a text.

    With `json_schema`, none of four completions of the random model ended before its limit.
    """
    config.max_new_tokens = length
    config.do_sample = False
    config.structured_output_config = openvino_genai.StructuredOutputConfig(regex=pattern())
    return config


def exported(model: Path, folder: Path, weights: str) -> Path:
    """Return the folder of the exported model. Exports the model on first use."""
    if not folder.exists():
        part = folder.with_name(folder.name + ".part")
        tool = Path(sys.executable).with_name("optimum-cli")
        command = [str(tool), "export", "openvino", "--model", str(model), "--task", "text-generation-with-past"]
        subprocess.run([*command, "--weight-format", FORMATS[weights], str(part)], check=True)
        part.rename(folder)
    return folder


if __name__ == "__main__":
    main()
