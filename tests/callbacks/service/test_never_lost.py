"""Nothing is lost, whoever is killed; in short what `tests.measures.never_lost` does at length."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bluesky_azint.callbacks import EmbeddedTiled
from bluesky_azint.callbacks.service import service as service_module
from bluesky_azint.callbacks.service.config import ServiceConfig, read_config
from bluesky_azint.callbacks.service.journal import Journal
from bluesky_azint.callbacks.service.pieces import _note_position
from bluesky_azint.callbacks.service.runs import RunIndex
from bluesky_azint.callbacks.service.service import Service
from bluesky_azint.callbacks.transports import RedisPublisher
from bluesky_azint.errors import StoreError
from tests.callbacks.raw_files import announced_run
from tests.callbacks.service import scripted
from tests.callbacks.service.scripted import Documents, configured
from tests.measures.beamline import GEOMETRY, images, service_process
from tests.measures.comparison import columns, differences, ended, undisturbed
from tests.measures.fly_scan import FlyScan, Lossy
from tests.servers import redis_server, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    GEOMETRY.to_poni(tmp_path / "default.poni")
    return tmp_path


@contextmanager
def running(config: ServiceConfig, documents: Documents) -> Iterator[Service]:
    """A service in this process that is given these documents; stopped afterwards."""
    scripted.documents[:] = documents
    service = Service(config)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield service
    finally:
        service.stop()
        thread.join(60)
        assert not thread.is_alive()


def state_of(service: Service, uid: str) -> str:
    known = service._journal.run(uid)
    return known.state if known else "unknown"


def test_the_service_is_killed(tmp_path: Path) -> None:
    dice = random.Random(2)
    with (
        redis_server(tmp_path) as redis,
        closing(RedisPublisher(redis.url)) as publish,
        service_process(tmp_path, {"kind": "redis", "url": redis.url}) as service,
    ):
        service.start()
        scan = FlyScan(path=tmp_path / "raw.h5", frames=200, seconds=4.0, publish=publish)
        detector = threading.Thread(target=scan.run)
        detector.start()
        for _ in range(3):
            time.sleep(dice.uniform(0.8, 1.4))
            service.end()
            service.start()
        detector.join()
        wait_until(lambda: ended(service, scan, None), 60.0)
        assert differences(service, scan, None, undisturbed(scan, tmp_path / "expected")) == []
        assert service.end(15) == 0


def test_redis_is_killed(folder: Path) -> None:
    with redis_server(folder) as redis, closing(RedisPublisher(redis.url)) as publish:
        path = configured(folder).path
        text = path.read_text()
        begin, end = text.index("[source]"), text.index("[calibrations]")
        text = f'{text[:begin]}[source]\nkind = "redis"\nurl = "{redis.url}"\n{text[end:]}'
        path.write_text(text + '\n[files]\nroots = ["."]\n')
        scan = FlyScan(path=folder / "raw.h5", frames=60, seconds=1.5, publish=publish)
        with running(read_config(path), []) as service:
            detector = threading.Thread(target=scan.run)
            detector.start()
            wait_until(lambda: service.status().frames_out > 10)
            redis.kill()
            redis.start()
            detector.join()
            wait_until(lambda: state_of(service, scan.uid) == "done", 60.0)
    (found,) = (folder / "state/patterns").iterdir()
    assert len(columns(found)["frames/seq_num"]) == 60
    np.testing.assert_array_equal(columns(found)["frames/seq_num"], np.arange(1, 61))


@pytest.mark.parametrize("always", [("start",), ("descriptor", "stop")])
def test_documents_are_dropped(
    tiled: EmbeddedTiled, folder: Path, always: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bluesky_tiled_plugins import TiledWriter

    documents = announced_run(folder / "raw.h5", images(0, 36, 1), step=1)
    writer = TiledWriter(tiled.raw, batch_size=100)
    arrived: Documents = []
    lossy = Lossy(lambda name, doc: arrived.append((name, doc)), 0.3, len(always), always)
    for name, doc in documents:
        writer(name, doc)
        lossy(name, doc)
    assert len(lossy.dropped) > 5
    address, _, key = tiled.uri.partition("?api_key=")
    monkeypatch.setenv("TILED_KEY", key)
    config = configured(folder, "[tiled]", f'uri = "{address}"', 'api_key_env = "TILED_KEY"')
    with running(config, arrived) as service:
        wait_until(lambda: state_of(service, documents[0][1]["uid"]) == "done", 60.0)
    (found,) = (folder / "state/patterns").iterdir()
    np.testing.assert_array_equal(columns(found)["frames/seq_num"], np.arange(1, 37))


class SlowSink:
    """A Tiled server that takes documents when it is let."""

    let = threading.Event()

    def __init__(self, *_: object, **__: object) -> None:
        self.given, self.runs = 0, frozenset[str]()

    @property
    def done(self) -> int:
        return self.given if self.let.is_set() else 0

    def __call__(self, name: str, doc: Any) -> None:
        self.given += 1


def test_a_run_has_not_ended_before_tiled_has_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "TiledSink", SlowSink)
    documents = announced_run(folder / "raw.h5", images(0, 8, 1), step=4)
    uid = documents[0][1]["uid"]
    config = configured(folder, "[tiled]", 'uri = "http://127.0.0.1:9"', 'raw = ""')
    SlowSink.let.clear()
    with running(config, documents) as service:
        wait_until(lambda: service._endings.is_settling(uid))
        time.sleep(0.5)
        assert state_of(service, uid) == "open"
    with running(config, []) as service:
        wait_until(lambda: service._endings.is_settling(uid))
        assert service.status().frames_out == 0
        assert state_of(service, uid) == "open"
        SlowSink.let.set()
        wait_until(lambda: state_of(service, uid) == "done")
        assert uid not in service._endings


def test_documents_that_come_at_once_find_their_runs(folder: Path) -> None:
    documents = announced_run(folder / "raw.h5", images(0, 8, 1), step=1)
    config = configured(folder)
    with running(config, documents[:4]) as service:
        wait_until(lambda: service.status().frames_out == 1)
    scripted.documents.clear()
    again = Service(config)
    again._worker.callback = lambda name, doc: None  # it is busy
    again._source.stop()
    again.run()
    assert again._index.run_of(*documents[5]) == documents[0][1]["uid"]


def test_runs_are_forgotten_while_others_begin() -> None:
    index, ended = RunIndex(), threading.Event()

    def begin() -> None:
        for number in range(20_000):
            index.take("resource", {"uid": f"r{number}"}, "stays")
        ended.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        thread = threading.Thread(target=begin)
        thread.start()
        while not ended.is_set():
            index.forget(["gone"])
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert index.run_of("datum", {"resource": "r1"}) == "stays"


def test_a_journal_that_takes_nothing_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, full = Journal.append, StoreError("The disk is full.")

    def append(self: Journal, uid: str, name: str, doc: Any) -> None:
        if name in ("stream_datum", "stop"):
            self.lacking.add(uid)
            raise full
        keep(self, uid, name, doc)

    monkeypatch.setattr(Journal, "append", append)
    documents = announced_run(folder / "raw.h5", images(0, 8, 1), step=4)
    uid = documents[0][1]["uid"]
    with running(configured(folder), documents) as service:
        wait_until(lambda: state_of(service, uid) == "done")
        assert service.status().frames_out == 8
        assert not service._journal.lacking


def test_a_stream_is_read_again_from_where_the_journal_lacks_something(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    with closing(journal):
        _note_position(journal, "position", "1-0")
        journal._database.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError):
            journal.append("a", "start", {"uid": "a"})
        _note_position(journal, "position", "2-0")
        journal._database.execute("PRAGMA query_only = OFF")
        _note_position(journal, "position", "3-0")
        assert journal.fact("position") == "1-0"
        journal.end("a", complete=True)
        _note_position(journal, "position", "4-0")
        assert journal.fact("position") == "4-0"
