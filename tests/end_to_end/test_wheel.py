"""The wheel holds everything that the program needs, and it runs away from the repository."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from testing.command_line import REPOSITORY, environment, write_jsonl

PACKAGES = ("cli", "engine", "jobs", "model", "qwen_batch", "server", "worker")
OURS = ("qwen_batch", "__editable__")  # an installed copy would hide the wheel

pytestmark = pytest.mark.slow


def tracked_files() -> list[str]:
    """What git tracks, and new files that it does not ignore."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [name for name in names.split("\0") if name and (REPOSITORY / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tree: setuptools leaves files behind, and takes them up again."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked_files():
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / "tree" / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", folder, folder / "tree"], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The programs of a fresh environment with the wheel and its extras. Other packages are the running environment's.

    pip still compares their versions with what the wheel asks for.
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
    install: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    subprocess.run([*install, f"{wheel}[worker,embedded]"], check=True)
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

    done = subprocess.run(
        [installed / "qwen-batch", "run", prompts, "-o", "results.jsonl", "--no-compile"],
        env=environment(tmp_path / "state"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["0", "1", "2"]
