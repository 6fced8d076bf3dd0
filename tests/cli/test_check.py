"""`check` reads what `submit` reads, without a server, and shows what the model will see."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from jobs.files.prompt_file import PromptFile
from jobs.records.job import NewJob
from jobs.records.model_card import builtin_demo_folder, card_of_folder
from jobs.records.sampling import SamplingSettings
from jobs.stores.protocol import JobStore
from model.grammar import Grammars
from model.text.tokenizer import Tokenizer
from testing.models.gguf_checkpoint import gguf_of
from tests.cli.conftest import Cli
from worker.shards.preparation import Preparation

LINES = [
    {"id": "a", "prompt": "Raw <|im_end|> text"},
    {"id": "b", "messages": [{"role": "user", "content": "Grüße <|im_end|>, 世界"}], "temperature": 0},
    {"id": "c", "prompt": [5, 6, 7]},
]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


def test_a_good_file_is_described(bare_cli: Cli, prompts: Path) -> None:
    done = bare_cli("check", prompts, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    counts = said.pop("prompt_tokens")
    assert said == {
        "file": str(prompts),
        "container": "jsonl",
        "format": "native",
        "lines": 3,
        "invalid_lines": 0,
        "columns": ["id", "prompt"],
        "notices": [],
        "model": "demo",
    }
    assert counts["longest"] >= counts["median"] >= 3
    assert (counts["too_long"], counts["failed"]) == (0, 0)


def test_the_prompts_shown_are_those_that_the_engine_gets(bare_cli: Cli, prompts: Path) -> None:
    done = bare_cli("check", prompts, "--show", "3", "--json")
    shown = {each["id"]: each["prompt"] for each in json.loads(done.stdout)["prompts"]}
    folder = builtin_demo_folder()
    tokenizer, card = Tokenizer.from_folder(folder), card_of_folder(folder, "demo")
    with PromptFile.open(str(prompts), io.BytesIO()) as file:
        lines = list(file.check().prompts())
    job = NewJob(
        id="j",
        model="demo",
        format="native",
        defaults=SamplingSettings(),
        seed=0,
        num_lines=3,
        shard_size=3,
        source="f",
        created_at=0.0,
    )
    prepared = Preparation(tokenizer, card, Grammars(tokenizer, ())).prepare(
        lines, job, group="", on_token=lambda _: None
    )
    engine = {prompt.id: tokenizer.decode(request.token_ids, False) for prompt, (request,) in prepared.runnable}
    assert shown == engine


def test_people_read_prompts_with_their_special_tokens(bare_cli: Cli, prompts: Path) -> None:
    done = bare_cli("check", prompts, "--show", "2")
    assert done.returncode == 0, done.stderr
    assert "3 lines, container jsonl, format native" in done.stdout
    assert "--- a ---\nRaw <|im_end|> text\n" in done.stdout  # the token itself, which a raw prompt may hold


def test_text_of_a_message_that_looks_like_a_special_token_is_shown_with_a_backslash(
    bare_cli: Cli, prompts: Path
) -> None:
    done = bare_cli("check", prompts, "--show", "2")
    assert "--- b ---\n<|im_start|>user\nGrüße <\\|im_end|>, 世界<|im_end|>\n<|im_start|>assistant\n" in done.stdout


def test_common_beginnings_are_counted(bare_cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "alike.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"What is {number} + 3?"}) + "\n" for number in (20, 30, 40)))
    words = ("check", path, "--system", "Answer in one word, and say nothing else. " * 4)
    counts = json.loads(bare_cli(*words, "--template", "{{ prompt }}", "--json").stdout)["prompt_tokens"]
    assert 0.4 < counts["shared"] / counts["total"] < 0.67
    share = f"{counts['shared'] / counts['total']:.0%}"
    said = f"common beginnings: {counts['shared']:,} of these tokens ({share}) are computed only once\n"
    assert said in bare_cli(*words, "--template", "{{ prompt }}").stdout


def test_the_tokens_of_the_first_lines_are_counted(bare_cli: Cli, prompts: Path) -> None:
    some = json.loads(bare_cli("check", prompts, "--json", "--count-tokens", "2").stdout)["prompt_tokens"]
    every = json.loads(bare_cli("check", prompts, "--json", "--count-tokens", "all").stdout)["prompt_tokens"]
    assert (some["lines"], every["lines"], every["total"] - some["total"]) == (2, 3, 3)
    said = bare_cli("check", prompts, "--count-tokens", "2").stdout
    assert f"prompt tokens of the first 2 lines: {some['total']:,} in all" in said
    assert f"prompt tokens: {every['total']:,} in all" in bare_cli("check", prompts, "--count-tokens", "3").stdout


@pytest.mark.slow
def test_a_large_file_is_counted_in_part_unless_all_of_it_is_wanted(bare_cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    path.write_text('{"prompt": [5]}\n' * 100_001)
    assert "prompt tokens of the first 100,000 lines: 100,000 in all" in bare_cli("check", path).stdout
    assert "prompt tokens: 100,001 in all" in bare_cli("check", path, "--count-tokens", "all").stdout


def test_a_count_of_0_counts_nothing_and_another_word_is_refused(bare_cli: Cli, prompts: Path) -> None:
    assert "prompt tokens: not counted" in bare_cli("check", prompts, "--count-tokens", "0").stdout
    assert json.loads(bare_cli("check", prompts, "--count-tokens", "0", "--json").stdout)["prompt_tokens"] is None
    for word in ("many", "-1"):
        done = bare_cli("check", prompts, "--count-tokens", word)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"'{word}' is no number of lines; give a whole number of at least 0, or `all`." in done.stderr


def test_a_prompt_longer_than_the_context_is_counted(bare_cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"prompt": "a b " * 100_000}) + "\n")
    assert json.loads(bare_cli("check", path, "--json").stdout)["prompt_tokens"]["too_long"] == 1


def test_a_bad_file_is_refused_as_submit_refuses_it(bare_cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": 5}\n')
    done = bare_cli("check", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 2: `prompt` is 5" in done.stderr
    said = json.loads(bare_cli("check", path, "--skip-invalid", "--json").stdout)
    assert (said["lines"], said["invalid_lines"]) == (2, 1)


def test_without_the_model_there_are_no_tokens_but_the_lines_are_checked(bare_cli: Cli, prompts: Path) -> None:
    done = bare_cli("check", prompts, "--model", "Qwen/Qwen3-0.6B", "--show", "1")
    assert done.returncode == 0, done.stderr
    assert "prompt tokens: unknown" in done.stdout
    assert "--- a ---\nRaw <|im_end|> text\n" in done.stdout


def test_a_dry_run_checks_and_stores_nothing(cli: Cli, store: JobStore, prompts: Path, tmp_path: Path) -> None:
    submitted, run = cli("submit", prompts, "--dry-run"), cli("run", prompts, "-o", tmp_path / "o", "--dry-run")
    assert [(done.returncode, done.stdout) for done in (submitted, run)] == [(0, ""), (0, "")]
    assert "3 lines can be submitted. Nothing was stored." in submitted.stderr
    assert "3 lines can be run. Nothing was run." in run.stderr
    assert list(store.jobs.newest(1)) == []
    assert not (tmp_path / "o").exists()
    prompts.write_text("{}")
    assert [cli(name, prompts, "--dry-run").returncode for name in ("submit", "run")] == [2, 2]


def test_the_prompts_of_a_gguf_file_have_the_same_tokens(bare_cli: Cli, prompts: Path, tmp_path: Path) -> None:
    file = gguf_of(builtin_demo_folder(), "Q8_0").write(tmp_path / "demo-Q8_0.gguf")
    said, of_demo = (
        json.loads(bare_cli("check", prompts, "--show", "3", "--json", *model).stdout)
        for model in (("--model", file), ())
    )
    assert said | {"notices": []} == of_demo | {"model": "demo-Q8_0"}  # the demo model is never warned of
