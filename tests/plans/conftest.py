"""A RunEngine, detectors on motors in front of a powder, and a calibration that begins at the truth."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray
from ophyd_async.core import (
    PathProvider,
    StandardDetector,
    StaticPathProvider,
    UUIDFilenameProvider,
    init_devices,
)
from ophyd_async.sim import SimMotor

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.refine import refine
from bluesky_azint.calibration.result import Calibration, Verdict
from bluesky_azint.calibration.surface import Surface
from bluesky_azint.devices.powder import debye_scherrer
from bluesky_azint.devices.streaming import FrameStream, make_frame_detector
from bluesky_azint.errors import CalibrationError
from bluesky_azint.geometry import Geometry

WAVELENGTH = 0.4e-10
DETECTOR = ba.Detector(pixel1=172e-6, pixel2=172e-6, shape=(240, 260), name="small")


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """A RunEngine, stopped afterwards."""
    engine = RunEngine({}, call_returns_result=True)
    yield engine
    if engine.state == "paused":
        engine.halt()  # type: ignore[no-untyped-call]
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """What a plan begins, it ends."""
    yield
    deadline = time.monotonic() + 5.0
    while any("azint-plan" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass(eq=False)
class Documents:
    """The documents of runs."""

    all: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        self.all.append((name, document))

    def __getitem__(self, name: str) -> list[dict[str, Any]]:
        return [document for kind, document in self.all if kind == name]

    def events(self, stream: str) -> list[dict[str, Any]]:
        """The data of all events of a stream."""
        uids = {one["uid"] for one in self["descriptor"] if one["name"] == stream}
        return [one["data"] for one in self["event"] if one["descriptor"] in uids]


@pytest.fixture
def documents(run_engine: RunEngine) -> Documents:
    """The documents that the RunEngine emits."""
    collected = Documents()
    run_engine.subscribe(collected)  # type: ignore[no-untyped-call]
    return collected


class Beamline:
    """A powder, a shutter, and a detector whose geometry follows a motor.

    Frames count the longer the exposure is; without beam there is only a dark.
    """

    def __init__(self, geometry: Callable[[float], Geometry], substance: str = "CeO2") -> None:
        self.geometry = geometry
        self.substance = substance
        self.rate = 300.0  # counts per second
        self.position: Callable[[], float] = lambda: 0.0
        self.exposure: Callable[[], float] = lambda: 1.0
        self.closed = False
        self.taken: list[tuple[float, bool]] = []
        self.shape = DETECTOR.shape or (0, 0)
        self.dtype: np.dtype[Any] = np.dtype(np.uint16)
        self._chance = np.random.default_rng(0)

    @property
    def truth(self) -> Geometry:
        """Where the detector stands now."""
        return self.geometry(self.position())

    def __call__(self, number: int) -> NDArray[Any]:
        seconds = self.exposure()
        expected = np.full(self.shape, 2.0)
        expected[:60] += 20.0  # of the dark
        if not self.closed:
            counts = self.rate * seconds
            expected = expected + debye_scherrer(
                self.truth, calibrant(self.substance), counts=counts, background=0.02 * counts
            )
        self.taken.append((seconds, self.closed))
        return np.minimum(self._chance.poisson(expected), 65535).astype(self.dtype)


class BeamlineDetector(StandardDetector):
    """The detector of a beamline."""

    model: ba.Detector

    def __init__(self, stream: FrameStream, path_provider: PathProvider) -> None:
        self.model = DETECTOR
        self.exposure_time = stream.exposure_time
        make_frame_detector(self, stream, path_provider)
        super().__init__()


class Shutter:
    """A shutter that is set at once."""

    parent = None
    name = "shutter"

    def __init__(self, beamline: Beamline) -> None:
        self.beamline = beamline
        self.moves: list[str] = []

    def set(self, value: str) -> Any:
        from ophyd.status import Status

        self.moves.append(value)
        self.beamline.closed = value == "closed"
        status = Status()
        status.set_finished()
        return status


def still(position: float) -> Geometry:
    """A tilted detector that does not move."""
    return Geometry(
        detector=DETECTOR, dist=0.1, poni1=0.019, poni2=0.023, rot1=0.04, rot2=-0.02,
        wavelength=WAVELENGTH,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Station:
    """All of a beamline."""

    beamline: Beamline
    det: BeamlineDetector
    motor: SimMotor
    shutter: Shutter


@pytest.fixture
def make_station(run_engine: RunEngine, tmp_path: Path) -> Callable[..., Station]:
    """Builds a beamline with a detector that moves as told."""

    def build(geometry: Callable[[float], Geometry] = still, substance: str = "CeO2") -> Station:
        beamline = Beamline(geometry, substance)
        stream = FrameStream(beamline, 0.01, compress=False)
        with init_devices():
            motor = SimMotor(instant=True)
            det = BeamlineDetector(
                stream, StaticPathProvider(UUIDFilenameProvider(), tmp_path / "frames")
            )
        (tmp_path / "frames").mkdir(exist_ok=True)
        # What a frame is made of is asked for in the thread that writes it.
        readback: Any = motor.user_readback
        beamline.position = lambda: float(readback._connector.backend.reading["value"])
        set_up = stream.set_up
        seconds = [0.01]

        async def fast(number: int, exposure_time: float, deadtime: float) -> None:
            seconds[0] = exposure_time or seconds[0]
            await set_up(number, 0.001, deadtime)

        stream.set_up = fast  # type: ignore[method-assign]
        beamline.exposure = lambda: seconds[0]
        return Station(beamline, det, motor, Shutter(beamline))

    return build


@dataclass(eq=False)
class Oracle:
    """Stands in for `bluesky_azint.calibrate`: refines from a geometry close to the truth."""

    station: Station | None = None
    truth: Geometry | None = None
    verdict: Verdict = "accepted"
    reasons: tuple[str, ...] = ()
    calls: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    fewest_rings: int = 1

    def __call__(
        self, image: NDArray[Any], *, progress: Callable[[str, float], None], **options: Any
    ) -> Calibration:
        self.calls.append({"image": image, **options})
        for step in range(int(self.seconds / 0.02)):
            progress("Looking", step * 0.02 / self.seconds)
            time.sleep(0.02)
        truth = self.truth or (self.station.beamline.truth if self.station else still(0.0))
        known = options["calibrant"]
        mask = ~np.isfinite(np.asarray(image, dtype=np.float64))
        wavelength = options["wavelength"]
        common: dict[str, Any] = {"calibrant": known, "wavelength": wavelength, "mask": mask}
        refused = Calibration(
            verdict="refused", reasons=self.reasons or ("There are too few rings.",),
            geometry=None, **common,
        )  # fmt: skip
        start = Cone.of(replace(truth, dist=truth.dist * (truth.wavelength or 1) / wavelength))
        start = replace(start, centre1=start.centre1 + 5e-5)
        try:
            found = refine(image, mask, Surface(truth.detector), known, wavelength, start)
        except CalibrationError:
            return refused
        geometry = found.cone.geometry(Surface(truth.detector), wavelength)
        if sum(ring.used for ring in found.rings) < self.fewest_rings or self.verdict == "refused":
            return replace(refused, candidate=geometry, covariance=found.covariance)
        return Calibration(
            verdict=self.verdict, reasons=self.reasons, geometry=geometry, candidate=geometry,
            covariance=found.covariance, residual_px=found.residual_px, rings=found.rings,
            sectors=found.sectors, fixed=found.fixed, **common,
        )  # fmt: skip


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Oracle:
    """Stands in for `bluesky_azint.calibrate`."""
    oracle = Oracle()
    monkeypatch.setattr(ba, "calibrate", oracle, raising=False)
    return oracle
