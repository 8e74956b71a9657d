r"""Motions of a detector, fitted to the ring places of several images: the least squares.

Of place :math:`i` on the ring of spacing :math:`d_i`, in the image taken with the motors at
:math:`m`,

.. math::
    r_i = \frac{2\theta(p_i; g(m)) - 2 \arcsin(\lambda / 2 d_i)}{s\, |\nabla 2\theta|}

is how far outside of its ring it lies, in pixels of size :math:`s`. Errors are those of the counts
and a floor that makes the residuals what they are; places more than 6 errors off are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, least_squares

from bluesky_azint.calibration.cone import from_poni, two_theta_and_jacobian
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.calibration.surface import Surface
from bluesky_azint.errors import RecipeError
from bluesky_azint.geometry import Geometry
from bluesky_azint.goniometer import Goniometer

FloatArray = NDArray[np.float64]
Positions = Mapping[str, float]

OUTLIER = 6.0  # errors
_SIGMA_OF_MEDIAN = 1.4826  # of a normal distribution, per median of absolute values
_DEGENERATE = 1e-10  # share of the largest singular value below which nothing is determined


class RingPlaces:
    """The ring places of an image, taken with the motors at `where`."""

    def __init__(self, calibration: Calibration, where: Positions, start: Goniometer) -> None:
        sectors = calibration.sectors
        if sectors is None:
            raise RecipeError("A calibration without sectors has nothing to fit to.")
        surface = Surface(start.detector)
        self.positions = dict(where)
        self.places = surface.at(sectors.row, sectors.column)
        self.d = calibration.calibrant.d[sectors.ring] * 1e-10
        self.ring = sectors.ring
        self.sigma = sectors.sigma_px
        self.fitted = sectors.used
        self.fwhm = [ring.fwhm_px for ring in calibration.rings if ring.used]

    def residuals(
        self, stand: FloatArray, pixel: float, places: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """In pixels, and their derivatives by the stand: five of the cone, and the wavelength.

        At other places, if some are given, only the derivatives mean something.
        """
        angles, jacobian = two_theta_and_jacobian(
            stand[:5], self.places if places is None else places
        )
        outwards = 1.0 / (pixel * np.hypot(jacobian[:, 0], jacobian[:, 1]))
        if places is not None:
            return angles, outwards[:, np.newaxis] * np.pad(jacobian, ((0, 0), (0, 1)))
        sine = np.minimum(stand[5] / (2 * self.d), 0.999)
        by_wavelength = -1.0 / (self.d * np.sqrt(1.0 - sine**2))
        derivatives = np.column_stack([jacobian, by_wavelength])
        return outwards * (angles - 2 * np.arcsin(sine)), outwards[:, np.newaxis] * derivatives


class MotionFit:
    """Parameters of a goniometer, fitted to images.

    Parameters
    ----------
    images
        The ring places of each.
    start
        The formulas, and where to begin.
    names
        The parameters to fit.
    rounds
        How often at most, with the errors and the outliers that came out the last time.

    Attributes
    ----------
    values
        What was found, in the order of the names.
    used
        Of all sectors, in the order of the images, whether they were fitted to.
    counts, floor
        Their errors from the counts, and the one added to all, in pixels.
    """

    def __init__(
        self,
        images: Sequence[RingPlaces],
        start: Goniometer,
        names: tuple[str, ...],
        rounds: int = 10,
    ) -> None:
        self.images, self.start, self.names = images, start, names
        self.pixel = Surface(start.detector).pixel
        self.counts = np.concatenate([image.sigma for image in images])
        self.used = np.concatenate([image.fitted for image in images])
        self.values = np.array([start.parameters[name] for name in names])
        self._converge(rounds)

    def goniometer(self) -> Goniometer:
        """The goniometer with the values found."""
        return replace(self.start, parameters=self._parameters(self.values))

    def _parameters(self, values: FloatArray) -> dict[str, float]:
        return {**self.start.parameters, **dict(zip(self.names, values.tolist(), strict=True))}

    def _stands(self, values: FloatArray) -> FloatArray:
        """The cone and the wavelength of every image, ``(images, 6)``."""
        parameters = self._parameters(values)
        return np.array(
            [_stand(self.start.geometry_with(parameters, one.positions)) for one in self.images]
        )

    @cached_property
    def _steps(self) -> FloatArray:
        """For derivatives: a wavelength is small, other lengths and angles are not."""
        formula = self.start.expressions.get("wavelength", "")
        least = [0.0 if name in formula else 1e-3 for name in self.names]
        starting = [abs(self.start.parameters[name]) for name in self.names]
        return 1e-5 * np.maximum(starting, least)

    def _stands_jacobian(self, values: FloatArray) -> FloatArray:
        """``(images, 6, parameters)``."""
        columns = []
        for step in np.diag(self._steps):
            moved = self._stands(values + step) - self._stands(values - step)
            columns.append(moved / (2 * step.sum()))
        return np.stack(columns, axis=-1)

    def residuals(self, values: FloatArray) -> FloatArray:
        """Of all sectors, in pixels."""
        stands = self._stands(values)
        found = zip(self.images, stands, strict=True)
        return np.concatenate([image.residuals(one, self.pixel)[0] for image, one in found])

    def jacobian(self, values: FloatArray) -> FloatArray:
        """Derivatives of the residuals, ``(sectors, parameters)``."""
        found = zip(self.images, self._stands(values), self._stands_jacobian(values), strict=True)
        return np.concatenate(
            [image.residuals(one, self.pixel)[1] @ moved for image, one, moved in found]
        )

    def _converge(self, rounds: int) -> None:
        floor, used = np.inf, self.used
        for _ in range(rounds):
            before, was = floor, used
            residuals = self.residuals(self.values)
            floor = _floor(residuals[used], self.counts[used])
            used = np.abs(residuals) < OUTLIER * np.hypot(self.counts, floor)
            self.values = self._solve(used, np.hypot(self.counts, floor))
            if abs(floor - before) <= 0.01 * floor and np.array_equal(used, was):
                break
        residuals = self.residuals(self.values)
        self.floor = _floor(residuals[used], self.counts[used])
        self.used = used

    def _solve(self, used: NDArray[np.bool_], sigma: FloatArray) -> FloatArray:
        weight = 1.0 / sigma[used]
        begin = self.values
        steps = 1.0 / np.maximum(
            np.linalg.norm(weight[:, np.newaxis] * self.jacobian(begin)[used], axis=0), 1e-300
        )

        def residuals(moved: FloatArray) -> FloatArray:
            return weight * self.residuals(begin + steps * moved)[used]

        def jacobian(moved: FloatArray) -> FloatArray:
            found = self.jacobian(begin + steps * moved)[used]
            weighted: FloatArray = weight[:, np.newaxis] * found * steps
            return weighted

        found = least_squares(
            residuals,
            np.zeros(len(begin)),
            jacobian,
            loss="soft_l1",
            f_scale=3.0,
            xtol=1e-8,
            ftol=1e-8,
            max_nfev=30,
        )
        moved: FloatArray = begin + steps * found.x
        return moved

    @cached_property
    def covariance(self) -> FloatArray:
        """Of the values; infinite where the images say nothing."""
        sigma = np.hypot(self.counts, self.floor)[self.used]
        jacobian = self.jacobian(self.values)[self.used] / sigma[:, np.newaxis]
        scale = np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300)
        _, singular, directions = np.linalg.svd(jacobian / scale, full_matrices=False)
        if len(singular) < len(scale) or singular[-1] < _DEGENERATE * singular[0]:
            return np.full((len(scale), len(scale)), np.inf)
        spread = directions.T / singular / scale[:, np.newaxis]
        chi2 = np.mean((self.residuals(self.values)[self.used] / sigma) ** 2)
        return np.asarray(spread @ spread.T * max(1.0, float(chi2)))

    @property
    def sigmas(self) -> dict[str, float]:
        """Standard errors of the values, by name."""
        return dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    def jackknife(self) -> FloatArray:
        """Standard errors of the values, by leaving out one image each."""
        number = len(self.images)
        if number < 3 or not np.isfinite(self.covariance).all():
            return np.full(len(self.names), np.nan)
        found = []
        for left_out in range(number):
            others = [image for index, image in enumerate(self.images) if index != left_out]
            fit = MotionFit(others, self.goniometer(), self.names, rounds=2)
            if not np.isfinite(fit.covariance).all():
                return np.full(len(self.names), np.nan)
            found.append(fit.values)
        return np.asarray(np.sqrt((number - 1) * np.var(found, axis=0)))

    def errors_px(self) -> tuple[float, float]:
        """The largest predicted errors at the places used, and on the whole detector."""
        if not np.isfinite(self.covariance).all():
            return np.inf, np.inf
        rings = _errors(self.jacobian(self.values)[self.used], self.covariance)
        rows, columns = Surface(self.start.detector).shape
        grid = np.meshgrid(np.linspace(0, rows - 1, 7), np.linspace(0, columns - 1, 7))
        places = Surface(self.start.detector).at(grid[0].ravel(), grid[1].ravel())
        found = zip(
            self.images, self._stands(self.values), self._stands_jacobian(self.values), strict=True
        )
        anywhere = [
            _errors(image.residuals(one, self.pixel, places)[1] @ moved, self.covariance).max()
            for image, one, moved in found
        ]
        return float(rings.max()), float(max(anywhere))


def _stand(geometry: Geometry) -> FloatArray:
    if geometry.wavelength is None:
        raise RecipeError(
            "The goniometer has no wavelength, without which no ring has a place; give it one, or "
            "a formula for it."
        )
    return np.append(from_poni(geometry), geometry.wavelength)


def _floor(residuals: FloatArray, counts: FloatArray) -> float:
    """The error to add so that the median of the residuals is what their errors make it."""

    def excess(floor: float) -> float:
        ratio = np.abs(residuals) / np.hypot(counts, floor)
        return float(_SIGMA_OF_MEDIAN * np.median(ratio)) - 1.0

    highest = 10.0 * float(np.abs(residuals).max(initial=0.0)) + 1e-9
    if not len(residuals) or excess(1e-9) <= 0:
        return 0.0
    return float(brentq(excess, 1e-9, highest, rtol=1e-4))


def _errors(jacobian: FloatArray, covariance: FloatArray) -> FloatArray:
    variance: FloatArray = np.einsum("ni,ij,nj->n", jacobian, covariance, jacobian)
    return np.sqrt(np.maximum(variance, 0.0))


def rms(values: FloatArray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else np.nan
