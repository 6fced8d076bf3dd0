"""What every test shares: the order of the files, and one way to need something that this machine may lack."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Whoever starts the tests in the background of a shell has them ignore Ctrl-C, and every process that they start too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Triton decides when it is imported, which PyTorch's compiler does too. No test runs on a GPU.
os.environ.setdefault("TRITON_INTERPRET", "1")

# PyTorch's compiler would start a process for each processor, and each of them imports PyTorch.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

# The threads of NumPy's products spin while they wait, on cores that other processes need.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# An example may take long on a busy machine, and that says nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

REPOSITORY = Path(__file__).resolve().parent.parent

# The files that take longest, in this order. `pytest --durations=0` shows what each test takes.
LONGEST_FILES = (
    "worker/test_worker_process.py",
    "engine/test_batch_invariance.py",
    "model/kernels/test_triton_kernels.py",
    "end_to_end/test_recipes.py",
    "end_to_end/test_two_workers.py",
    "engine/test_tiny_model.py",
    "model/kernels/test_building_kernels.py",
    "model/text/test_text_encoder.py",
    "model/test_fused_layers.py",
    "model/demo/test_demo_checkpoint.py",
    "end_to_end/answers/test_parity_with_transformers.py",
    "model/text/chat/test_template_limits.py",
    "cli/run/test_run.py",
    "cli/test_check.py",
    "end_to_end/test_long_prompts.py",
    "end_to_end/test_lines_that_fail_alone.py",
    "end_to_end/answers/test_demo_answers.py",
    "model/test_batch_invariance.py",
    "model/test_parity_with_transformers.py",
    "model/sampling/test_filters_against_naive_sampling.py",
    "engine/scheduling/test_scheduler_laws.py",
    "model/test_fused_experts.py",
    "formats/lines/test_nasty_lines.py",
    "model/sampling/test_distribution.py",
    "formats/submission/test_reuse.py",
    "server/online/test_real_worker.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest. `make test` hands files to its processes in the order of collection.

    Otherwise a process begins such a file last, and the other processors have nothing left to do.
    """
    places = {REPOSITORY / "tests" / name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Leave all that was collected out of garbage collections. Otherwise each of them visits thousands of tests."""
    gc.collect()
    gc.freeze()


def require(present: bool, reason: str) -> None:
    """Skip the running test with a reason, except in CI, where what is missing is a failure."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """`small_disk(kibibytes)` mounts a disk of that size, or gives the one that is mounted another size."""
    folder, mounted = tmp_path / "small disk", False
    folder.mkdir()

    def mount(kibibytes: int) -> Path:
        nonlocal mounted
        options = f"size={kibibytes}k" + (",remount" if mounted else "")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
        )
        require(done.returncode == 0, "needs to mount a tmpfs, which root may")
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="session")
def qwen3_tokenizer_folder() -> Path:
    """The real Qwen3 tokenizer, which the repository does not hold and nothing here can install."""
    folder = REPOSITORY.parent / "shared" / "qwen3-tokenizer"
    present = all((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json"))
    require(present, f"needs tokenizer.json and tokenizer_config.json of a Qwen3 model in {folder}")
    return folder


@pytest.fixture(scope="session")
def redis_server_binary() -> Path:
    """Debian's redis-server, which CI installs."""
    found = shutil.which("redis-server")
    require(found is not None, "needs redis-server on the PATH")
    assert found is not None
    return Path(found)


@pytest.fixture(scope="module")
def quick_helpers() -> Iterator[None]:
    """The helpers that render templates for the tests of a module are forks of a process that has their modules."""
    from testing.processes.quick_interpreter import quick_interpreter

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", quick_interpreter(workers=False))
        yield


@pytest.fixture(scope="session")
def built_kernels() -> None:
    """The C++ kernels in this process. They were built by whichever test came first, or before."""
    from engine.execution.kernels import load_cpu_kernels  # with it comes PyTorch, which most tests can do without

    said: list[str] = []
    require(load_cpu_kernels(said.append), " ".join(said))


@pytest.fixture(scope="session")
def cpu_device() -> str:
    """How engines on this machine's CPU describe their device: with the tier of the kernels, if these can be loaded."""
    from engine.execution.kernels import device_description, load_cpu_kernels

    load_cpu_kernels(lambda _: None)
    return device_description("cpu")


@pytest.fixture
def compiler() -> None:
    """A C++ compiler for `torch.compile`."""
    from engine.execution.compilation import compile_obstacle

    obstacle = compile_obstacle("cpu")
    require(obstacle is None, f"torch.compile cannot work: {obstacle}")


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Runs a test with so many threads of PyTorch, however many processors there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(params=["C++ kernels", "plain PyTorch"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Runs a test with the C++ kernels and again as on a machine that cannot build them. Load models after it."""
    name = str(request.param)
    if name == "C++ kernels":
        request.getfixturevalue("built_kernels")
    for user in ("model.ops.linear", "model.sampling.logprobs"):
        monkeypatch.setattr(f"{user}.kernels_loaded", lambda: name == "C++ kernels")
    from model.kernels.library import kernels_loaded

    if not kernels_loaded():
        yield name
        return
    import torch

    torch.ops.qwen_batch_cpu.enable_attention(name == "C++ kernels")
    yield name
    torch.ops.qwen_batch_cpu.enable_attention(True)
