"""A server that wants TLS, a user and a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import InvalidInput, StoreUnavailable
from jobs.queue.celery_hints import CeleryHints
from jobs.records.job import ShardRef
from jobs.stores.connect import connect
from testing.environment.certificates import make_certificates
from testing.jobs.sample_jobs import new_job
from testing.processes.cluster import Cluster
from testing.processes.command_line import qwen_batch, write_jsonl
from tests.trouble.conftest import TlsServer


def test_a_worker_serves_a_job_over_tls_as_a_user_of_few_rights(
    tls_server: TlsServer, model_folder: Path, tmp_path: Path
) -> None:
    cluster = Cluster(tls_server.plain, "tls", model_folder, tmp_path)
    with cluster.worker(redis_url=tls_server.url()) as worker:
        worker.wait_until(cluster.store, "idle")
        job_id = cluster.submit(30)
        cluster.wait_until_ended(job_id)
        cluster.check_results(job_id, 30)
        assert tls_server.user_password not in worker.log
        assert "NOPERM" not in worker.log and "Traceback" not in worker.log


def test_every_command_reaches_a_server_over_tls(
    tls_server: TlsServer, plain_environment: dict[str, str], tmp_path: Path
) -> None:
    prompts = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": f"{number} + 1 ="} for number in range(20)])
    environment = plain_environment | {"QWEN_BATCH_REDIS_URL": tls_server.url()}
    submitted = qwen_batch("submit", prompts, env=environment)
    assert submitted.returncode == 0, submitted.stderr
    job_id = submitted.stdout.strip()
    for words in (["status", job_id], ["list"], ["workers"], ["cancel", job_id], ["delete", job_id]):
        done = qwen_batch(*words, env=environment)
        assert done.returncode == 0, done.stderr
        assert tls_server.user_password not in done.stdout + done.stderr


def test_hints_go_over_tls_too(tls_server: TlsServer) -> None:
    hints = CeleryHints(tls_server.url())
    hints.send("tls-hints", [ShardRef("job", 0), ShardRef("job", 1)])
    assert hints.depth("tls-hints") == 2
    assert CeleryHints(tls_server.plain.url).depth("tls-hints") == 2


def test_a_certificate_of_an_authority_that_is_not_trusted_is_refused(tls_server: TlsServer, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other").ca
    with pytest.raises(StoreUnavailable, match="TLS certificate that cannot be verified") as caught:
        connect(tls_server.url(other))
    assert "ssl_ca_certs" in caught.value.hint


def test_a_missing_file_of_authorities_is_named(tls_server: TlsServer, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"`ssl_ca_certs` of the Redis URL names .*none\.pem"):
        connect(tls_server.url(tmp_path / "none.pem"))


def test_a_certificate_for_another_host_is_refused(tls_server: TlsServer) -> None:
    elsewhere = tls_server.url().replace("127.0.0.1", "localhost")
    with pytest.raises(StoreUnavailable, match="TLS certificate that cannot be verified"):
        connect(elsewhere)
    with pytest.raises(StoreUnavailable, match="TLS certificate that cannot be verified"):
        CeleryHints(elsewhere).send("tls", [ShardRef("job", 0)])


def test_plain_redis_to_a_tls_port_says_so(tls_server: TlsServer) -> None:
    with pytest.raises(StoreUnavailable, match="rediss://"):
        connect(f"redis://:{tls_server.plain.password}@127.0.0.1:{tls_server.tls_port}/0")


def test_a_user_without_the_rights_is_told_so(tls_server: TlsServer) -> None:
    with tls_server.plain.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">sEcReT", "~*", "&*", "+@read", "+info", "+ping")
    with pytest.raises(StoreUnavailable, match="does not give this user the permissions") as caught:
        connect(f"redis://reader:sEcReT@127.0.0.1:{tls_server.plain.port}/0").submissions.create(new_job("of-a-reader"))
    assert "sEcReT" not in str(caught.value)
