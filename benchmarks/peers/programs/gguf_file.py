"""Conversion of a Qwen3 checkpoint to one GGUF file without a tokenizer. It needs only the package `gguf`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

MATRIX_TYPES = {
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}


def write_gguf(model: Path, target: Path, weights: str) -> None:
    """Write the file. Matrices get the type `weights`, norms float32, as in llama.cpp's own converter.

    Args:
        model: Folder of a dense Qwen3 in bfloat16.
        target: The file to write. It appears only when it is complete.
        weights: A key of `MATRIX_TYPES`.
    """
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    part = target.with_name(target.name + ".part")
    writer = gguf.GGUFWriter(part, "qwen3")
    _add_fields(writer, config, weights)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config["num_hidden_layers"])
    for name, bits in _bfloat16_tensors(model):
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        target_name = names.get_name(name, try_suffixes=(".weight",))
        # Like qwen-batch, and like llama.cpp's own quantiser, this keeps more than 4 bits of the output layer.
        is_output = name in ("model.embed_tokens.weight", "lm_head.weight")
        matrix_type = MATRIX_TYPES["q8_0" if is_output and weights == "q4_0" else weights][0]
        if bits.ndim == 1:
            writer.add_tensor(target_name, _as_float32(bits))
        elif weights == "bf16":
            writer.add_tensor(target_name, bits.view(np.uint8), raw_dtype=matrix_type)
        else:
            packed = gguf.quants.quantize(_as_float32(bits), matrix_type)
            writer.add_tensor(target_name, packed, raw_dtype=matrix_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(target)


def _add_fields(writer: gguf.GGUFWriter, config: dict[str, Any], weights: str) -> None:
    writer.add_file_type(MATRIX_TYPES[weights][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config.get("rope_theta") or config["rope_parameters"]["rope_theta"])
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config["vocab_size"])


def _bfloat16_tensors(model: Path) -> Iterator[tuple[str, npt.NDArray[np.uint16]]]:
    """Yield name and bits of each tensor. A file has 8 bytes of header length, the header, and the data."""
    for path in sorted(model.glob("*.safetensors")):
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(header_bytes))
        data = np.memmap(path, np.uint8, "r", offset=8 + header_bytes)
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if entry["dtype"] != "BF16":
                raise SystemExit(f"{path}: {name} is {entry['dtype']}; the comparison needs a bfloat16 checkpoint.")
            begin, end = entry["data_offsets"]
            yield name, data[begin:end].view(np.uint16).reshape(entry["shape"])


def _as_float32(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Convert bfloat16 bits to float32: they are its upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
