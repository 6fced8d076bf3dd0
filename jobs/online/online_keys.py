"""Names of the keys of interactive requests. The keys of one model share a hash tag, so one BLPOP reads two lists.

| key | type | holds |
|---|---|---|
| `qwen-batch:{online:MODEL}:waiting` | list | requests that no worker has taken yet (JSON), next one first |
| `qwen-batch:{online:MODEL}:aborts:WORKER` | list | orders to one worker (JSON); expires |
| `qwen-batch:{online:MODEL}:workers` | sorted set | workers that take requests, scored by expiry (server's ms) |
| `qwen-batch:replies:SERVER` | stream | what workers say to one HTTP process (JSON); expires |
| `qwen-batch:online-server:SERVER` | string | exists while the HTTP process is alive; expires |
"""

from __future__ import annotations

from jobs.keys import PREFIX


def waiting(model: str) -> str:
    """Return the key of the list of requests that wait for a worker."""
    return f"{PREFIX}{{online:{model}}}:waiting"


def aborts(model: str, worker: str) -> str:
    """Return the key of the list of orders to one worker."""
    return f"{PREFIX}{{online:{model}}}:aborts:{worker}"


def workers(model: str) -> str:
    """Return the key of the sorted set of workers that take requests."""
    return f"{PREFIX}{{online:{model}}}:workers"


def replies(server: str) -> str:
    """Return the key of the stream of replies to one HTTP process."""
    return f"{PREFIX}replies:{server}"


def server(server_id: str) -> str:
    """Return the key that shows that an HTTP process is alive."""
    return f"{PREFIX}online-server:{server_id}"
