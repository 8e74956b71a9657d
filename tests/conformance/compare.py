"""Ours against pyFAI, on the same grid."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bluesky_azint as ba
from tests.conformance.setups import Exposure, Setup, expose

FloatArray = NDArray[np.float64]

ENGINES = ("scipy", "opencl", "histogram")
INTENSITY_LIMIT, SIGMA_LIMIT = 1e-6, 1e-5

UNIT = "q_nm^-1"
AZIMUTH_RANGE = (-170.0, 170.0)
NPT_AZIM = 36
PIXELS_PER_BIN = {"1D": 4000, "2D": 500 * NPT_AZIM, "sigma_clip": 4000, "medfilt": 500}

# pyFAI counts pixels that overhang an end of the range in the bins there, and normalises what is
# left of a polygon: in all the bins that such a pixel touches.
ENDS = 3
# Corners in single precision displace the edges of a pixel by some parts in 1e5 of its size: that
# averages out in bins of many pixels.
ENOUGH = 100.0
# And where a quantile falls so near to the edge between two pixels, in percent of the bin, they
# decide which one it is.
MEDIAN_MARGIN = 0.005


@dataclass(frozen=True)
class Task:
    """What is compared.

    Parameters
    ----------
    setup
        Frame, geometry and corrections.
    result
        ``"1D"``, ``"2D"``, ``"sigma_clip"`` or ``"medfilt"``.
    splitting, error_model
        See `bluesky_azint.Integrator`.
    """

    setup: Setup
    result: str
    splitting: str
    error_model: str

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that can do it: robust reducers have one of their own."""
        return ENGINES if self.result in ("1D", "2D") else ENGINES[:1]

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What tells it from others in the table."""
        setup = self.setup
        return setup.detector, setup.name, self.result, self.splitting, self.error_model


@dataclass(frozen=True)
class Deviation:
    """Worst relative differences of one engine, over the bins that are compared."""

    engine: str
    intensity: float
    sigma: float
    compared: float

    @property
    def within_limits(self) -> bool:
        """Whether both are small enough, and there was something to compare."""
        small = self.intensity <= INTENSITY_LIMIT and self.sigma <= SIGMA_LIMIT
        return small and self.compared > 0.5


class Comparison:
    """Compares all results of one set-up."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.geometry = setup.geometry()
        self.exposure: Exposure = expose(setup, self.geometry)
        ends = np.percentile(self.geometry.q(), (3.0, 95.0))
        self.radial_range = float(ends[0]), float(ends[1])

    def npt(self, result: str) -> int:
        """Number of radial bins."""
        return self.exposure.frame.size // PIXELS_PER_BIN[result]

    def deviations(self, task: Task) -> Iterator[Deviation]:
        """That of each engine."""
        # The compiled engine of pyFAI finds the azimuthal variance in one pass, and other quantiles;
        # that in Python sums in single precision.
        plain = "python" if task.result == "medfilt" else "cython"
        expected = self._expected(task, plain)
        inner: tuple[slice, ...] = (slice(ENDS, -ENDS),)
        if task.result == "2D":
            inner = (slice(1, -1), *inner)
        filled, compared = (bins[inner] for bins in self._bins(task))
        sem = expected.sem
        if task.error_model == "azimuthal":
            two_pass = self._expected(task, "python")
            sem = two_pass.sem
            # Where its own two engines clip other pixels, pyFAI is no oracle.
            compared &= (expected.count == two_pass.count)[inner]
        for engine in task.engines:
            result = self._reduced(task, self._integrator(task, engine))
            np.testing.assert_allclose(result.radial, expected.radial, rtol=1e-12)
            if result.sigma is None:
                raise ValueError(f"{task} gave no errors.")
            alike = compared
            if task.result == "medfilt":
                # Of two pixels of one intensity, but other counts, either may be the median.
                weights = result.sum_normalization, expected.sum_normalization
                alike = compared & np.isclose(*weights, rtol=1e-4)[inner]
            yield Deviation(
                engine=engine,
                intensity=_worst(result.intensity[inner], expected.intensity[inner], compared),
                sigma=_worst(result.sigma[inner], sem[inner], alike),
                compared=float(compared.sum() / filled.sum()),
            )

    def _bins(self, task: Task) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which bins hold something, and which are compared."""
        integrator = self._integrator(task, "scipy")
        frame, variance = self.exposure.frame, self.exposure.variance
        count = integrator.integrate(frame, variance=variance).count
        compared = count >= ENOUGH
        if task.result == "medfilt":
            low, high = (
                integrator.medfilt(frame, percentile=50.0 + shift, variance=variance)
                for shift in (-MEDIAN_MARGIN, MEDIAN_MARGIN)
            )
            compared &= (low.intensity == high.intensity) & (low.count == high.count)
        return count > 0, compared

    def _integrator(self, task: Task, engine: str) -> ba.Integrator:
        exposure = self.exposure
        in_2d = task.result == "2D"
        # pyFAI takes a dark to be without noise, but not for Poisson errors in two dimensions.
        noisy = in_2d and task.error_model in ("poisson", "hybrid")
        noiseless = exposure.dark is not None and not noisy
        return ba.Integrator(
            self.geometry,
            self.npt(task.result),
            npt_azim=NPT_AZIM if in_2d else None,
            unit=UNIT,
            radial_range=self.radial_range,
            azimuth_range=AZIMUTH_RANGE if in_2d else None,
            splitting=task.splitting,
            mask=exposure.mask,
            dark=exposure.dark,
            flat=exposure.flat,
            polarization_factor=exposure.polarization_factor,
            error_model=task.error_model,
            dummy=exposure.dummy,
            delta_dummy=exposure.delta_dummy,
            engine=engine,
            dark_variance=np.zeros(self.geometry.shape) if noiseless else None,
        )

    def _reduced(self, task: Task, integrator: ba.Integrator) -> ba.IntegrationResult:
        frame, factor = self.exposure.frame, self.exposure.normalization_factor
        variance = self.exposure.variance if task.error_model == "variance" else None
        if task.result == "sigma_clip":
            return integrator.sigma_clip(frame, factor, variance=variance)
        if task.result == "medfilt":
            return integrator.medfilt(frame, factor, variance=variance)
        return integrator.integrate(frame, factor, variance=variance)

    def _expected(self, task: Task, implementation: str) -> Any:
        exposure, npt = self.exposure, self.npt(task.result)
        options: dict[str, Any] = {
            "unit": UNIT,
            "radial_range": self.radial_range,
            "method": (task.splitting, "csr", implementation),
            "error_model": task.error_model,
            "variance": exposure.variance if task.error_model == "variance" else None,
            "mask": self._mask,
            "dark": exposure.dark,
            "flat": exposure.flat,
            "polarization_factor": exposure.polarization_factor,
            "dummy": exposure.dummy,
            "delta_dummy": exposure.delta_dummy,
            "normalization_factor": exposure.normalization_factor,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if task.result == "2D":
                return self._oracle.integrate2d(
                    exposure.frame, npt, NPT_AZIM, azimuth_range=AZIMUTH_RANGE, **options
                )
            if task.result == "sigma_clip":
                return self._oracle.sigma_clip(
                    exposure.frame, npt, thres=5.0, max_iter=5, **options
                )
            if task.result == "medfilt":
                return self._oracle.medfilt1d_ng(exposure.frame, npt, percentile=50, **options)
            return self._oracle.integrate1d(exposure.frame, npt, **options)

    @property
    def _mask(self) -> NDArray[np.bool_] | None:
        """For pyFAI, in which a mask replaces that of the detector."""
        own, added = self.geometry.detector.mask, self.exposure.mask
        return added if own is None or added is None else own | added

    @cached_property
    def _oracle(self) -> Any:
        pyfai = import_pyfai()
        setup, geometry = self.setup, self.setup.geometry()
        detector = pyfai.detectors.detector_factory(
            setup.detector, {"orientation": setup.orientation}
        )
        if detector.CORNERS == 6:
            _centre_hexagons(detector)
        names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
        return pyfai.integrator.azimuthal.AzimuthalIntegrator(
            detector=detector, **{name: getattr(geometry, name) for name in names}
        )


def import_pyfai() -> ModuleType:
    """pyFAI, whose imports warn of others' deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyFAI
        import pyFAI.detectors
        import pyFAI.integrator.azimuthal

    oracle: ModuleType = pyFAI
    return oracle


def _centre_hexagons(detector: Any) -> None:
    """Let pyFAI put the centre of a hexagon in its middle; by itself it takes four corners."""
    row, column = np.indices(detector.shape, dtype=np.float64)
    y = (row * np.sqrt(0.75) + np.sqrt(1 / 3)) * detector.pitch
    x = (column + 0.5 + 0.5 * (row % 2)) * detector.pitch
    detector.calc_cartesian_positions = lambda *_args, **_options: (y, x, None)


def _worst(ours: FloatArray, theirs: Sequence[float], where: NDArray[np.bool_]) -> float:
    expected = np.asarray(theirs, dtype=np.float64)[where]
    return float(np.max(np.abs(ours[where] / expected - 1.0), initial=0.0))
