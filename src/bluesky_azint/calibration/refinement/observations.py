"""What a pass over the pixels tells: how far outside of its line the ring is, sector by sector."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone, two_theta_and_jacobian
from bluesky_azint.calibration.refinement.lines import Lines
from bluesky_azint.calibration.refinement.sampling import Pixels
from bluesky_azint.calibration.surface import FloatArray, Surface


@dataclass(frozen=True, eq=False, kw_only=True)
class Observations:
    """Rings seen in sectors: arrays of equal length, angles in radians.

    Parameters
    ----------
    cone
        The stand that angles are told of.
    line
        Position in the lines.
    row, column
        Where, as fractional indices.
    places
        The same, ``(3, n)``, in metres.
    shift
        How far outside of the line the ring is.
    sigma
        Standard error of that.
    significance
        Height of the ring in standard errors.
    two_theta
        Angles of the places.
    jacobian
        Their derivatives by the parameters of the cone, ``(n, 5)``.
    scale
        The angle over a pixel there.
    chi
        Azimuths.
    """

    cone: Cone
    line: NDArray[np.intp]
    row: FloatArray
    column: FloatArray
    places: FloatArray
    shift: FloatArray
    sigma: FloatArray
    significance: FloatArray
    two_theta: FloatArray
    jacobian: FloatArray
    scale: FloatArray
    chi: FloatArray

    def __len__(self) -> int:
        return len(self.line)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Observations:
        parts = {name: value[..., chosen] for name, value in vars(self).items() if name in _PLAIN}
        return Observations(cone=self.cone, jacobian=self.jacobian[chosen], **parts)


_PLAIN = (
    *("line", "row", "column", "places", "shift", "sigma", "significance"),
    *("two_theta", "scale", "chi"),
)


def observations(
    surface: Surface,
    cone: Cone,
    line: NDArray[np.intp],
    middle: tuple[FloatArray, FloatArray],
    shift: FloatArray,
    sigma: FloatArray,
    significance: FloatArray,
) -> Observations:
    """Observations at places that fractional indices tell."""
    places = surface.at(*middle)
    two_theta, jacobian = two_theta_and_jacobian(cone.parameters, places)
    scale = surface.pixel * np.hypot(jacobian[:, 0], jacobian[:, 1])
    return Observations(
        cone=cone,
        line=line,
        row=middle[0],
        column=middle[1],
        places=places,
        shift=shift,
        sigma=sigma,
        significance=significance,
        two_theta=two_theta,
        jacobian=jacobian,
        scale=scale,
        chi=cone.chi(places),
    )


def middles(
    columns: int, pixels: Pixels, size: int, weight: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """The mean rows and columns of the pixels of sectors."""
    total = np.maximum(np.bincount(pixels.sector, weight, size), 1e-300)
    mean = [
        np.bincount(pixels.sector, along if weight is None else along * weight, size) / total
        for along in np.divmod(pixels.index, columns)
    ]
    return mean[0], mean[1]


def renumbered(
    pixels: Pixels, fewest: FloatArray, most: int | None = None
) -> tuple[Pixels, NDArray[np.intp]]:
    """Pixels of sectors that have enough of them, the sectors numbered from 0 on and sorted by.

    Parameters
    ----------
    pixels
        Of all sectors.
    fewest
        Pixels of a sector that are enough, for each line.
    most
        About how many sectors of a line are enough; None means all.

    Returns
    -------
    The pixels, and the line of every sector.
    """
    count = np.bincount(pixels.sector)
    lines = np.zeros(len(count), dtype=np.intp)
    lines[pixels.sector] = pixels.line
    kept = (count > 0) & (count >= fewest[lines])
    if most is not None:
        of = np.bincount(lines[kept], minlength=len(fewest))
        turn = np.cumsum(kept) - 1 - (np.cumsum(of) - of)[lines]
        kept &= turn % np.maximum(of // most, 1)[lines] == 0
    number = np.cumsum(kept) - 1
    chosen = np.flatnonzero(kept[pixels.sector])
    sector = number[pixels.sector[chosen]]
    # Small integers are sorted much faster.
    small = sector.astype(np.uint16) if len(number) < 1 << 16 else sector
    order = chosen[np.argsort(small, kind="stable")]
    pixels = pixels[order]
    return replace(pixels, sector=number[pixels.sector]), lines[kept]


def on_both_sides(
    x: FloatArray, weight: FloatArray, sector: NDArray[np.intp], size: int, least: float
) -> NDArray[np.bool_]:
    """Whether each side of a sector has at least that share of the weight."""
    total = np.bincount(sector, weight, size)
    outside = np.bincount(sector, weight * (x > 0), size)
    balanced: NDArray[np.bool_] = np.minimum(outside, total - outside) >= least * total
    return balanced


def lines_seen(lines: Lines, line: NDArray[np.intp], fewest: int) -> NDArray[np.bool_]:
    """The lines that at least so many sectors tell of."""
    return np.bincount(line, minlength=len(lines)) >= fewest
