"""Each frame has one row, whatever is lost on the way and whoever is killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bluesky_azint import Detector, Geometry, Integrator, Recipe
from bluesky_azint.callbacks import EmbeddedTiled, Reducer, reduced_runs
from bluesky_azint.callbacks.service.service import Service
from tests.callbacks.raw_files import announced_run
from tests.callbacks.service import scripted
from tests.callbacks.service.scripted import Documents, configured

FRAMES = np.random.default_rng(3).poisson(2, (40, 30, 40)).astype(np.uint16)
GEOMETRY = Geometry(
    detector=Detector(1e-4, 1e-4, shape=(30, 40)), dist=0.1, poni1=0.001, poni2=0.002,
    wavelength=1e-10,
)  # fmt: skip
RECIPE = Recipe(npt=50, unit="q_nm^-1", error_model="poisson")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    GEOMETRY.to_poni(tmp_path / "default.poni")
    return tmp_path


@contextmanager
def running(config: Any, documents: Documents) -> Iterator[Service]:
    """A service that is given these documents; stopped afterwards."""
    scripted.documents[:] = documents
    service = Service(config)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(service.run()))
    thread.start()
    try:
        yield service
    finally:
        service.stop()
        thread.join(60)
        assert codes == [0]


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rows(path: Path) -> Any:
    (file,) = path.glob("*.nxs")
    with h5py.File(file) as opened:
        return opened["entry/data/I"][()], opened["entry/frames/seq_num"][()]


@pytest.fixture
def documents(folder: Path) -> Documents:
    return announced_run(folder / "raw.h5", FRAMES, step=4)


@pytest.fixture
def expected(folder: Path, documents: Documents) -> Any:
    """The undisturbed patterns."""
    with Reducer(
        lambda name, doc: None, recipe=RECIPE, default=GEOMETRY, engine="scipy",
        directory=folder / "undisturbed",
    ) as reducer:  # fmt: skip
        for name, doc in documents:
            reducer(name, doc)
    return rows(folder / "undisturbed")


def state_of(service: Service, uid: str) -> str:
    known = service._journal.run(uid)
    return known.state if known else "unknown"


def test_a_run_is_reduced(folder: Path, documents: Documents, expected: Any) -> None:
    uid = documents[0][1]["uid"]
    with running(configured(folder), documents) as service:
        wait_for(lambda: state_of(service, uid) == "done")
        status = service.status()
        assert (status.state, status.frames_in, status.frames_out) == ("running", 40, 40)
        assert (status.frames_behind, status.frames_refused, status.runs_open) == (0, 0, 0)
        assert not list(service._journal.documents(uid))
    for found, right in zip(rows(folder / "state/patterns"), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_a_service_that_stopped_goes_on(folder: Path, documents: Documents, expected: Any) -> None:
    uid = documents[0][1]["uid"]
    config = configured(folder)
    with running(config, documents[:7]) as service:
        wait_for(lambda: service.status().frames_out == 16)
        assert service.status().runs_open == 1
    with running(config, documents[7:]) as service:
        wait_for(lambda: state_of(service, uid) == "done")
        assert service.status().frames_out == 24
    for found, right in zip(rows(folder / "state/patterns"), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_rows_between_those_announced_are_found(
    folder: Path, documents: Documents, expected: Any
) -> None:
    uid = documents[0][1]["uid"]
    lossy = [document for number, document in enumerate(documents) if number not in (3, 5, 6, 12)]
    with running(configured(folder), lossy) as service:
        wait_for(lambda: state_of(service, uid) == "done")
    for found, right in zip(rows(folder / "state/patterns"), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_a_file_may_come_late(folder: Path, documents: Documents, expected: Any) -> None:
    uid = documents[0][1]["uid"]
    (folder / "raw.h5").rename(folder / "elsewhere.h5")
    with running(configured(folder), documents) as service:
        wait_for(lambda: uid in service._endings)
        assert service.status().frames_out == 0
        (folder / "elsewhere.h5").rename(folder / "raw.h5")
        wait_for(lambda: state_of(service, uid) == "done")
    for found, right in zip(rows(folder / "state/patterns"), expected, strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("again", [False, True], ids=["at the next start", "with a document"])
def test_what_never_comes_is_given_up_and_may_come_after_all(
    folder: Path, documents: Documents, expected: Any, again: bool
) -> None:
    uid = documents[0][1]["uid"]
    (folder / "raw.h5").rename(folder / "elsewhere.h5")
    config = configured(folder)
    with running(config, documents) as service:
        wait_for(lambda: state_of(service, uid) == "incomplete")
        assert any(uid in trouble for trouble in service.status().troubles)
    (folder / "elsewhere.h5").rename(folder / "raw.h5")
    with running(config, documents[-1:] if again else []) as service:
        wait_for(lambda: state_of(service, uid) == "done")
    for found, right in zip(rows(folder / "state/patterns"), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_a_frame_that_does_not_fit_does_not_hold_up_the_end(folder: Path) -> None:
    documents = announced_run(folder / "raw.h5", FRAMES[:8, 1:], step=4)
    uid = documents[0][1]["uid"]
    with running(configured(folder), documents) as service:
        wait_for(lambda: state_of(service, uid) == "done", 2.5)
        assert service.status().frames_refused == 8


def test_rubbish_is_left_out(folder: Path, documents: Documents, expected: Any) -> None:
    uid = documents[0][1]["uid"]
    rubbish: Documents = [
        ("event", {"descriptor": "nobody"}),
        ("stream_datum", documents[3][1] | {"descriptor": "unknown"}),
        ("nothing", {}),
        ("start", {"uid": 7}),
    ]
    with running(configured(folder), [*rubbish, *documents]) as service:
        wait_for(lambda: state_of(service, uid) == "done")
        assert len(service.status().troubles) == 4
    for found, right in zip(rows(folder / "state/patterns"), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_what_the_bus_has_lost_is_in_the_raw_catalogue(
    tiled: EmbeddedTiled,
    folder: Path,
    documents: Documents,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bluesky_tiled_plugins import TiledWriter

    writer = TiledWriter(tiled.raw)
    for name, doc in documents:
        writer(name, doc)
    uid = documents[0][1]["uid"]
    address, _, key = tiled.uri.partition("?api_key=")
    monkeypatch.setenv("TILED_KEY", key)
    monkeypatch.setattr("bluesky_azint.callbacks.service.upkeep.RESTORE_SECONDS", 0.5)
    reduced = f"reduced-{uid}"  # which is made
    config = configured(
        folder, "[tiled]", f'uri = "{address}"', 'api_key_env = "TILED_KEY"',
        f'reduced = "{reduced}"',
    )  # fmt: skip
    for lossy in ([], documents[-1:], documents[1:4], documents[2:-1]):
        for path in (folder / "state/patterns").glob("*"):
            path.unlink()
        for path in (folder / "state").glob("journal*"):
            path.unlink()
        with running(config, lossy) as service:
            service._journal.set_fact("first-start", repr(documents[0][1]["time"] - 1))
            wait_for(lambda: state_of(service, uid) == "done")
        for found, right in zip(rows(folder / "state/patterns"), expected, strict=True):
            np.testing.assert_array_equal(found, right)
        (run,) = reduced_runs(tiled.client[reduced], uid)
        assert run.metadata["stop"]["exit_status"] == "success"
        np.testing.assert_array_equal(run["primary"]["intensity"].read(), expected[0])


def test_a_disk_that_was_full_is_written_to_again(
    folder: Path, documents: Documents, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bluesky_azint.io.nexus import AzintWriter

    real, full = AzintWriter.write, [True]

    def write(self: AzintWriter, rows: Any, *args: Any, **options: Any) -> None:
        if full and 20 in rows:
            raise OSError(28, "No space left on device")
        real(self, rows, *args, **options)

    monkeypatch.setattr(AzintWriter, "write", write)
    uid = documents[0][1]["uid"]
    with running(configured(folder), documents) as service:
        wait_for(lambda: uid in service._endings)
        assert service.status().frames_out < 40
        full.clear()
        wait_for(lambda: state_of(service, uid) == "done")
    for found, right in zip(rows(folder / "state/patterns"), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_a_repeated_event_that_the_bus_has_lost_is_looked_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = announced_run(folder / "raw.h5", FRAMES[:5], step=5)
    *head, (_, datum), (_, stop) = documents
    spans = [((0, 2), 1), ((2, 3), 2), ((3, 5), 3)]  # the second event is taken again
    datums: Documents = [
        (
            "stream_datum",
            {
                **datum,
                "uid": f"{datum['uid']}-{number}",
                "indices": {"start": start, "stop": end},
                "seq_nums": {"start": event, "stop": event + end - start},
            },
        )
        for number, ((start, end), event) in enumerate(spans)
    ]
    stopped: Documents = [("stop", {**stop, "num_events": {"primary": 4}})]
    monkeypatch.setattr(
        "bluesky_azint.callbacks.service.upkeep.Upkeep._documents_of",
        lambda self, uid: [*head, *datums, *stopped],
    )
    uid = documents[0][1]["uid"]
    with running(configured(folder), [*head, datums[0], datums[2], *stopped]) as service:
        wait_for(lambda: state_of(service, uid) == "done")
    integrator = Integrator.from_recipe(GEOMETRY, RECIPE, engine="scipy")
    right = integrator.integrate(FRAMES[[0, 2, 3, 4]], alone=True)
    np.testing.assert_array_equal(rows(folder / "state/patterns")[0], right.intensity)
