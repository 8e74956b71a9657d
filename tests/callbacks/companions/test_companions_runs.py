"""Companions of frames in real runs: a RunEngine, simulated detectors, motors and monitors."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import MsgGenerator, RunEngineInterrupted
from numpy.typing import NDArray
from ophyd.sim import SynSignal
from ophyd_async.core import (
    StandardReadable,
    StandardReadableFormat,
    StaticPathProvider,
    TriggerInfo,
    UUIDFilenameProvider,
    init_devices,
    soft_signal_rw,
)
from ophyd_async.sim import SimBlobDetector

from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.companions.conditions import Conditions
from bluesky_azint.callbacks.companions.config import CompanionsConfig
from bluesky_azint.callbacks.frames import FrameBatch, FrameSource
from bluesky_azint.detectors import Detector
from bluesky_azint.devices import SimulatedDiffractionDetector
from bluesky_azint.geometry import Geometry

GEOMETRY = Geometry(
    detector=Detector(2e-3, 2e-3, (24, 32)), dist=0.1, poni1=0.02, poni2=0.03, wavelength=2e-11
)
HC = 12.398419843320026


class Station(StandardReadable):
    """A monitor, and the energy of a monochromator."""

    def __init__(self, name: str = "") -> None:
        with self.add_children_as_readables(StandardReadableFormat.HINTED_UNCACHED_SIGNAL):
            self.i0 = soft_signal_rw(float, 1.0)
            self.energy = soft_signal_rw(float, 62.0)
        super().__init__(name=name)


class Listener:
    """What a reducer does with documents, but for the patterns."""

    def __init__(self, **values: Any) -> None:
        self.companions = Companions(CompanionsConfig.from_dict(values))
        self.source = FrameSource()
        self.parts: list[tuple[FrameBatch, Conditions]] = []
        self.order: list[str] = []

    def __call__(self, name: str, doc: Any) -> None:
        self.order.append(name)
        self.companions.take(name, doc)
        for kind, ready in self.companions.gate(name, doc):
            for batch in self.source(kind, ready):
                if self.companions.is_dark(batch.descriptor):
                    self.companions.take_darks(batch)
                else:
                    self.parts += self.companions.conditions(batch)

    def by_event(self) -> dict[int, tuple[NDArray[Any], Conditions, int]]:
        """Of each event its frame, its conditions, and which of the frames of these it is."""
        return {
            int(seq_num): (np.asarray(batch.frames)[place], found, place)
            for batch, found in self.parts
            for place, seq_num in enumerate(batch.seq_nums)
        }


@pytest.fixture
def provider(tmp_path: Path) -> StaticPathProvider:
    """Where the detectors write."""
    return StaticPathProvider(UUIDFilenameProvider(), tmp_path)


@pytest.fixture
def station(run_engine: RunEngine) -> Station:
    """The monitor and the monochromator."""
    with init_devices():
        station = Station(name="station")
    return station


@pytest.fixture
def detector(run_engine: RunEngine, provider: StaticPathProvider) -> SimulatedDiffractionDetector:
    """A detector of few pixels."""
    with init_devices():
        detector = SimulatedDiffractionDetector(
            provider, GEOMETRY, name="det", exposure_time=0.01, pool=2
        )
    return detector


def run_of(detector: Any, scan: MsgGenerator[None]) -> MsgGenerator[None]:
    """A run of a scan with a detector that is staged."""
    run: MsgGenerator[None] = bpp.run_wrapper(scan)  # type: ignore[no-untyped-call]
    staged: MsgGenerator[None] = bpp.stage_wrapper(run, [detector])  # type: ignore[no-untyped-call]
    return staged


def test_a_step_scan_with_darks_a_monitor_and_an_energy(
    run_engine: RunEngine, detector: SimulatedDiffractionDetector, station: Station
) -> None:
    listener = Listener(
        monitor="station-i0",
        exposure="det-exposure_time",
        energy={"key": "station-energy", "unit": "keV"},
        dark=True,
    )
    energies = [62.0, 31.0, 62.0]

    def scan() -> MsgGenerator[None]:
        for _ in range(3):
            yield from bps.trigger_and_read([detector], name="dark")
        for number, energy in enumerate(energies, start=1):
            yield from bps.mv(station.i0, 10.0 * number, station.energy, energy)
            yield from bps.trigger_and_read([detector, station])

    run_engine(run_of(detector, scan()), listener)
    first_datum = len(listener.order) - 1 - listener.order[::-1].index("stream_datum")
    assert listener.order[first_datum + 1] == "event", "the frame is told of before its monitor"
    found = listener.by_event()
    assert sorted(found) == [1, 2, 3]
    for number, energy in enumerate(energies, start=1):
        _, conditions, place = found[number]
        assert conditions.problem == ""
        assert conditions.normalization[place] == 10.0 * number
        geometry = conditions.geometry(GEOMETRY)
        ratio = energy / (HC / (GEOMETRY.wavelength or 0) * 1e-10)
        np.testing.assert_allclose(geometry.q(), GEOMETRY.q() * ratio, rtol=1e-12)
        assert conditions.dark is not None
        assert conditions.dark.label.frames == 3
        assert conditions.dark.label.exposure == pytest.approx(0.01)
    expected = np.mean([detector.source(number) for number in range(3)], axis=0)
    dark = found[1][1].dark
    assert dark is not None
    np.testing.assert_allclose(dark.mean, expected, rtol=1e-6)
    assert found[1][1].key == found[3][1].key != found[2][1].key


def test_a_rewound_step_scan_takes_the_last_reading(
    run_engine: RunEngine, detector: SimulatedDiffractionDetector
) -> None:
    """Event 2 is taken, the plan is paused, and event 2 is taken again, with another monitor."""
    listener = Listener(monitor="i0")
    readings = itertools.count()  # the device itself takes the first
    monitor = SynSignal(name="i0", func=lambda: float(next(readings)))

    def scan() -> MsgGenerator[None]:
        for number in range(3):
            yield from bps.checkpoint()
            yield from bps.trigger_and_read([detector, monitor])
            if number == 1:
                yield from bps.pause()

    with pytest.raises(RunEngineInterrupted):
        run_engine(run_of(detector, scan()), listener)
    run_engine.resume()  # type: ignore[no-untyped-call]
    assert [int(batch.seq_nums[0]) for batch, _ in listener.parts] == [1, 2, 2, 3]
    factors = [float(found.normalization[0]) for _, found in listener.parts]
    assert factors == [1.0, 2.0, 3.0, 4.0]


def test_a_fly_scan_is_divided_by_what_is_streamed_beside_the_frames(
    run_engine: RunEngine, blob_detector: SimBlobDetector
) -> None:
    listener = Listener(monitor={"key": "blob-sum", "zero": -1})  # some frames are empty

    def scan() -> MsgGenerator[None]:
        yield from bps.prepare(
            blob_detector, TriggerInfo(number_of_events=12, livetime=0.002), wait=True
        )
        yield from bps.declare_stream(blob_detector, name="primary", collect=True)
        yield from bps.kickoff(blob_detector, wait=True)
        yield from bps.collect_while_completing(
            [blob_detector], [blob_detector], flush_period=0.01, stream_name="primary"
        )

    run_engine(run_of(blob_detector, scan()), listener)
    assert "event" not in listener.order
    found = listener.by_event()
    assert sorted(found) == list(range(1, 13))
    for frame, conditions, place in found.values():
        assert conditions.normalization[place] == frame.sum() + 1


def test_what_stands_still_is_in_the_baseline(
    run_engine: RunEngine, detector: SimulatedDiffractionDetector, station: Station
) -> None:
    listener = Listener(monitor="station-i0", geometry={"dist": "station-energy"})
    plan = bpp.baseline_wrapper(bp.count([detector], 2), [station])  # type: ignore[no-untyped-call]
    run_engine(plan, listener)
    found = listener.by_event()
    assert sorted(found) == [1, 2]
    for _, conditions, place in found.values():
        assert conditions.normalization[place] == 1.0
        assert conditions.geometry(GEOMETRY).dist == pytest.approx(62.1)
        assert not conditions.stand.moves
