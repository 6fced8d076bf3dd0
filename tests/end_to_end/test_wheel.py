"""The wheel holds everything that the program needs, and it runs away from the repository."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from engine.execution.compilation import cache_folder
from model.kernels.library import built_library, prebuilt_name
from model.kernels.tiers import TIERS, Processor, choose_tier
from testing.processes.command_line import REPOSITORY, environment, write_jsonl
from tests.conftest import require
from tools.make_wheel import PLATFORMS, built_wheel, copied_tree, wheel_with

PACKAGES = ("cli", "engine", "jobs", "model", "qwen_batch", "server", "worker")
KERNEL_TESTS = (
    *("pyproject.toml", "tests/conftest.py", "tests/model/conftest.py"),
    *("tests/model/kernels/test_attention_kernels.py", "tests/model/kernels/test_store_kv_kernel.py"),
)
OURS = ("qwen_batch", "__editable__")  # an installed copy would hide the wheel

pytestmark = pytest.mark.slow


def tracked_files() -> list[str]:
    """What git tracks, and new files that it does not ignore."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [name for name in names.split("\0") if name and (REPOSITORY / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel without prebuilt kernels."""
    folder = tmp_path_factory.mktemp("wheel")
    return built_wheel(copied_tree(folder / "tree"), folder)


@pytest.fixture(scope="module")
def prebuilt_wheel(built_kernels: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with the kernels of this processor's tier, as `make wheel` makes it for all tiers."""
    folder = tmp_path_factory.mktemp("prebuilt")
    processor = Processor.inspect()
    tier = choose_tier(processor)
    require(tier in TIERS, "needs a processor that fits a tier")
    library = shutil.copy(built_library(tier, processor, cache_folder() / "kernels"), folder / prebuilt_name(tier))
    (here,) = (platform for platform in PLATFORMS if platform.is_here)
    return wheel_with([Path(library)], here, folder)


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The programs of an environment with the wheel."""
    return install(wheel, "worker,embedded")


@pytest.fixture(scope="module")
def without_compiler(prebuilt_wheel: Path) -> Path:
    """The programs of an environment with the wheel that has prebuilt kernels. None of them is a compiler."""
    return install(prebuilt_wheel, "worker,embedded")


def install(wheel: Path, extras: str) -> Path:
    """Make an environment with a wheel and its extras, and return the folder of its programs.

    Other packages are the running environment's. pip still compares their versions with what the wheel asks for.
    """
    folder = wheel.parent / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    others = wheel.parent / "others"
    others.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(OURS) and entry.name not in PACKAGES and entry.suffix != ".pth":
            (others / entry.name).symlink_to(entry)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "lib" / version / "site-packages" / "others.pth").write_text(f"{others}\n", encoding="utf-8")
    command: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    subprocess.run([*command, f"{wheel}[{extras}]"], check=True)
    return folder / "bin"


def test_the_wheel_has_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == {name for name in tracked_files() if name.startswith(tuple(f"{each}/" for each in PACKAGES))}


def test_the_demo_model_answers_from_another_folder(installed: Path, tmp_path: Path) -> None:
    prompts = write_jsonl(tmp_path / "prompts.jsonl", [{"id": str(n), "prompt": f"{n} + 2"} for n in range(3)])
    script = "import cli, jobs, model, worker; print(cli.__file__, jobs.__file__, model.__file__, worker.__file__)"
    where = subprocess.run(
        [installed / "python", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert all(path.startswith(str(installed.parent)) for path in where.split())

    run: list[str | Path] = [installed / "qwen-batch", "run", prompts, "-o", "results.jsonl", "--no-compile"]
    done = run_in(tmp_path, run, env=environment(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["0", "1", "2"]


def test_the_platform_wheel_names_its_platform_and_holds_no_library_of_pytorch(prebuilt_wheel: Path) -> None:
    assert re.search(r"-py3-none-(manylinux_\d+_\d+|macosx_\d+_\d+)_\w+\.whl$", prebuilt_wheel.name)
    with zipfile.ZipFile(prebuilt_wheel) as archive:
        libraries = [name for name in archive.namelist() if ".so" in name]
    assert libraries == [f"model/kernels/prebuilt/{prebuilt_name(choose_tier(Processor.inspect()))}"]


def test_the_first_start_of_an_installed_wheel_builds_nothing(without_compiler: Path, tmp_path: Path) -> None:
    prompts = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "What is 2 + 3?", "max_tokens": 4}])
    run: list[str | Path] = [
        without_compiler / "qwen-batch",
        "run",
        prompts,
        "-o",
        "results.jsonl",
        "--stats",
        "stats.json",
    ]
    done = run_in(tmp_path, run, env=bare_environment(without_compiler, tmp_path))
    assert done.returncode == 0, done.stderr
    (worker,) = json.loads((tmp_path / "stats.json").read_text(encoding="utf-8"))["workers"]
    assert worker["device"] == f"cpu ({choose_tier(Processor.inspect()).name})"
    assert not (tmp_path / "caches" / "qwen-batch" / "kernels").exists()


def test_the_kernels_of_an_installed_wheel_pass_their_tests(without_compiler: Path, tmp_path: Path) -> None:
    for name in KERNEL_TESTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "testing", tmp_path / "testing")
    tests = [name for name in KERNEL_TESTS if "/test_" in name]
    run: list[str | Path] = [
        without_compiler / "python",
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    done = run_in(tmp_path, run, env=bare_environment(without_compiler, tmp_path) | {"CI": "true"})
    assert done.returncode == 0, done.stdout[-3000:]
    assert not (tmp_path / "caches" / "qwen-batch" / "kernels").exists()


def bare_environment(programs: Path, folder: Path) -> dict[str, str]:
    """An environment whose PATH has no compiler, and whose folder of caches is empty."""
    without = {name: value for name, value in environment(folder / "state").items() if name != "CXX"}
    return without | {"PATH": str(programs), "XDG_CACHE_HOME": str(folder / "caches")}


def run_in(folder: Path, command: Sequence[str | Path], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
