"""Files at URLs of http and https: what is fetched, and what a person reads when that fails."""

from __future__ import annotations

import gzip
import io
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import pytest

from jobs.errors import InvalidInput
from jobs.files.prompt_file import PromptFile
from jobs.files.remote.http_file import FileVersion, HttpFile
from jobs.files.remote.kept_blocks import BLOCK_BYTES, KeptBlocks, KeptSpace, RemoteStream
from jobs.files.remote.urls import http_url, shown_url
from testing.environment.certificates import make_certificates
from tests.remote.reading import LINES, refusal, texts
from tests.remote.web_server import WebServer

LONG = b'{"prompt": "%s"}\n' % (b"x" * 1000) * (2 * BLOCK_BYTES // 1000)


def at(web: WebServer, path: str = "/a.jsonl", **options: Any) -> HttpFile:
    """A file of the server. A repeated request waits for nothing."""
    return HttpFile(web.url + path, "the file", pauses=(0, 0), **options)


def test_a_url_is_read_like_a_file(web: WebServer) -> None:
    assert texts(f"{web.url}/a.jsonl") == ["Hello", "Good night"]


def test_each_byte_comes_once_though_a_file_is_read_twice(web: WebServer) -> None:
    web.files["/long.jsonl"] = LONG
    assert len(texts(f"{web.url}/long.jsonl")) == LONG.count(b"\n")
    starts = [int(asked.removeprefix("bytes=").partition("-")[0]) for asked in web.ranges_of("/long.jsonl")]
    assert starts == list(range(0, len(LONG), BLOCK_BYTES))


def test_a_server_without_ranges_sends_the_whole_file_once(web: WebServer) -> None:
    web.ranges = False
    assert texts(f"{web.url}/a.jsonl") == ["Hello", "Good night"]
    assert len(web.requests) == 2  # the first asks whether there are ranges


def test_compressed_files_and_tables_are_read_too(web: WebServer, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `tables` is not installed")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"id": ["a"], "prompt": ["from a table"]}), tmp_path / "t.parquet")
    web.files |= {"/t.parquet": (tmp_path / "t.parquet").read_bytes(), "/a.jsonl.gz": gzip.compress(LINES)}
    assert texts(f"{web.url}/t.parquet") == ["from a table"]
    assert texts(f"{web.url}/a.jsonl.gz") == ["Hello", "Good night"]


def test_a_page_about_a_file_is_refused_with_the_url_of_the_file(web: WebServer) -> None:
    web.files |= {"/org/name/blob/main/a.jsonl": b"<!doctype html>", "/page": b"<html>"}
    assert "Write /raw/ (GitHub) or /resolve/ (Hugging Face)" in refusal(f"{web.url}/org/name/blob/main/a.jsonl")
    assert "is an HTML page. Download the data itself" in refusal(f"{web.url}/page")


def test_an_empty_file_is_refused_as_empty(web: WebServer) -> None:
    web.files["/empty"] = b""
    assert "is empty" in refusal(f"{web.url}/empty")


def test_the_proxy_of_the_environment_is_used(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    web.files["http://nowhere.invalid/a.jsonl"] = LINES
    monkeypatch.setenv("http_proxy", web.url)
    assert texts("http://nowhere.invalid/a.jsonl") == ["Hello", "Good night"]


def test_the_query_of_a_signed_url_is_sent_but_never_shown(web: WebServer) -> None:
    with PromptFile.open(f"{web.url}/a.jsonl?X-Amz-Signature=sEcReT", io.BytesIO()) as file:
        report = file.check().report
    assert web.requests[0][0] == "/a.jsonl?X-Amz-Signature=sEcReT"
    assert report.name == f"{web.url}/a.jsonl"
    assert "sEcReT" not in refusal(f"{web.url}/no.jsonl?X-Amz-Signature=sEcReT")


@pytest.mark.parametrize(("status", "said"), [(404, "404"), (403, "may have expired"), (401, "needs a login")])
def test_a_refusal_gives_the_status_and_what_to_do(web: WebServer, status: int, said: str) -> None:
    web.statuses["/a.jsonl"] = status
    assert said in refusal(f"{web.url}/a.jsonl")
    assert len(web.requests) == 1


def test_what_may_pass_is_tried_three_times(web: WebServer) -> None:
    web.statuses["/a.jsonl"] = 503
    with pytest.raises(InvalidInput, match="the server says 503 Service Unavailable"):
        at(web).first_answer()
    assert len(web.requests) == 3


def test_a_transfer_that_is_cut_is_repeated(web: WebServer) -> None:
    web.cuts = 2
    assert at(web).first_answer().block == LINES


def test_a_transfer_that_is_always_cut_is_refused(web: WebServer) -> None:
    web.cuts = 100
    with pytest.raises(InvalidInput, match="the file cannot be read: the connection was cut"):
        at(web).first_answer()
    with pytest.raises(InvalidInput, match="the file cannot be read: the connection was cut"):
        list(at(web).pieces())


@pytest.mark.parametrize("has_etag", [True, False])
def test_a_file_that_changes_between_two_ranges_is_refused(web: WebServer, has_etag: bool) -> None:
    web.files["/long.jsonl"], web.has_etag = LONG, has_etag

    def change() -> None:
        if len(web.requests) == 2:
            web.files["/long.jsonl"] = LONG.replace(b"x", b"y", 1) if has_etag else LONG + LINES

    web.before_answer = change
    assert refusal(f"{web.url}/long.jsonl").startswith(f"{web.url}/long.jsonl changed while it was being read.")


def test_a_version_is_known_by_its_mark_or_else_by_its_time() -> None:
    one = FileVersion(5, "a", "Monday")
    assert one.same_as(FileVersion(5, "a", "Tuesday"))
    assert one.same_as(FileVersion(5, None, "Monday"))
    assert one.same_as(FileVersion(5, None, None))
    assert not one.same_as(FileVersion(5, "b", "Monday"))
    assert not one.same_as(FileVersion(5, None, "Tuesday"))
    assert not one.same_as(FileVersion(6, "a", "Monday"))
    assert not one.same_as(FileVersion(6, None, "Monday"))


def test_a_missing_server_and_a_silent_one_are_named(web: WebServer) -> None:
    answer = threading.Event()

    def wait() -> None:
        answer.wait()

    web.before_answer = wait
    with pytest.raises(InvalidInput, match=r"127\.0\.0\.1:\d+ did not answer within 0\.1 s"):
        HttpFile(f"{web.url}/a.jsonl", f"{web.url}/a.jsonl", timeout_seconds=0.1).first_answer()
    answer.set()
    with pytest.raises(InvalidInput, match="Connection refused"):
        HttpFile("http://127.0.0.1:1/a.jsonl", "the file", pauses=()).first_answer()


@pytest.mark.parametrize(
    "url", ["http:///a", "https://host:port/a", "http://[bad/a", "http://host/a b", "http://u@h/a"]
)
def test_a_url_that_cannot_be_requested_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="is not a URL that can be read"):
        http_url(url)


def test_letters_of_every_script_are_sent_as_a_url_may_have_them() -> None:
    assert (
        http_url("https://bücher.example/größe.jsonl?a=ß")
        == "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe.jsonl?a=%C3%9F"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/a.jsonl?sig=sEcReT&x=1", "https://host/a.jsonl"),
        ("https://user:sEcReT@host/a#sEcReT", "https://***@host/a"),
        ("s3://bucket/what?.jsonl", "s3://bucket/what?.jsonl"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_a_certificate_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    with WebServer({"/a.jsonl": LINES}, certificates=certificates) as web:
        assert "the certificate of 127.0.0.1:" in refusal(f"{web.url}/a.jsonl")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
        assert texts(f"{web.url}/a.jsonl") == ["Hello", "Good night"]
        with WebServer({"/a.jsonl": LINES}) as plain:
            web.redirects["/moved"] = f"{plain.url}/a.jsonl"
            assert "redirects to a URL without TLS" in refusal(f"{web.url}/moved")


def test_a_secret_header_follows_a_redirect_only_to_its_own_host(web: WebServer) -> None:
    with WebServer({"/a.jsonl": LINES}) as other:
        web.redirects |= {"/there": f"{other.url}/a.jsonl", "/here": f"{web.url}/a.jsonl"}
        headers = {"Authorization": "Bearer sEcReT"}
        assert at(web, "/there", secret_headers=headers).first_answer().block == LINES
        assert at(web, "/here", secret_headers=headers).first_answer().block == LINES
        assert "authorization" not in other.requests[0][1]
    assert [asked["authorization"] for _, asked in web.requests] == ["Bearer sEcReT"] * 3


def test_only_so_many_bytes_of_all_files_are_kept() -> None:
    asked: list[tuple[str, int]] = []

    def blocks(name: str, size: int, space: KeptSpace) -> KeptBlocks:
        def fetch(start: int, stop: int) -> bytes:
            asked.append((name, start // BLOCK_BYTES))
            return name.encode() * (stop - start)

        return KeptBlocks(size, fetch, space)

    with KeptSpace(max_bytes=2 * BLOCK_BYTES) as space:
        files = [blocks("a", 10, space), blocks("b", 2 * BLOCK_BYTES, space), blocks("c", 10, space)]
        for _ in range(2):
            contents = [RemoteStream(file).readall() for file in files]
            assert [(content[:1], content[-1:], len(content)) for content in contents if content] == [
                (b"a", b"a", 10),
                (b"b", b"b", 2 * BLOCK_BYTES),
                (b"c", b"c", 10),
            ]
    assert asked == [("a", 0), ("b", 0), ("b", 1), ("c", 0), ("b", 1), ("c", 0)]


def test_many_urls_need_one_temporary_file(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[IO[bytes]] = []

    def make() -> IO[bytes]:
        made.append(io.BytesIO() if made else original())
        return made[-1]

    original = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", make)
    paths = [f"/{number}.jsonl" for number in range(5)]
    web.files |= {path: b'{"prompt": "from %s"}' % path.encode() for path in paths}
    assert texts(*(web.url + path for path in paths)) == [f"from {path}" for path in paths]
    assert [file.closed for file in made] == [True]
