"""A text that is not UTF-8 is refused with a command that converts it, and with a guess only where there is one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.errors import InvalidInput
from jobs.files.prompt_file import PromptFile

TEXTS = {
    "GB18030": "机器学习是人工智能的一个分支，它使计算机能够从数据中学习。",
    "BIG5": "機器學習是人工智慧的一個分支，它使電腦能夠從資料中學習。",
    "SHIFT_JIS": "機械学習は人工知能の一分野で、コンピューターがデータから学びます。",
    "EUC-JP": "機械学習は人工知能の一分野で、コンピューターがデータから学びます。",
    "EUC-KR": "기계 학습은 인공지능의 한 분야이다.",
    "WINDOWS-1251": "Переведите это предложение на английский язык.",
    "WINDOWS-1252": "Où est la bibliothèque? “Größe” über señor.",
}
WRITERS: dict[str, Callable[[str], str]] = {
    "a.csv": lambda text: f"id,prompt\na,{text}\n",
    "a.tsv": lambda text: f"id\tprompt\na\t{text}\n",
    "a.jsonl": lambda text: json.dumps({"prompt": text}, ensure_ascii=False) + "\n",
    "a.json": lambda text: json.dumps([{"prompt": text}, {"prompt": text}], ensure_ascii=False, indent=1),
    "a.txt": lambda text: text + "\n",
}


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as refused, PromptFile.open(str(path), io.BytesIO()) as file:
        file.check()
    return str(refused.value)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("encoding", TEXTS)
def test_a_text_that_is_not_utf8_is_told_its_likely_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    message = refusal(path, WRITERS[name](TEXTS[encoding]).encode(encoding))
    assert "is not UTF-8" in message
    assert f"`iconv -f {encoding} -t UTF-8 {path}`, and look at the result." in message


def test_a_text_that_fits_several_encodings_is_told_all_of_them(tmp_path: Path) -> None:
    message = refusal(tmp_path / "a.csv", "id,prompt\na,你好\n".encode("gb18030"))
    assert "It may be EUC-KR, GB18030 or EUC-JP." in message


@pytest.mark.parametrize(("text", "encoding"), [("Zażółć gęślą jaźń", "cp1250"), ("Переведите это", "koi8-r")])
def test_no_encoding_is_guessed_where_none_fits(tmp_path: Path, text: str, encoding: str) -> None:
    message = refusal(tmp_path / "a.txt", f"{text}\n".encode(encoding))
    assert "Ask its author for the encoding, and convert it: `iconv -f ENCODING -t UTF-8" in message


def test_a_text_that_is_mostly_utf8_is_not_converted_whole(tmp_path: Path) -> None:
    message = refusal(tmp_path / "a file.txt", "Übergröße, 你好\n".encode() + b"\xff\n")
    assert "Most of it is UTF-8. Correct the wrong bytes, or drop them: " in message
    assert f"`iconv -c -f UTF-8 -t UTF-8 '{tmp_path}/a file.txt'`" in message


def test_a_wrong_line_far_into_a_file_gets_the_same_advice(tmp_path: Path) -> None:
    lines = b'{"prompt": "a"}\n' * 100_000 + '{"prompt": "café"}\n'.encode("latin-1")
    assert "1 of 100,001 lines are invalid" in (message := refusal(tmp_path / "a.jsonl", lines))
    assert "`iconv -f WINDOWS-1252 -t UTF-8" in message
