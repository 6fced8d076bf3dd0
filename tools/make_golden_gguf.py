"""Makes the files of tests/model/checkpoint/gguf/golden: what llama.cpp writes, and what it makes of it.

    python -m tools.make_golden_gguf

`blocks.safetensors` holds random blocks of each type, and their values as the package `gguf` decodes them. The others
are a tiny model with random weights that llama.cpp has quantised, and the logits that it computes with it. The
program needs `pip install gguf llama-cpp-python`, which the tests do not.
"""

from __future__ import annotations

import ctypes
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from model.checkpoint.gguf.block_types import BLOCK_TYPES
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.gguf_checkpoint import gguf_of
from testing.models.tiny_checkpoint import write_tiny_checkpoint

GOLDEN = Path(__file__).parents[1] / "tests" / "model" / "checkpoint" / "gguf" / "golden"
BLOCKS = 8  # of each type
QUANTISED = "tiny-Q4_K_M.gguf"
# Sizes that blocks of 256 values divide. llama.cpp takes Q4_K for some of the weights and Q6_K for the others.
SHAPE: dict[str, Any] = {
    "vocab_size": 257,
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 64,
}
PROMPT = list(b"A tiny model with random weights")


def main() -> None:
    """Write all files."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(1)
    blocks = {name: _random_blocks(name, random) for name in BLOCK_TYPES}
    values = {f"{name}.value": _decoded(name, stored) for name, stored in blocks.items()}
    stored = {f"{name}.blocks": stored for name, stored in blocks.items()}
    save_file(stored | values, GOLDEN / "blocks.safetensors", metadata={"value_by": f"gguf {version('gguf')}"})
    with tempfile.TemporaryDirectory() as folder:
        plain = write_byte_level_tokenizer(write_tiny_checkpoint(Path(folder) / "tiny", **SHAPE))
        whole = gguf_of(plain).write(Path(folder) / "tiny.gguf")
        _quantise(whole, GOLDEN / QUANTISED, "Q4_K_M")
    made_by = {"logits_by": f"llama-cpp-python {version('llama-cpp-python')}"}
    logits = {"logits": _logits(GOLDEN / QUANTISED), "prompt": torch.tensor(PROMPT)}
    save_file(logits, GOLDEN / "logits.safetensors", metadata=made_by)


def _random_blocks(name: str, random: torch.Generator) -> torch.Tensor:
    """Return random blocks whose scales are finite."""
    count = BLOCKS if BLOCK_TYPES[name].values > 1 else 64
    size = BLOCK_TYPES[name].bytes
    while True:
        blocks = torch.randint(0, 256, (count, size), generator=random, dtype=torch.int64).to(torch.uint8)
        if bool(_decoded(name, blocks).isfinite().all()):
            return blocks


def _decoded(name: str, blocks: torch.Tensor) -> torch.Tensor:
    import gguf

    values = gguf.quants.dequantize(blocks.numpy().reshape(1, -1), gguf.GGMLQuantizationType[name])
    return torch.from_numpy(values.reshape(len(blocks), -1)).float().clone()


def _quantise(source: Path, target: Path, kind: str) -> None:
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    setattr(settings, "ftype", getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}"))  # noqa: B010 - vulture asks for it
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(settings)):
        raise SystemExit(f"llama.cpp cannot quantise {source} to {kind}.")


def _logits(file: Path) -> torch.Tensor:
    """Return the logits after each token of the prompt: float32 [tokens, vocabulary]."""
    import llama_cpp

    model = llama_cpp.Llama(str(file), n_ctx=256, logits_all=True, n_threads=1, verbose=False)
    model.eval(PROMPT)
    return torch.tensor(model.scores[: len(PROMPT)])


if __name__ == "__main__":
    main()
