"""What is lost, and what is done twice, when something dies in the middle of a fly scan: nothing.

::

    python -m tests.measures.never_lost [kills|redis-kills|terms|tiled|redis|proxy|chaos|late|drop|all]
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bluesky_azint.callbacks.transports import RedisPublisher, zmq_publisher
from bluesky_azint.callbacks.worker import BackgroundCallback
from tests.measures.beamline import (
    ServiceProcess,
    TiledServer,
    service_process,
    tiled_client,
    tiled_server,
)
from tests.measures.comparison import differences, ended, undisturbed
from tests.measures.fly_scan import FlyScan, Lossy
from tests.servers import Server, redis_server, wait_until, zmq_proxy

FRAMES, SECONDS, KILLS = 2000, 100.0, 20
SHORT_FRAMES, SHORT_SECONDS = 400, 20.0
LATE_SECONDS = 10.0
END_SECONDS = 150.0


@dataclass
class Case:
    """What one trial was about, and what came of it."""

    name: str
    figures: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "ok" if not self.wrong else f"WRONG: {'; '.join(self.wrong)}"
        figures = ", ".join(f"{value} {key}" for key, value in self.figures.items())
        return f"{self.name:34s} {verdict}; {figures}"


@contextmanager
def in_thread(action: Callable[[], object]) -> Iterator[threading.Thread]:
    """Something that goes on beside; it is waited for."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
    if failed:
        raise failed[0]


@contextmanager
def folder(cases: list[Case]) -> Iterator[Path]:
    """A new one, which is kept where something goes wrong."""
    path = Path(tempfile.mkdtemp(prefix="never-lost-"))
    print(f"  in {path}", file=sys.stderr)
    yield path
    if not any(case.wrong for case in cases):
        shutil.rmtree(path)


def both(*takers: Callable[[str, Any], object]) -> Callable[[str, Any], None]:
    """Hand documents to several."""

    def take(name: str, doc: Any) -> None:
        for taker in takers:
            taker(name, doc)

    return take


def raw_writer(stack: ExitStack, tiled: TiledServer) -> BackgroundCallback:
    """Writes raw runs into Tiled, as a RunEngine does, and in time."""
    from bluesky_tiled_plugins import TiledWriter

    client = stack.enter_context(tiled_client(tiled))
    return stack.enter_context(
        BackgroundCallback(TiledWriter(client["raw"], batch_size=100), name="raw")
    )


def finish(
    case: Case, service: ServiceProcess, scan: FlyScan, tiled: TiledServer | None, path: Path
) -> Case:
    """Wait for the end of a run, and compare it with the undisturbed one."""
    begin = time.monotonic()
    try:
        wait_until(lambda: _later(ended(service, scan, tiled)), END_SECONDS)
    except AssertionError as error:
        case.wrong.append(f"not ended: {error} {service.health()}")
    case.figures["s from stop to end"] = f"{time.monotonic() - begin:.1f}"
    time.sleep(1.5)
    case.wrong += differences(service, scan, tiled, undisturbed(scan, path / "undisturbed"))
    if health := service.health():
        case.figures["frames read by the last process"] = str(health["frames_out"])
    return case


def _later(done: bool) -> bool:
    if not done:
        time.sleep(0.3)
    return done


