"""Objects of a store that speaks S3: read by ranges, written whole or not at all, and refused in one line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from jobs.errors import InvalidInput, OutputNotWritable, QwenBatchError
from jobs.files.prompt_file import PromptFile
from jobs.files.remote.driver_errors import driver_error
from jobs.files.remote.kept_blocks import BLOCK_BYTES
from jobs.files.remote.object_store import StoredObject
from jobs.files.writing.destination import Destination, destination_of
from tests.remote.conftest import S3
from tests.remote.reading import LINES, refusal, texts


def written(place: Destination, content: bytes) -> None:
    with place.open() as output:
        output.write(content)


def test_an_object_is_read_like_a_file(s3: S3) -> None:
    s3.put(a_jsonl=LINES)
    assert texts(f"s3://{s3.bucket}/a.jsonl") == ["Hello", "Good night"]


def test_a_pattern_stands_for_its_objects(s3: S3) -> None:
    s3.put(b_jsonl=LINES.replace(b'"b"', b'"c"').replace(b'"a"', b'"d"'), a_jsonl=LINES, c_csv=b"")
    assert texts(f"s3://{s3.bucket}/*.jsonl") == ["Hello", "Good night"] * 2
    assert refusal(f"s3://{s3.bucket}/*.tsv").startswith(f"No file matches s3://{s3.bucket}/*.tsv.")


def test_an_object_of_several_blocks_that_changes_is_refused(s3: S3) -> None:
    long = b'{"prompt": "%s"}\n' % (b"x" * 1000) * (BLOCK_BYTES // 1000)
    s3.put(a_jsonl=long)
    with PromptFile.open(f"s3://{s3.bucket}/a.jsonl", io.BytesIO()) as file:
        checked = file.check()
        assert checked.report.num_lines == long.count(b"\n")
        s3.put(a_jsonl=long.replace(b"x", b"y", 1))
        with pytest.raises(InvalidInput, match=r"a\.jsonl changed while it was being read"):
            next(checked.prompts())


def test_a_small_object_that_changes_is_submitted_as_it_was_checked(s3: S3) -> None:
    s3.put(a_jsonl=LINES)
    with PromptFile.open(f"s3://{s3.bucket}/a.jsonl", io.BytesIO()) as file:
        checked = file.check()
        s3.put(a_jsonl=LINES.replace(b"Hello", b"HELLO"))
        assert [prompt.text for prompt in checked.prompts()] == ["Hello", "Good night"]


def test_what_does_not_exist_is_named(s3: S3) -> None:
    s3.put(folder_a_jsonl=LINES)
    s3.client.put_object(Bucket=s3.bucket, Key="folder/a.jsonl", Body=LINES)
    assert "no.jsonl cannot be read: it does not exist." in refusal(f"s3://{s3.bucket}/no.jsonl")
    assert "cannot be read: its bucket does not exist." in refusal("s3://nobody-has-it/a.jsonl")
    assert "cannot be listed: its bucket does not exist." in refusal("s3://nobody-has-it/*.jsonl")
    assert f"Name its objects: 's3://{s3.bucket}/folder/*'." in refusal(f"s3://{s3.bucket}/folder")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_refused_and_not_shown(s3: S3, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    s3.put(a_jsonl=LINES)
    monkeypatch.setenv(name, "wRoNg")
    url = f"s3://{s3.bucket}/a.jsonl"
    said = refusal(url)
    assert said.startswith(f"{url} cannot be read: the server refuses: Forbidden. Set AWS_ACCESS_KEY_ID")
    assert ("wRoNg" in said, s3.environment["AWS_SECRET_ACCESS_KEY"] in said) == (False, False)
    with pytest.raises(OutputNotWritable, match="cannot be written: the server refuses"):
        destination_of(url).check()


def test_missing_credentials_are_named(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "there are no credentials for it. Set AWS_ACCESS_KEY_ID" in refusal(f"s3://{s3.bucket}/a.jsonl")


def test_a_server_that_is_not_there_is_named(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "its server cannot be reached. Check the network" in refusal(f"s3://{s3.bucket}/a.jsonl")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/a.jsonl", "ftp:// is not supported: ftp://host/a.jsonl. Use https://"),
        ("ftp://host/*.jsonl", "ftp:// is not supported"),
        ("file:///a.jsonl", "or a path."),
    ],
)
def test_an_unknown_scheme_is_refused_with_those_that_are_known(url: str, said: str) -> None:
    assert said in refusal(url)


@pytest.mark.parametrize(("scheme", "package", "extra"), [("gs", "gcsfs", "gcs"), ("az", "adlfs", "azure")])
def test_a_driver_that_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    said = f"{scheme}:// needs {package}, which is not installed. Install it: pip install 'qwen-batch[{extra}]'"
    assert refusal(f"{scheme}://bucket/a.jsonl") == said
    with pytest.raises(OutputNotWritable) as error:
        destination_of(f"{scheme}://bucket/a.jsonl").check()
    assert str(error.value) == said


def test_an_object_is_written_at_the_end_of_the_block(s3: S3) -> None:
    place = destination_of(f"s3://{s3.bucket}/folder/r.jsonl")
    place.check()
    assert (place.exists(), s3.keys(), s3.unfinished_uploads()) == (False, [], 0)
    with place.open() as output:
        output.write(LINES)
        assert s3.keys() == []
    assert (s3.get("folder/r.jsonl"), place.exists()) == (LINES, True)


def test_a_large_object_is_written_in_parts(s3: S3) -> None:
    content = b"%09d\n" * 1 % 7 * 2_000_000
    written(destination_of(f"s3://{s3.bucket}/large"), content)
    assert s3.get("large") == content
    assert s3.client.head_object(Bucket=s3.bucket, Key="large")["ETag"].endswith('-3"')  # the number of parts


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_block_that_raises_leaves_the_object_as_it_was(s3: S3, error: type[BaseException]) -> None:
    s3.put(r_jsonl=b"before")
    place = destination_of(f"s3://{s3.bucket}/r.jsonl")

    def write() -> None:
        with place.open() as output:
            output.write(LINES)
            raise error

    with pytest.raises(error):
        write()
    assert (s3.get("r.jsonl"), s3.unfinished_uploads()) == (b"before", 0)


def test_a_place_that_cannot_be_written_is_refused_before_any_work(s3: S3) -> None:
    with pytest.raises(OutputNotWritable, match="cannot be written: its bucket does not exist"):
        destination_of("s3://nobody-has-it/r.jsonl").check()
    for url, said in (
        ("https://host/r.jsonl", "https:// is only read. Write to a path, or to s3://"),
        ("hf://datasets/org/name/r.jsonl", "hf:// is only read"),
        ("s3://bucket", "names no object. Write s3://BUCKET/NAME."),
        ("s3://bucket/folder/", "names no object"),
    ):
        with pytest.raises(QwenBatchError, match=said):
            destination_of(url)


def test_places_of_one_store_know_their_siblings_and_themselves() -> None:
    place = destination_of("s3://bucket/folder/r.jsonl")
    assert place.sibling("r.errors.jsonl").name == "s3://bucket/folder/r.errors.jsonl"
    assert place.is_same(destination_of("s3://bucket/folder/r.jsonl"))
    assert not place.is_same(destination_of("s3://bucket/r.jsonl"))
    assert not place.is_same(destination_of("r.jsonl"))
    assert not destination_of("r.jsonl").is_same(place)


@pytest.mark.parametrize(
    ("module", "kind", "arguments", "said"),
    [
        ("aiohttp", "ClientPayloadError", {}, "the connection was cut"),
        ("botocore.exceptions", "ReadTimeoutError", {"endpoint_url": "http://host"}, "its server cannot be reached"),
        ("botocore.exceptions", "ProfileNotFound", {"profile": "p"}, "there are no credentials for it"),
        ("botocore.exceptions", "UnknownServiceError", {"service_name": "x", "known_service_names": ""}, "x"),
    ],
)
def test_errors_of_drivers_become_one_line(module: str, kind: str, arguments: dict[str, str], said: str) -> None:
    error = getattr(pytest.importorskip(module), kind)(**arguments)
    text = str(driver_error(error, "s3://bucket/a", "be read", "Log in."))
    assert text.startswith("s3://bucket/a cannot be read: ")
    assert (said in text, "\n" in text) == (True, False)


def test_the_query_of_a_url_in_a_drivers_error_is_not_shown() -> None:
    error = OSError("502, url='https://host/a?any=sEcReT&se=1'")
    assert "sEcReT" not in str(driver_error(error, "az://bucket/a", "be read", "Log in."))


def test_a_range_that_is_shorter_than_asked_is_refused(s3: S3) -> None:
    s3.put(a_jsonl=LINES)
    with pytest.raises(InvalidInput, match="changed while it was being read"):
        StoredObject(f"s3://{s3.bucket}/a.jsonl").fetch(0, len(LINES) + 1)
