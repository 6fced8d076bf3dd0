"""What every test shares: one way to need something that this machine may lack."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def require(present: bool, reason: str) -> None:
    """Skip the running test with a reason, except in CI, where what is missing is a failure."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def qwen3_tokenizer_folder() -> Path:
    """The real Qwen3 tokenizer, which the repository does not hold."""
    folder = REPOSITORY.parent / "shared" / "qwen3-tokenizer"
    require((folder / "tokenizer.json").exists(), f"needs the Qwen3 tokenizer in {folder}")
    return folder


@pytest.fixture(scope="session")
def redis_server_binary() -> Path:
    """Debian's redis-server, which CI installs."""
    found = shutil.which("redis-server")
    require(found is not None, "needs redis-server on the PATH")
    assert found is not None
    return Path(found)
