"""A session in which every run of ``det`` is reduced while it is measured.

RE(bp.scan([det], motor, 0, 1, 11))
last_reduced().pattern(0)
RE(calibrate_detector(det, energy_kev=30.996, store=store, geometry_device=geometry))
RE(check_calibration(det, store=store))
"""

import logging
import os
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import bluesky.plan_stubs as bps
import bluesky.plans as bp
from bluesky import RunEngine
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimMotor

import bluesky_azint as ba
from bluesky_azint.callbacks import AzintRun, LiveReduction, embedded_tiled, reduced_runs
from bluesky_azint.devices import GeometryDevice, SimulatedDiffractionDetector
from bluesky_azint.plans import (
    calibrate_detector,
    calibrate_energy,
    calibrate_goniometer,
    check_calibration,
    fly_frames,
)
from bluesky_azint.profiles import at_session_end
from bluesky_azint.store import CalibrationRecord

# Plans tell what they do.
logging.basicConfig(format="%(message)s")
logging.getLogger("bluesky_azint.plans").setLevel(logging.INFO)

# What is opened here is closed when the session ends, the last first.
session = ExitStack()
at_session_end(session.close)

# Where frames and patterns are kept.
data = Path(
    os.environ.get("AZINT_DATA")
    or session.enter_context(tempfile.TemporaryDirectory(prefix="azint-"))
).resolve()
frames = data / "frames"
frames.mkdir(parents=True, exist_ok=True)

# A Tiled server beside this session. A beamline has one: tiled.client.from_uri(...) or from_profile(...).
tiled = session.enter_context(embedded_tiled(data))
store = tiled.calibrations

# Where the detector stands: of a real one, from ba.Geometry.from_poni(...).
true_geometry = ba.Geometry(
    detector=ba.detector("Pilatus1M"),
    dist=0.2,
    poni1=0.088,
    poni2=0.08,
    rot1=0.05,
    rot2=-0.03,
    wavelength=0.4e-10,
)
calibration = CalibrationRecord(
    detector="det", geometry=true_geometry, valid_from=datetime.now(UTC)
)
store.save(calibration)

RE = RunEngine({}, call_returns_result=True)  # RE(plan) then shows what came out of the plan
with init_devices():
    geometry = GeometryDevice()
    motor = SimMotor(instant=True)
    det = SimulatedDiffractionDetector(
        StaticPathProvider(UUIDFilenameProvider(), frames), true_geometry, geometry_device=geometry
    )
RE(bps.mv(geometry, calibration))

live = session.enter_context(
    LiveReduction(
        tiled.reduced,
        recipe=ba.Recipe(npt=1000, unit="q_A^-1", error_model="poisson"),
        directory=data / "reduced",
        store=store,
        raw=tiled.raw,
    )
)
RE.subscribe(live)


def last_reduced() -> AzintRun:
    """The reduced run of the last raw run, complete."""
    live.flush()
    return reduced_runs(tiled.reduced, list(tiled.raw)[-1])[0]


print(__doc__)
