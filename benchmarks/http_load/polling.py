"""Many clients, each of which polls a batch once per second."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence

from benchmarks.http_load.service import ServiceUnderLoad, connection_to, create_batch, percentiles
from benchmarks.http_load.uploads import lines_of, upload

CLIENTS_PER_BATCH = 10


def measure_polling(service: ServiceUnderLoad, clients: int, seconds: int) -> None:
    """Poll one batch per ten clients, once per second and client."""
    file = upload(service, [next(lines_of(1))])
    connection = connection_to(service)
    batches = [create_batch(connection, file) for _ in range(max(clients // CLIENTS_PER_BATCH, 1))]
    before = service.http.cpu_times()
    waits = asyncio.run(poll(service.port, [batches[number % len(batches)] for number in range(clients)], seconds))
    after = service.http.cpu_times()
    used = after.user + after.system - before.user - before.system
    print(f"{clients:,} clients for {seconds} s: {len(waits):,} answers, {percentiles(waits)}")
    print(f"  processor time of the HTTP process: {used / seconds:.2f} cores")


async def poll(port: int, batches: Sequence[str], seconds: int) -> list[float]:
    """Ask for each batch once per second on a connection of its own. Returns the seconds of every answer."""
    waits: list[float] = []

    async def one_client(number: int, batch: str) -> None:
        await asyncio.sleep(number / len(batches))  # clients do not start at the same moment
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = f"GET /v1/batches/{batch} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for _ in range(seconds):
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if not head.startswith(b"HTTP/1.1 200") or length is None:
                raise RuntimeError(head.decode())
            await reader.readexactly(int(length[1]))
            took = time.perf_counter() - began
            waits.append(took)
            await asyncio.sleep(max(1 - took, 0))
        writer.close()

    await asyncio.gather(*(one_client(number, batch) for number, batch in enumerate(batches)))
    return waits
