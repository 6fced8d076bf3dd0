"""The options that decide how a worker runs its model, and a check that this installation can run one."""

from __future__ import annotations

from importlib.util import find_spec

import click

from cli.options.options import Command, WholeNumber, model_option, served_model_name_option, with_options
from jobs.errors import InvalidInput

_WORKER_PACKAGES = ("torch", "safetensors", "tokenizers", "huggingface_hub", "numpy", "psutil")

_OPTIONS = [
    model_option,
    served_model_name_option,
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        help="Device for the model. auto takes CUDA, else the CPU.  [env: QWEN_BATCH_DEVICE; default: auto]",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16"]),
        help="Type of weights and cache. auto takes the checkpoint's type, or float32 where bfloat16 is slow.  "
        "[env: QWEN_BATCH_DTYPE; default: auto]",
    ),
    click.option(
        "--quantize",
        type=click.Choice(["none", "int8", "int4"]),
        help="Rounds the weights of matrix products to 8 or 4 bits, and their inputs to 8 bits. This takes less memory "
        "and is faster. CPU only.  "
        "[env: QWEN_BATCH_QUANTIZE; default: none]",
    ),
    click.option(
        "--compile/--no-compile",
        default=None,
        help="Compile the model's layers, or run them uncompiled.  [env: QWEN_BATCH_COMPILE; default: compile]",
    ),
    click.option(
        "--prefix-caching/--no-prefix-caching",
        default=None,
        help="Compute the common beginning of prompts once, or with every prompt. The text is the same.  "
        "[env: QWEN_BATCH_PREFIX_CACHING; default: prefix-caching]",
    ),
    click.option(
        "--speculate/--no-speculate",
        default=None,
        help="On a CPU, guess next tokens from the text so far where that saves time. The text is the same.  "
        "[env: QWEN_BATCH_SPECULATE; default: speculate]",
    ),
    click.option(
        "--kv-cache-memory",
        metavar="SIZE",
        help="Memory for the KV cache, such as 4GiB.  [env: QWEN_BATCH_KV_CACHE_MEMORY; default: from free memory]",
    ),
    click.option(
        "--max-num-seqs",
        type=WholeNumber(1),
        metavar="N",
        help="Maximum sequences per batch. Lines of new jobs may exceed it by a quarter.  "
        "[env: QWEN_BATCH_MAX_NUM_SEQS; default: depends on the device]",
    ),
    click.option(
        "--max-batched-tokens",
        type=WholeNumber(1),
        metavar="N",
        help="Maximum prompt tokens per prefill step.  "
        "[env: QWEN_BATCH_MAX_BATCHED_TOKENS; default: depends on the device]",
    ),
    click.option(
        "--max-model-len",
        type=WholeNumber(2),
        metavar="N",
        help="Maximum tokens of prompt and completion together.  "
        "[env: QWEN_BATCH_MAX_MODEL_LEN; default: the model's own limit]",
    ),
    click.option(
        "--threads",
        type=WholeNumber(1),
        metavar="N",
        help="Number of CPU threads.  [env: QWEN_BATCH_THREADS; default: the physical cores that the process may use]",
    ),
]


def worker_options(command: Command) -> Command:
    """Add the options of a worker. Each has the name of its `Settings` field."""
    return with_options(command, _OPTIONS)


def require_worker_packages() -> None:
    """Raise `InvalidInput` unless this installation can run a model. The check imports none of the packages."""
    missing = [name for name in _WORKER_PACKAGES if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"This installation cannot run a model. It lacks these packages: {', '.join(missing)}.",
            "Install them with `pip install 'qwen-batch[worker]'`.",
        )
