"""The options that decide how a worker runs its model."""

from __future__ import annotations

import click

from cli.options.options import Command, model_option, served_model_name_option

_OPTIONS = [
    model_option,
    served_model_name_option,
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        help="Where the model runs; auto takes the best there is.  [env: QWEN_BATCH_DEVICE; default: auto]",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16"]),
        help="Of weights and cache; auto suits the device.  [env: QWEN_BATCH_DTYPE; default: auto]",
    ),
    click.option(
        "--quantize",
        type=click.Choice(["none", "int8"]),
        help="int8 is faster: weights and their inputs rounded to 8 bits.  [env: QWEN_BATCH_QUANTIZE; default: none]",
    ),
    click.option(
        "--compile/--no-compile",
        default=None,
        help="Compile the model's layers, or run them eagerly.  [env: QWEN_BATCH_COMPILE; default: compile]",
    ),
    click.option(
        "--kv-cache-memory",
        metavar="SIZE",
        help="What the KV cache may take, as in 4GiB.  [env: QWEN_BATCH_KV_CACHE_MEMORY; default: from what is free]",
    ),
    click.option(
        "--max-num-seqs", type=click.IntRange(1), metavar="N", help="Sequences in a batch; new jobs may add a quarter."
    ),
    click.option(
        "--max-batched-tokens", type=click.IntRange(1), metavar="N", help="Prompt tokens of one prefill step."
    ),
    click.option(
        "--max-model-len",
        type=click.IntRange(2),
        metavar="N",
        help="Tokens of prompt and completion together.  [default: the model's own limit]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        metavar="N",
        help="CPU threads.  [env: QWEN_BATCH_THREADS; default: the machine's cores]",
    ),
]


def worker_options(command: Command) -> Command:
    """`--model`, `--device` and the others, each under the name of its `Settings` field."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
