"""Connecting: what is wrong with a server is said at once, and never with the password."""

from __future__ import annotations

import errno
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis

from jobs import keys
from jobs.errors import InvalidInput, RecordDamaged, StoreFull, StoreUnavailable
from jobs.keys import JobKeys
from jobs.queue.celery_hints import CeleryHints
from jobs.queue.hints import queue_name
from jobs.records.job import ShardRef
from jobs.stores.connect import connect
from jobs.stores.redis.connection.errors import translated
from testing.jobs.sample_jobs import new_job, prompts_of
from testing.processes.valkey import ValkeyProcess, free_port, running_valkey


@contextmanager
def http_server() -> Iterator[int]:
    """Something that listens and is not Redis; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_fits_gives_a_store(valkey: ValkeyProcess) -> None:
    connect(valkey.url).ping()


def test_a_server_that_is_not_there_is_named_with_the_way_to_start_one() -> None:
    port = free_port()
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} refused the connection") as caught:
        connect(f"redis://:secret@127.0.0.1:{port}/0")
    assert "docker compose up" in caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("credentials", [":wrong-secret@", "", "someone:wrong-secret@"])
def test_a_refused_password_is_named_but_not_shown(valkey: ValkeyProcess, credentials: str) -> None:
    with valkey.client() as client:
        before = client.info("stats")["total_connections_received"]
        with pytest.raises(StoreUnavailable, match="refuses the user or the password") as caught:
            connect(f"redis://{credentials}127.0.0.1:{valkey.port}/0")
        tries = client.info("stats")["total_connections_received"] - before
    assert "wrong-secret" not in str(caught.value)
    assert tries == 1  # a wrong password does not become right by trying again


def test_a_server_that_is_not_redis_is_recognised() -> None:
    with http_server() as port, pytest.raises(StoreUnavailable, match="does not speak the Redis protocol"):
        connect(f"redis://127.0.0.1:{port}/0")


def test_tls_to_a_server_without_it_is_recognised() -> None:
    with http_server() as port, pytest.raises(StoreUnavailable, match="failed the TLS handshake"):
        connect(f"rediss://127.0.0.1:{port}/0")


@pytest.mark.parametrize(
    ("number", "told"), [(errno.ENETUNREACH, "no route to its network"), (errno.EHOSTUNREACH, "its link is down")]
)
def test_a_link_that_is_down_is_not_taken_for_a_server_that_hangs_up(number: int, told: str) -> None:
    error = redis.ConnectionError(f"Error {number} connecting to far:6379. {os.strerror(number)}.")
    known = translated(error, "far:6379")
    assert isinstance(known, StoreUnavailable)
    assert known.message.startswith("Redis at far:6379 cannot be reached")
    assert told in known.message


def test_a_host_that_does_not_resolve_is_named() -> None:
    with pytest.raises(StoreUnavailable, match=r"redis\.invalid:6379 has a host name that does not resolve"):
        connect("redis://redis.invalid:6379/0")


def test_a_missing_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="socket path that does not exist"):
        connect(f"unix://{tmp_path}/none.sock")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "it has no scheme; write redis:// before it"),
        ("localhost:6379", "it has no scheme; write redis:// before it"),
        (":secret@host", "it has no scheme; write redis:// before it"),
        ("http://localhost", "scheme is 'http'"),
        ("redis://host:port/0", "port"),
        ("redis://host:99999/0", "port"),
        ("redis://:sec/secret@host:6379/0", "port"),  # a password whose slash ends the host
        ("redis://[::1/0", "host"),
        ("redis://:secret@host/name", "database"),
        ("redis://:secret@host/-1", "database"),
        ("redis://:secret@host?db=3", "after the port"),
        ("redis://:secret@host/0?speed=high", "unknown option, `speed`"),
        ("redis://:secret@host/0?socket_timeout=secret", "option"),
        (
            "redis://host/0?decode_responses=1",
            "unknown option, `decode_responses`; options are db, protocol",
        ),
        ("redis://host/0?connection_class=secret", "unknown option, `connection_class`"),
        ("redis://host/0?password=secret", "unknown option, `password`"),
        (
            "redis://:1?secret=2@host/0",
            "a ? without an option after it",
        ),  # a password whose question mark ends the host
        ("redis://:1#secret@host/0", "it contains a #"),
        ("redis://host/0?protocol=7", "`protocol` has an invalid value"),
        ("redis://host/0?ssl_ca_certs=/ca.pem", "`ssl_ca_certs` is for rediss://"),
        ("rediss://host/0?ssl_cert_reqs=some", "`ssl_cert_reqs` has an invalid value"),
        ("redis://:secret@host:0/0", "its port is 0"),
        ("redis://a..b/0", "its host is not a name"),
        (f"redis://:secret@{'a' * 70}/0", "its host is not a name"),
        ("redis://:secret@host/" + "9" * 5000, "database"),
        ("unix://", "names no socket"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_why_and_never_shown(url: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match="Redis URL") as caught:
        connect(url)
    assert reason in caught.value.message
    assert "secret" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize("url", ["redis://host:99999/0", "redis://host/0?decode_responses=1", "http://host"])
def test_the_queue_refuses_the_same_urls(url: str) -> None:
    from jobs.queue.celery_app import make_app

    with pytest.raises(InvalidInput, match="Redis URL"):
        make_app(url)


def test_a_key_of_another_type_is_named_or_counted_among_ours(valkey: ValkeyProcess) -> None:
    with valkey.client() as client:
        client.flushall()
        store, spec = connect(valkey.url), new_job()
        store.submissions.create(spec)
        client.delete(keys.JOBS, JobKeys(spec.id).meta)
        for name in (keys.JOBS, JobKeys(spec.id).meta, queue_name("demo")):
            client.set(name, "something else")
        for what, name in (
            (lambda: store.jobs.newest(1), keys.JOBS),
            (lambda: store.submissions.create(new_job("job-2")), keys.JOBS),
            (lambda: store.control.request_cancel(spec.id), JobKeys(spec.id).meta),
            (lambda: CeleryHints(valkey.url).send("demo", [ShardRef(spec.id, 0)]), queue_name("demo")),
        ):
            with pytest.raises((StoreUnavailable, RecordDamaged)) as caught:
                what()
            assert name in caught.value.message
            assert caught.value.hint and "\n" not in str(caught.value)
        client.delete(keys.FORMAT)
        client.rpush(keys.FORMAT, "something else")
        with pytest.raises(RecordDamaged, match=f"record {keys.FORMAT} cannot be read"):
            connect(valkey.url)
        client.flushall()


def test_a_database_that_does_not_exist_is_an_error(valkey: ValkeyProcess) -> None:
    with pytest.raises(StoreUnavailable, match="no database of that number"):
        connect(valkey.url.removesuffix("/0") + "/999")


def test_a_server_that_drops_keys_when_full_is_refused(tmp_path: Path) -> None:
    options = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with running_valkey(tmp_path, options=options) as server, pytest.raises(StoreUnavailable, match="allkeys-lru"):
        connect(server.url)


def test_a_read_only_replica_is_refused(valkey: ValkeyProcess, tmp_path: Path) -> None:
    options = ("--replicaof", "127.0.0.1", str(valkey.port), "--masterauth", valkey.password)
    with running_valkey(tmp_path, options=options) as server, pytest.raises(StoreUnavailable, match="read-only"):
        connect(server.url)


def test_a_primary_that_becomes_a_replica_says_so_at_the_next_write(tmp_path: Path, valkey: ValkeyProcess) -> None:
    with running_valkey(tmp_path) as server, server.client() as client:
        store = connect(server.url)
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())
        with pytest.raises(StoreUnavailable, match="read-only replica"):
            store.submissions.create(new_job())


def test_a_full_server_refuses_writes_loudly(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as server, server.client() as client:
        store, spec = connect(server.url), new_job(lines=2)
        store.submissions.create(spec)
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreFull, match="memory limit"):
            store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0))
        assert store.jobs.get(spec.id).spec == spec
        client.config_set("maxmemory", 0)
        store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0))


def test_a_server_whose_disk_is_full_refuses_writes_loudly_can_be_read_and_goes_on_when_there_is_room(
    small_disk: Callable[[int], Path],
) -> None:
    with (
        running_valkey(small_disk(100), appendonly=True, options=("--appendfsync", "everysec")) as server,
        server.client() as client,
    ):
        store, spec = connect(server.url), new_job(lines=2)
        store.submissions.create(spec)
        with suppress(redis.ResponseError):
            client.zadd(keys.WORKERS, {"host:1:gone": 1})  # whoever reads the list removes it
            for number in range(100):
                client.set(f"large-{number}", "x" * 10_000)
        with pytest.raises(StoreFull, match=r"cannot save its data and refuses writes: .*No space left on device"):
            store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0))
        assert store.jobs.get(spec.id).spec == spec
        assert store.fleet.workers() == []
        small_disk(10_000)
        assert client.waitaof(1, 0, 60_000)[0] == 1  # the server's own disk has all that this client wrote
        store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0))


def test_a_server_that_comes_up_meanwhile_can_be_waited_for(tmp_path: Path) -> None:
    server = ValkeyProcess(tmp_path)
    starter = threading.Timer(0.2, server.start)
    starter.start()
    try:
        connect(server.url, wait_seconds=20).ping()
    finally:
        starter.join()
        server.stop()


def test_a_store_goes_on_after_a_restart_with_its_data(tmp_path: Path) -> None:
    with running_valkey(tmp_path, appendonly=True) as server:
        store = connect(server.url)
        store.submissions.create(new_job())
        server.kill()
        with pytest.raises(StoreUnavailable, match="refused the connection"):
            store.ping()
        server.start()
        assert store.jobs.get("job-1").spec == new_job()


def test_a_server_that_vanished_in_mid_call_is_retried(tmp_path: Path) -> None:
    with running_valkey(tmp_path, appendonly=True) as server:
        store = connect(server.url)
        store.submissions.create(new_job())
        server.kill()
        restart = threading.Timer(0.1, server.start)
        restart.start()
        try:
            assert store.jobs.get("job-1").id == "job-1"  # within the client's own retries
        finally:
            restart.join()


def test_the_default_of_tls_is_to_verify() -> None:
    from jobs.queue.celery_app import make_app

    assert make_app("rediss://127.0.0.1:1/0").conf.broker_use_ssl["ssl_cert_reqs"] == ssl.CERT_REQUIRED
