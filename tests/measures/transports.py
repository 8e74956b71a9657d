"""What the buses cost a RunEngine, what they carry, and what gets lost when Redis is killed.

::

    python -m tests.measures.transports
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bluesky_azint.callbacks.transports import (
    RedisPublisher,
    RedisSource,
    Source,
    ZmqSource,
    zmq_publisher,
)
from tests.servers import RedisServer, redis_server, wait_until, zmq_proxy

DOCUMENTS = 20_000
KILLS = 20
SECONDS = 120.0


@contextmanager
def running(source: Source, take: Callable[[str, dict[str, Any]], object]) -> Iterator[None]:
    """A source in a thread."""
    thread = threading.Thread(target=source.run, args=(take,))
    thread.start()
    try:
        wait_until(lambda: source.state == "connected")
        yield
    finally:
        source.stop()
        thread.join()


def event(number: int) -> dict[str, Any]:
    """An event as a RunEngine makes them, with ten readings."""
    readings = {f"motor{index}": np.float64(number) for index in range(10)}
    times = dict.fromkeys(readings, 1.7e9)
    return {"uid": "0" * 36, "seq_num": number, "data": readings, "timestamps": times}


def carried(publish: Callable[[str, Any], object], source: Source) -> tuple[float, float, int]:
    """Microseconds to hand over a document, documents per second of CPU, and how many are lost."""
    got: list[int] = []
    with running(source, lambda name, doc: got.append(doc["seq_num"])):

        def begun() -> bool:
            publish("event", event(-1))
            time.sleep(0.05)
            return bool(got)

        wait_until(begun)
        time.sleep(0.2)
        got.clear()
        cpu, handing = time.process_time(), 0.0
        for number in range(DOCUMENTS):
            begin = time.thread_time()
            publish("event", event(number))
            handing += time.thread_time() - begin
            if number % 100 == 0:
                time.sleep(0.01)  # a scan is no flood
        still = -1
        while still != len(got) < DOCUMENTS:
            still = len(got)
            time.sleep(1.0)
        cpu = time.process_time() - cpu
    return 1e6 * handing / DOCUMENTS, DOCUMENTS / cpu, DOCUMENTS - len(set(got))


def killed(server: RedisServer) -> tuple[int, int]:
    """How many documents are lost, and come twice, when Redis and the reader die at random."""
    dice = random.Random(1)
    got: list[int] = []
    positions = ["0-0"]
    publisher = RedisPublisher(server.url, "killed")
    with closing(publisher):
        for number in range(DOCUMENTS):
            publisher("event", event(number))
        for _ in range(KILLS):
            source = RedisSource(server.url, "killed", positions[-1], positions.append)
            with running(source, lambda name, doc: got.append(doc["seq_num"])):
                time.sleep(dice.uniform(0, 0.3))
                server.kill()
            server.start()
        publisher.flush(SECONDS)
        source = RedisSource(server.url, "killed", positions[-1], positions.append)
        with running(source, lambda name, doc: got.append(doc["seq_num"])):
            wait_until(lambda: got[-1] == DOCUMENTS - 1, SECONDS)
    return DOCUMENTS - len(set(got)), len(got) - len(set(got))


def main() -> int:
    """Print the figures; 1 if something is lost that must not be."""
    print(f"{DOCUMENTS} events of ten readings")
    print("bus      microseconds for the RunEngine   documents per second of CPU   lost")
    with tempfile.TemporaryDirectory() as directory:
        with zmq_proxy() as proxy, zmq_publisher(proxy.inside) as publisher:
            waits, rate, lost_by_zmq = carried(publisher, ZmqSource(proxy.outside))
            print(f"0MQ      {waits:30.0f}   {rate:27.0f}   {lost_by_zmq:4d}")
        with redis_server(Path(directory)) as server:
            with RedisPublisher(server.url) as appender:
                waits, rate, lost_by_redis = carried(appender, RedisSource(server.url))
            print(f"Redis    {waits:30.0f}   {rate:27.0f}   {lost_by_redis:4d}")
            lost, twice = killed(server)
    print(f"Redis and its reader killed {KILLS} times: {lost} lost, {twice} came twice")
    return 1 if lost_by_zmq or lost_by_redis or lost else 0


if __name__ == "__main__":
    sys.exit(main())
