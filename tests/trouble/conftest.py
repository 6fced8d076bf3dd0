"""Servers that tests trouble, and clusters over them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from testing.environment.certificates import Certificates, make_certificates
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from testing.processes.command_line import without_settings
from testing.processes.valkey import ValkeyProcess, free_port, running_valkey

# What a user needs who may do nothing else: docs/security.md shows the same rule.
ACL_RULE = "~qwen-batch* ~_kombu.* ~*.celery.pidbox &* +@all -@dangerous +info"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model."""
    folder = write_byte_level_tokenizer(tmp_path_factory.mktemp("model") / "tiny")
    return write_tiny_checkpoint(folder, vocab_size=257)


StartServer = Callable[..., ValkeyProcess]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers that keep every write (append-only, each synced), and ends them with the test."""
    with ExitStack() as running:

        def start(*options: str) -> ValkeyProcess:
            folder = tmp_path / f"server-{secrets.token_hex(4)}"
            folder.mkdir()
            return running.enter_context(running_valkey(folder, appendonly=True, options=options))

        yield start


@dataclass(frozen=True)
class TlsServer:
    """Debian's Redis with TLS beside its plain port, and a user of few rights."""

    plain: ValkeyProcess
    tls_port: int
    certificates: Certificates
    user_password: str

    def url(self, ca: Path | None = None) -> str:
        """For that user, over TLS; `ca` is what the client trusts, the server's own authority by default."""
        trusted = ca or self.certificates.ca
        return f"rediss://qwen:{self.user_password}@127.0.0.1:{self.tls_port}/0?ssl_ca_certs={trusted}"


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory, redis_server_binary: Path) -> Iterator[TlsServer]:
    folder = tmp_path_factory.mktemp("tls")
    certificates, port = make_certificates(folder / "certificates"), free_port()
    tls = ("--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(certificates.ca))
    own = ("--tls-cert-file", str(certificates.certificate), "--tls-key-file", str(certificates.key))
    with running_valkey(folder, binary=redis_server_binary, options=(*tls, *own)) as server:
        password = secrets.token_hex(8)
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "qwen", "on", f">{password}", *ACL_RULE.split())
        yield TlsServer(server, port, certificates, password)


@pytest.fixture
def plain_environment(tmp_path: Path) -> dict[str, str]:
    """This process's environment without our settings, on a plain terminal of 80 columns."""
    return without_settings() | {"COLUMNS": "80", "TERM": "dumb", "XDG_STATE_HOME": str(tmp_path / "state")}
