"""llama.cpp through llama-cpp-python, compiled for this machine, with a loop that batches continuously.

On a CPU, two settings matter: how many requests run at a time, and whether they share one cache or each have a part.
Both are options. The defaults are the best of the settings that were tried.
"""

from __future__ import annotations

from pathlib import Path

import llama_cpp

from benchmarks.peers.programs.gguf_file import MATRIX_TYPES, write_gguf
from benchmarks.peers.programs.llamacpp_batching import ContinuousBatch
from benchmarks.peers.programs.llamacpp_context import ContextSettings, LlamaContext
from benchmarks.peers.programs.peer_run import PeerRun, peer_parser
from benchmarks.peers.tasks.task import Task


class LlamaPeer:
    """A loaded model, and a context sized for the task at hand."""

    def __init__(self, file: Path, settings: ContextSettings) -> None:
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(str(file).encode(), parameters)
        if not self._model:
            raise SystemExit(f"llama.cpp cannot load {file}.")
        self._settings = settings
        self._context: LlamaContext | None = None

    def prepare(self, task: Task) -> None:
        """Create a context of the right size. This is not timed."""
        if self._context is not None:
            self._context.close()
        self._context = LlamaContext(self._model, self._settings, task.positions)

    def generate(self, task: Task) -> list[list[int]]:
        """Answer the task in the prepared context."""
        assert self._context is not None
        return ContinuousBatch(self._context, task).run()


def main() -> None:
    """Convert the model if no converted file exists, load it and measure."""
    parser = peer_parser(__doc__)
    parser.add_argument("--weights", choices=MATRIX_TYPES, default="bf16")
    parser.add_argument("--parallel", type=int, default=24, help="requests at a time at the most")
    parser.add_argument("--unified-cache", action="store_true", help="one cache for all (default: a part for each)")
    parser.add_argument("--batch-tokens", type=int, default=512, help="tokens of a step at the most")
    options = parser.parse_args()
    file = options.converted / f"{options.weights}.gguf"
    if not file.exists():
        write_gguf(options.model, file, options.weights)
    settings = ContextSettings(options.threads, options.parallel, not options.unified_cache, options.batch_tokens)
    peer = LlamaPeer(file, settings)
    PeerRun.of_options(options).measure(peer.generate, f"llama-cpp-python {llama_cpp.__version__}", peer.prepare)


if __name__ == "__main__":
    main()
