"""The devices, as blueapi wants them: what makes them all, when it is asked to."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bluesky.run_engine import call_in_bluesky_event_loop
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimMotor

import bluesky_azint as ba
from bluesky_azint.devices import GeometryDevice, SimulatedDiffractionDetector
from bluesky_azint.store import CalibrationRecord, open_store

# The names to change.
DATA = Path(__file__).resolve().parents[1] / "data"
STORE = str(DATA / "calibrations")
ENERGY_KEV = 30.996

_POSE = ba.Geometry(
    detector=ba.detector("Pilatus1M"),
    dist=0.2,
    poni1=0.088,
    poni2=0.08,
    rot1=0.05,
    rot2=-0.03,
    wavelength=0.4e-10,
)


@dataclass
class Devices:
    """What could be made, and what could not."""

    devices: dict[str, Any] = field(default_factory=dict)
    build_errors: dict[str, Exception] = field(default_factory=dict)
    connection_errors: dict[str, Exception] = field(default_factory=dict)

    def build_and_connect(
        self,
        *,
        mock: bool = False,
        timeout: float | None = None,
        fixtures: dict[str, Any] | None = None,
    ) -> "Devices":
        """Make the devices; blueapi calls this once it has a RunEngine."""
        frames = DATA / "frames"
        frames.mkdir(parents=True, exist_ok=True)
        with init_devices(mock=mock, timeout=timeout or 10.0):
            geometry = GeometryDevice()
            motor = SimMotor(instant=True)
            det = SimulatedDiffractionDetector(
                StaticPathProvider(UUIDFilenameProvider(), frames), _POSE, geometry_device=geometry
            )
        in_use = open_store(STORE, new=True).latest("det", datetime.now(UTC))
        if in_use is not None:
            call_in_bluesky_event_loop(_set(geometry, in_use))
        self.devices = {device.name: device for device in (geometry, motor, det)}
        return self


async def _set(geometry: GeometryDevice, calibration: CalibrationRecord) -> None:
    await geometry.set(calibration)


devices = Devices()