@dataclass
class Lives:
    """Kills a service at random moments, and starts it again each time."""

    service: ServiceProcess
    reduced: int = 0
    recoveries: list[float] = field(default_factory=list)

    def kill(self, moments: list[float], number: int = 9) -> None:
        """Kill it at some moments, in seconds from now."""
        begin = time.monotonic()
        for moment, following in zip(moments, [*moments[1:], moments[-1] + 20.0], strict=True):
            time.sleep(max(0.0, begin + moment - time.monotonic()))
            self.reduced += (self.service.health() or {"frames_out": 0})["frames_out"]
            self.service.end(number)
            died = time.monotonic()
            self.service.start()
            while time.monotonic() < begin + following - 0.1:
                health = self.service.health()
                if health and health["state"] == "running" and not health["documents_pending"]:
                    self.recoveries.append(time.monotonic() - died)
                    break
                time.sleep(0.05)

    def tell(self, case: Case, frames: int) -> None:
        """Tell what became of it."""
        self.reduced += (self.service.health() or {"frames_out": 0})["frames_out"]
        times = sorted(self.recoveries)
        case.figures["recoveries"] = str(len(times))
        if times:
            middle, longest = times[len(times) // 2], times[-1]
            case.figures["s to recover (median, most)"] = f"{middle:.1f}, {longest:.1f}"
        case.figures["frames read again, at least"] = str(self.reduced - frames)


def kills(
    frames: int = FRAMES,
    seconds: float = SECONDS,
    number: int = KILLS,
    *,
    bus: str = "zmq",
    seed: int = 1,
    signal: int = 9,
    engine: str = "scipy",
) -> Case:
    """The service killed at random moments."""
    case = Case(f"service killed {number}x ({bus}, signal {signal})")
    dice = random.Random(seed)
    moments = sorted(dice.uniform(0, seconds) for _ in range(number))
    with ExitStack() as stack:
        path = stack.enter_context(folder([case]))
        tiled = None
        if bus == "zmq":
            tiled = stack.enter_context(tiled_server(path / "tiled", path))
            proxy = stack.enter_context(zmq_proxy())
            publish = both(
                stack.enter_context(zmq_publisher(proxy.inside)), raw_writer(stack, tiled)
            )
            source = {"kind": "zmq", "address": proxy.outside}
        else:
            redis = stack.enter_context(redis_server(path))
            publish = both(stack.enter_context(closing(RedisPublisher(redis.url))))
            source = {"kind": "redis", "url": redis.url}
        service = stack.enter_context(service_process(path, source, tiled=tiled, engine=engine))
        service.start()
        service.wait()
        scan = FlyScan(
            path=path / "raw.h5", frames=frames, seconds=seconds, publish=publish, seed=seed
        )
        lives = Lives(service)
        with in_thread(scan.run):
            lives.kill(moments, signal)
        finish(case, service, scan, tiled, path)
        lives.tell(case, frames)
    return case


def server_killed(
    which: str,
    frames: int = SHORT_FRAMES,
    seconds: float = SHORT_SECONDS,
    *,
    down: float = 3.0,
    absent: bool = False,
) -> Case:
    """A server killed in the middle of a scan, and started again; or away from the start."""
    case = Case(f"{which} {'away at the start' if absent else 'killed in the middle'}")
    with ExitStack() as stack:
        path = stack.enter_context(folder([case]))
        tiled = stack.enter_context(tiled_server(path / "tiled", path))
        victim: Server
        if which == "redis":
            victim = redis = stack.enter_context(redis_server(path))
            publish = both(stack.enter_context(closing(RedisPublisher(redis.url))))
            source = {"kind": "redis", "url": redis.url}
        else:
            victim = proxy = stack.enter_context(zmq_proxy())
            publish = both(stack.enter_context(zmq_publisher(proxy.inside)))
            source = {"kind": "zmq", "address": proxy.outside}
            if which == "tiled":
                victim = tiled
            else:
                publish = both(publish, raw_writer(stack, tiled))
        service = stack.enter_context(service_process(path, source, tiled=tiled))
        if absent:
            victim.kill()
        service.start()
        if absent and which != "tiled":
            time.sleep(5.0)
        else:
            service.wait()
        scan = FlyScan(path=path / "raw.h5", frames=frames, seconds=seconds, publish=publish)
        with in_thread(scan.run):
            time.sleep(seconds / 2)
            if not absent:
                victim.kill()
                time.sleep(down)
            victim.start()
        finish(case, service, scan, tiled, path)
    return case


def chaos(seed: int = 1, frames: int = 600, seconds: float = 60.0) -> Case:
    """The service, Tiled and Redis killed by turns, at random, and each started again."""
    case = Case("service, Tiled and Redis by turns")
    dice = random.Random(seed)
    with ExitStack() as stack:
        path = stack.enter_context(folder([case]))
        tiled = stack.enter_context(tiled_server(path / "tiled", path))
        redis = stack.enter_context(redis_server(path))
        publish = stack.enter_context(closing(RedisPublisher(redis.url)))
        source = {"kind": "redis", "url": redis.url}
        service = stack.enter_context(service_process(path, source, tiled=tiled))
        service.start()
        service.wait()
        scan = FlyScan(
            path=path / "raw.h5", frames=frames, seconds=seconds, publish=publish, seed=seed
        )
        with in_thread(scan.run) as detector:
            killed = []
            while detector.is_alive():
                time.sleep(dice.uniform(1.0, 5.0))
                victims: list[ServiceProcess | Server] = [service, tiled, redis]
                victim = dice.choice(victims)
                killed.append(type(victim).__name__)
                if isinstance(victim, ServiceProcess):
                    victim.end()
                else:
                    victim.kill()
                    time.sleep(dice.uniform(0.0, 3.0))
                victim.start()
        case.figures["kills"] = str(len(killed))
        finish(case, service, scan, tiled, path)
    return case


def late(how: str, frames: int = SHORT_FRAMES, seconds: float = 5.0) -> Case:
    """Frames that come later than they are announced."""
    case = Case(f"raw {how} {LATE_SECONDS:g} s late")
    with ExitStack() as stack:
        path = stack.enter_context(folder([case]))
        tiled = stack.enter_context(tiled_server(path / "tiled", path))
        proxy = stack.enter_context(zmq_proxy())
        publish = stack.enter_context(zmq_publisher(proxy.inside))
        source = {"kind": "zmq", "address": proxy.outside}
        service = stack.enter_context(service_process(path, source, tiled=tiled))
        service.start()
        service.wait()
        lateness = {"hidden" if how == "file" else "delay": LATE_SECONDS}
        scan = FlyScan(
            path=path / "raw.h5", frames=frames, seconds=seconds, publish=publish,
            **lateness,  # type: ignore[arg-type]
        )  # fmt: skip
        scan.run()
        finish(case, service, scan, tiled, path)
    return case


def drop(
    seeds: int = 5, frames: int = SHORT_FRAMES, seconds: float = 8.0, share: float = 0.3
) -> list[Case]:
    """Documents dropped on their way to the service, of several scans."""
    always: list[tuple[str, ...]] = [(), ("start",), ("descriptor",), ("stream_resource",)]
    always += [("stop",), ("start", "stop"), ("start", "descriptor", "stream_resource", "stop")]
    kinds = [(always[seed % len(always)], seed) for seed in range(1, seeds + len(always))]
    cases: list[Case] = []
    with ExitStack() as stack:
        path = stack.enter_context(folder(cases))
        tiled = stack.enter_context(tiled_server(path / "tiled", path))
        proxy = stack.enter_context(zmq_proxy())
        publish = stack.enter_context(zmq_publisher(proxy.inside))
        raw = raw_writer(stack, tiled)
        source = {"kind": "zmq", "address": proxy.outside}
        service = stack.enter_context(service_process(path, source, tiled=tiled))
        service.start()
        service.wait()
        for kind, seed in kinds:
            lossy = Lossy(publish, share, seed, kind)
            scan = FlyScan(
                path=path / f"raw{seed}.h5", frames=frames, seconds=seconds, seed=seed,
                publish=both(lossy, raw),
            )  # fmt: skip
            scan.run()
            names = ", ".join(kind) or "by chance"
            case = Case(f"{100 * share:.0f} % dropped ({names})")
            case.figures["documents dropped"] = (
                f"{len(lossy.dropped)} of {len(lossy.dropped) + len(lossy.passed)}"
            )
            cases.append(finish(case, service, scan, tiled, path / f"of{seed}"))
    return cases


MEASURES: dict[str, Callable[[], list[Case]]] = {
    "kills": lambda: [kills()],
    "redis-kills": lambda: [kills(bus="redis")],
    "terms": lambda: [kills(400, 30.0, 5, signal=15)],
    "tiled": lambda: [server_killed("tiled"), server_killed("tiled", absent=True)],
    "redis": lambda: [server_killed("redis"), server_killed("redis", absent=True)],
    "proxy": lambda: [server_killed("proxy"), server_killed("proxy", absent=True)],
    "chaos": lambda: [chaos(seed) for seed in (1, 2)],
    "late": lambda: [late("file"), late("frames")],
    "drop": drop,
}


def main() -> int:
    """Print what came of it; 1 if anything was lost."""
    logging.disable(logging.CRITICAL)
    wanted = sys.argv[1:] or ["all"]
    cases = []
    for name, measure in MEASURES.items():
        if name in wanted or "all" in wanted:
            found = measure()
            print("\n".join(map(str, found)), flush=True)
            cases += found
    return 1 if any(case.wrong for case in cases) else 0


if __name__ == "__main__":
    sys.exit(main())
