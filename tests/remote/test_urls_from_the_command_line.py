"""Commands read URLs and write to them; what fails ends with one line, exit code 2 and no object."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.stores.protocol import JobStore
from tests.cli.acting_worker import run_job
from tests.cli.conftest import Cli
from tests.remote.conftest import S3
from tests.remote.reading import LINES


def test_prompts_come_from_objects_and_results_go_to_one(cli: Cli, store: JobStore, s3: S3) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `tables` is not installed")
    from pyarrow import parquet

    table = io.BytesIO()
    parquet.write_table(pyarrow.table({"id": ["t"], "prompt": ["Hello"], "level": [3]}), table)
    s3.put(a_parquet=table.getvalue(), b_jsonl_gz=gzip.compress(LINES))
    done = cli("submit", f"s3://{s3.bucket}/*.*", env=s3.environment)
    assert (done.returncode, "Traceback" in done.stderr, "nclosed" in done.stderr) == (0, False, False), done.stderr
    job_id = done.stdout.strip()
    run_job(store, job_id)
    for name in ("r.jsonl", "r.parquet"):
        done = cli("results", job_id, "-o", f"s3://{s3.bucket}/{name}", env=s3.environment)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "Wrote 3 completed and 0 failed lines.")
    sources = {"t": f"s3://{s3.bucket}/a.parquet"} | dict.fromkeys("ab", f"s3://{s3.bucket}/b.jsonl.gz")
    lines = [json.loads(line) for line in s3.get("r.jsonl").splitlines()]
    rows = parquet.read_table(io.BytesIO(s3.get("r.parquet"))).to_pylist()
    assert {line["id"]: line["source"] for line in lines} == {row["id"]: row["source"] for row in rows} == sources
    assert [(row["id"], row["completion"], row["level"]) for row in rows] == [
        ("t", "answer to t", 3),
        ("a", "answer to a", None),
        ("b", "answer to b", None),
    ]


def test_wrong_credentials_end_with_one_error_and_exit_code_2(bare_cli: Cli, s3: S3) -> None:
    s3.put(a_jsonl=LINES)
    done = bare_cli("check", f"s3://{s3.bucket}/a.jsonl", env=s3.environment | {"AWS_SECRET_ACCESS_KEY": "wRoNg"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: s3://{s3.bucket}/a.jsonl cannot be read: the server refuses: Forbidden.\n"
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.\n"
    )


def test_a_place_for_results_is_checked_before_anything_runs(bare_cli: Cli, s3: S3, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    done = bare_cli("run", "a.jsonl", "-o", "s3://nobody-has-it/r.jsonl", env=s3.environment)
    assert (done.returncode, "its bucket does not exist" in done.stderr) == (2, True)
    assert not (tmp_path / "home" / "state").exists()


def test_results_do_not_replace_their_own_prompts(bare_cli: Cli, s3: S3) -> None:
    s3.put(a_jsonl=LINES)
    url = f"s3://{s3.bucket}/a.jsonl"
    done = bare_cli("run", url, "-o", url, env=s3.environment)
    assert (done.returncode, f"-o would overwrite the prompt file {url}" in done.stderr) == (2, True)


def test_a_command_that_is_killed_while_it_writes_leaves_nothing(s3: S3, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from jobs.files.writing.destination import destination_of\n"
        "with destination_of(sys.argv[1]).open() as output:\n"
        "    output.write(b'x' * 2**20)\n"
        "    print('written', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-P", "-c", program, f"s3://{s3.bucket}/r.jsonl"]
    own = os.environ | s3.environment | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert (s3.keys(), s3.unfinished_uploads(), list(tmp_path.iterdir())) == ([], 0, [])


def test_nothing_is_imported_for_urls_unless_one_comes() -> None:
    program = (
        "import sys\n"
        "import cli.commands.run, cli.commands.jobs.submit, cli.commands.jobs.results\n"
        "from jobs.files.writing.destination import destination_of\n"
        "destination_of('results.jsonl')\n"
        "print({name for name in sys.modules if name.split('.')[0] in ('fsspec', 's3fs', 'aiohttp', 'urllib3')})\n"
        "print('urllib.request' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["set()", "False"]
