"""The rings that a report marks: where they are predicted, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibrants import Ring, ring_two_theta
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.calibration.surface import Surface
from bluesky_azint.geometry import Geometry

FloatArray = NDArray[np.float64]
State = Literal["used", "left out", "missing", "predicted"]

_NODES = 400  # along an axis, between which two theta is taken to be linear: to 0.1 pixel
# Where nothing is known of what can be seen: of the strongest, and how many at most.
_WEAKEST, _MOST = 0.01, 30


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A ring to be marked.

    Parameters
    ----------
    ring
        The ring.
    two_theta
        Where it should be, in radians.
    state
        What became of it; "predicted" where nobody looked.
    """

    ring: Ring
    two_theta: float
    state: State

    @property
    def label(self) -> str:
        """Its Miller indices, or nothing where they are not known."""
        digits = all(0 <= index < 10 for index in self.ring.hkl)
        return ("" if digits else " ").join(map(str, self.ring.hkl)) if any(self.ring.hkl) else ""


def marked_rings(calibration: Calibration) -> list[Marked]:
    """The rings to be marked, from the innermost on."""
    if calibration.rings:
        return [
            Marked(
                ring=fit.ring,
                two_theta=fit.two_theta,
                state="missing" if not fit.sectors else "used" if fit.used else "left out",
            )
            for fit in calibration.rings
        ]
    rings = calibration.calibrant.rings
    strongest = max((ring.intensity for ring in rings), default=0.0)
    predicted = [
        Marked(ring=ring, two_theta=angle, state="predicted")
        for ring in rings
        if ring.intensity >= _WEAKEST * strongest
        and np.isfinite(angle := float(ring_two_theta(ring.d, calibration.wavelength)))
    ]
    return predicted[:_MOST]


class Contours:
    """Lines of equal scattering angle on a detector.

    Parameters
    ----------
    geometry
        Where the detector stands.
    """

    def __init__(self, geometry: Geometry) -> None:
        from contourpy import contour_generator

        self._surface = Surface(geometry.detector)
        self.geometry = geometry
        rows, columns = geometry.shape
        row = np.linspace(-0.5, rows - 0.5, min(rows + 1, _NODES))
        column = np.linspace(-0.5, columns - 0.5, min(columns + 1, _NODES))
        grid = np.meshgrid(row, column, indexing="ij")
        y, x, z = self.places(grid[0].ravel(), grid[1].ravel())
        self.two_theta = np.arctan2(np.hypot(x, y), z).reshape(grid[0].shape)
        self.chi = np.arctan2(y, x)
        self._lines = contour_generator(column, row, self.two_theta)

    def places(self, row: FloatArray, column: FloatArray) -> FloatArray:
        """Places in the laboratory of fractional indices ``(n,)``, ``(3, n)``: y, x, z in metres."""
        return np.stack(self.geometry.lab_from_plane(*self._surface.at(row, column)))

    def holds(self, two_theta: float) -> bool:
        """Whether some of a ring lies on the detector."""
        return bool(self.two_theta.min() < two_theta < self.two_theta.max())

    def at(self, two_theta: float) -> list[FloatArray]:
        """The parts of a ring on the detector, each ``(n, 2)``: column and row."""
        return [np.asarray(line, dtype=np.float64) for line in self._lines.lines(two_theta)]
