"""The devices. These are simulated; put your own in their place, with the same names if you can."""

from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimMotor

import bluesky_azint as ba
from bluesky_azint.devices import GeometryDevice, SimulatedDiffractionDetector
from bluesky_azint.store import open_store

ENERGY_KEV = 30.996  # of the photons

# Files go where the service may read them: below one of its `roots`.
frames = DATA / "frames"
frames.mkdir(exist_ok=True)

# Where the simulated detector stands, which nobody knows before it is calibrated.
_pose = ba.Geometry(
    detector=ba.detector("Pilatus1M"),
    dist=0.2,
    poni1=0.088,
    poni2=0.08,
    rot1=0.05,
    rot2=-0.03,
    wavelength=0.4e-10,
)

with init_devices():
    geometry = GeometryDevice()
    motor = SimMotor(instant=True)
    det = SimulatedDiffractionDetector(
        StaticPathProvider(UUIDFilenameProvider(), frames), _pose, geometry_device=geometry
    )

# A detector tells its geometry in every run: the one that is in use, once there is one. A detector
# of ophyd-async learns it by det.add_config_signals(*geometry.config_signals()).
STORE = str(DATA / "calibrations")
store = open_store(STORE, new=True)
if (_calibration := store.latest("det", datetime.now(UTC))) is not None:
    RE(bps.mv(geometry, _calibration))
