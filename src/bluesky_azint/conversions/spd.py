"""SPD and the headers of SAXS images of the ESRF: the PONI in pixels, and the distance to it.

``Center_1`` and ``PSize_1`` are along the fast axis, ``Center_2`` and ``PSize_2`` along the slow one;
the corner of the first pixel is at (0, 0) and its centre at (0.5, 0.5), and lengths are in metres
(Boesecke, J. Appl. Cryst. 40 (2007) s423). The rotations of SPD are not converted, as in pyFAI: a
rotated detector is refused, either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bluesky_azint.conversions.pose import NATIVE, described, refuse_rotation
from bluesky_azint.detectors import Detector
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry


@dataclass(frozen=True, kw_only=True)
class SPDGeometry:
    """A calibration of SPD.

    Parameters
    ----------
    sample_distance
        From the sample to the point of normal incidence, in metres.
    center_1, center_2
        The point of normal incidence on the fast and on the slow axis, in pixels.
    psize_1, psize_2
        Size of a pixel along the fast and the slow axis, in metres.
    wavelength
        In metres, or None.
    """

    sample_distance: float
    center_1: float
    center_2: float
    psize_1: float
    psize_2: float
    wavelength: float | None = None

    def header(self) -> dict[str, float]:
        """The entries of the header of an EDF image."""
        values = {
            "SampleDistance": self.sample_distance,
            "Center_1": self.center_1,
            "Center_2": self.center_2,
            "PSize_1": self.psize_1,
            "PSize_2": self.psize_2,
        }
        return values if self.wavelength is None else values | {"WaveLength": self.wavelength}


def spd_from_header(header: Mapping[str, object]) -> SPDGeometry:
    """The calibration in the header of an EDF image, of which the values are text or numbers.

    Raises
    ------
    FormatError
        If an entry is missing or no number, or a rotation is not zero.
    """
    for name in ("Rot_1", "Rot_2", "Rot_3"):
        if _number(header, name, 0.0) != 0.0:
            raise FormatError(
                f"{name} in the header is {header[name]}: rotations of SPD are not understood. "
                "Calibrate the geometry as a PONI file instead."
            )
    return SPDGeometry(
        sample_distance=_number(header, "SampleDistance"),
        center_1=_number(header, "Center_1"),
        center_2=_number(header, "Center_2"),
        psize_1=_number(header, "PSize_1"),
        psize_2=_number(header, "PSize_2"),
        wavelength=_number(header, "WaveLength") if "WaveLength" in header else None,
    )


def to_spd(geometry: Geometry) -> SPDGeometry:
    """The calibration in SPD's terms.

    Raises
    ------
    GeometryError
        If the detector is rotated.
    """
    refuse_rotation(geometry, "SPD")
    geometry = described(geometry, "SPD", NATIVE)
    detector = geometry.detector
    return SPDGeometry(
        sample_distance=geometry.dist,
        center_1=geometry.poni2 / detector.pixel2,
        center_2=geometry.poni1 / detector.pixel1,
        psize_1=detector.pixel2,
        psize_2=detector.pixel1,
        wavelength=geometry.wavelength,
    )


def from_spd(values: SPDGeometry, detector: Detector | None = None) -> Geometry:
    """The geometry of a calibration by SPD.

    Parameters
    ----------
    detector
        The detector, for its shape and mask; its pixels get the size that SPD has.
    """
    if detector is None:
        detector = Detector(values.psize_2, values.psize_1)
    return Geometry(
        detector=replace(
            detector, pixel1=values.psize_2, pixel2=values.psize_1, orientation=NATIVE
        ),
        dist=values.sample_distance,
        poni1=values.center_2 * values.psize_2,
        poni2=values.center_1 * values.psize_1,
        wavelength=values.wavelength,
    )


def _number(header: Mapping[str, object], name: str, default: float | None = None) -> float:
    value = header.get(name)
    if value is None:
        value = default
    try:
        return float(str(value).split("_", 1)[0])  # "1.5_m": a unit may follow
    except ValueError:
        raise FormatError(
            f"{name} in the header is {header.get(name)!r}; it must be a number. SPD needs "
            "SampleDistance, Center_1, Center_2, PSize_1 and PSize_2, in metres and pixels."
        ) from None
