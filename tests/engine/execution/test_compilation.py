from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.config import EngineConfig
from engine.execution.compilation import compile_obstacle, keep_compile_cache
from engine.load import load_engine
from engine.request import Request
from jobs.records.sampling import SamplingParams
from model.kernels.tiers import Processor

CONFIG = EngineConfig(device="cpu", threads=1, kv_cache_memory_bytes=1 << 22)


def loads_and_runs_eager(folder: Path) -> list[str]:
    lines: list[str] = []
    steps: list[str] = []
    loaded = load_engine(folder, CONFIG, log=lines.append, progress=steps.append)
    assert steps[-2:] == ["reading the weights", "compiling the model"]
    try:
        assert (loaded.compiled, loaded.compile_seconds) == (False, 0)
        assert loaded.engine.submit(Request((1, 2), SamplingParams(max_tokens=3))).future.result(120).token_ids
    finally:
        loaded.engine.shutdown()
    return lines


def test_without_a_compiler_it_runs_eager_and_a_line_says_why(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with torch._inductor.config.patch({"cpp.cxx": (None, "g++")}):  # not what the variable CXX names
        lines = loads_and_runs_eager(tiny_folder)
    assert lines[-1].startswith("Running without torch.compile: there is no C++ compiler (")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's compiler uses parts of PyTorch that warn
def test_a_compiler_that_fails_does_not_stop_the_engine(tiny_folder: Path) -> None:
    torch.compiler.reset()
    with torch._inductor.config.patch({"cpp.cxx": (None, "false")}):
        lines = loads_and_runs_eager(tiny_folder)
    lines = [line for line in lines if "C++ kernels" not in line]  # nothing builds these without a compiler, either
    assert len(lines) == 1
    assert lines[0].startswith("Running without torch.compile, which failed: InvalidCxxCompiler: No working C++")


def test_mps_runs_eager() -> None:
    assert compile_obstacle("mps") == "torch.compile is not reliable on MPS"


def test_the_compile_cache_lies_in_the_users_cache_folder() -> None:
    environ = {"XDG_CACHE_HOME": "/var/cache/me"}
    folder = keep_compile_cache(environ)
    assert folder.parent == Path("/var/cache/me/qwen-batch/inductor")
    assert environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder)
    assert keep_compile_cache({}).parent == Path.home() / ".cache/qwen-batch/inductor"


def test_each_kind_of_processor_has_a_compile_cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = keep_compile_cache({})
    assert keep_compile_cache({}) == here
    other = replace(Processor.inspect(), description="model name: another one")
    monkeypatch.setattr(Processor, "inspect", lambda: other)
    assert keep_compile_cache({}) != here


def test_a_compile_cache_that_is_named_stays() -> None:
    assert keep_compile_cache({"TORCHINDUCTOR_CACHE_DIR": "/mine", "XDG_CACHE_HOME": "/x"}) == Path("/mine")
