"""The mutants of `make mutants` must go on fitting the code. Whether tests notice them is not measured here."""

from __future__ import annotations

import ast
import re
from collections import Counter

from tools.mutation.mutants import REPOSITORY, Mutant, Selection, read_mutants

MUTANTS = read_mutants()
MIN_MUTANTS = 215
PACKAGES = {"cli", "engine", "jobs", "model", "qwen_batch", "server", "worker"}


def changed(mutant: Mutant) -> str | None:
    return mutant.changed((REPOSITORY / mutant.file).read_text(encoding="utf-8"))


def test_there_are_many_mutants_and_every_package_has_some() -> None:
    assert len(MUTANTS) >= MIN_MUTANTS
    assert {mutant.file.partition("/")[0] for mutant in MUTANTS} == PACKAGES
    assert {mutant.file.rpartition(".")[2] for mutant in MUTANTS} >= {"py", "cpp", "h", "lua"}


def test_the_old_text_of_each_mutant_stands_exactly_once_in_its_file() -> None:
    assert [str(mutant) for mutant in MUTANTS if changed(mutant) is None] == []


def test_every_mutant_changes_something_and_stands_once_in_the_lists() -> None:
    assert [str(mutant) for mutant in MUTANTS if mutant.old == mutant.new] == []
    counts = Counter((mutant.file, mutant.old, mutant.new) for mutant in MUTANTS)
    assert [each for each, count in counts.items() if count > 1] == []


def test_every_mutant_says_in_a_sentence_what_it_breaks() -> None:
    assert [str(mutant) for mutant in MUTANTS if not mutant.breaks.endswith(".") or "\n" in mutant.breaks] == []


def test_mutants_in_python_are_still_python() -> None:
    for mutant in MUTANTS:
        if mutant.file.endswith(".py"):
            ast.parse(changed(mutant) or "", mutant.file)


def test_the_tests_of_every_mutant_exist() -> None:
    files = {file for mutant in MUTANTS for file in mutant.tests.files}
    assert sorted(file for file in files if not (REPOSITORY / file).exists()) == []


def unknown_words(tests: Selection) -> set[str]:
    """The words of `-k` that stand in no file and no name of these tests. They select no test."""
    words = set(re.findall(r"\w+", tests.keyword)) - {"and", "not", "or"}
    texts = [file + (REPOSITORY / file).read_text(encoding="utf-8") for file in tests.files] if words else []
    return {word for word in words if not any(word in text for text in texts)}


def test_every_word_that_selects_tests_stands_in_their_files() -> None:
    unknown = {tests: unknown_words(tests) for tests in {mutant.tests for mutant in MUTANTS}}
    assert {str(tests): words for tests, words in unknown.items() if words} == {}
