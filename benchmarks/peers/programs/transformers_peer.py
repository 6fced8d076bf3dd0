"""transformers' `generate`: one static batch, padded on the left. It runs until the longest completion is done."""

from __future__ import annotations

import torch
import transformers

from benchmarks.peers.programs.peer_run import PeerRun, peer_parser
from benchmarks.peers.tasks.task import Task

PAD = 0


def main() -> None:
    """Load the model, and measure greedy runs without an end of text."""
    parser = peer_parser(__doc__)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype)
    model = transformers.Qwen3ForCausalLM.from_pretrained(options.model, dtype=dtype).eval()
    model.generation_config = transformers.GenerationConfig(do_sample=False, pad_token_id=PAD, eos_token_id=None)

    def generate(task: Task) -> list[list[int]]:
        width, steps = max(map(len, task.prompts)), max(task.lengths)
        ids = torch.full((task.requests, width), PAD)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(task.prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        with torch.inference_mode():
            output = model.generate(ids, attention_mask=mask, max_new_tokens=steps)
        return [row[width : width + length].tolist() for row, length in zip(output, task.lengths, strict=True)]

    PeerRun.of_options(options).measure(generate, f"transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
