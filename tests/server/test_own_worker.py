"""`qwen-batch serve --with-worker`: one command for clients and browsers, with a server and a worker of its own."""

from __future__ import annotations

from pathlib import Path

import httpx

from testing.processes.valkey import ValkeyProcess
from tests.server.conftest import ServeProcess


def test_one_command_serves_clients_and_browsers(valkey: ValkeyProcess, tmp_path: Path) -> None:
    with ServeProcess(valkey, tmp_path, "--with-worker", redis_url="") as service:
        address = service.address
        client = service.client(max_retries=100)  # 503 while the worker loads its model
        answer = client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "What is 2 + 3?"}])
        assert answer.choices[0].message.content == "5"
        greeting, loading = service.log.splitlines()[:2]
        assert greeting == f"Serving {address}/v1 for clients, and {address}/ for browsers. Stop with Ctrl-C."
        assert loading == f"The worker is loading demo. {address}/fleet shows when it is ready."
        for page in (f"{address}/", f"{address}/fleet"):
            assert httpx.get(page).status_code == 200
