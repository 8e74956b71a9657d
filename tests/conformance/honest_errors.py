r"""Are the errors honest? Curves of one sample must differ by as much as their errors say.

Many frames are simulated of one SAXS-like pattern with Poisson noise. For each pair of curves the
reduced chi-squared

.. math::
    \chi^2_{ab} = \frac1\nu \sum_{k=1}^\nu
        \frac{(I_{ak} - I_{bk})^2}{\sigma_{ak}^2 + \sigma_{bk}^2}

follows the chi-squared distribution of :math:`\nu` degrees of freedom, of which the mean is 1, if
the errors are right and the bins independent. Without splitting they are; with splitting,
neighbouring bins share pixels, and their correlation is what the shares say.

Run as ``python -m tests.conformance.honest_errors`` in the root of the repository.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.grid import make_grid
from bluesky_azint.lookup import build_lookup
from bluesky_azint.units import unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

HERE = Path(__file__).parent
NUMBERS, FIGURE = HERE / "honest_errors.json", HERE / "honest_errors.png"

LEVELS = (0.05, 1.0, 100.0)  # mean counts per pixel
FRAMES = 1000
BLOCK = 50  # frames that are simulated at a time

UNIT, NPT = "q_nm^-1", 85
RADIAL_RANGE = (0.2, 1.0)
POLARIZATION = 0.95

# In a bin that is expected to hold so many counts, the floor of the variance (that of one count)
# changes the mean of chi-squared by less than 1e-4: such a bin is empty once in 20000 times.
ENOUGH_COUNTS = 10.0

GEOMETRY = ba.Geometry(
    detector=ba.Detector(172e-6, 172e-6, (300, 300), name="300 x 300"),
    dist=1.5,
    poni1=0.0263,
    poni2=0.0251,
    rot1=0.004,
    rot2=-0.003,
    wavelength=1e-10,
)


@dataclass(frozen=True, eq=False)
class Curves:
    """Intensity and sigma of many frames, each ``(frames, bins)``."""

    radial: FloatArray
    intensity: FloatArray
    sigma: FloatArray


@dataclass(frozen=True)
class Verdict:
    """What the pairs of curves say of the errors.

    Parameters
    ----------
    level
        Mean counts per pixel.
    errors
        ``"ours"`` or ``"pyFAI"``.
    splitting
        How pixels were shared.
    bins, pairs
        How many there are.
    mean
        Of the reduced chi-squared.
    distance
        Of its distribution from that of chi-squared (Kolmogorov-Smirnov).
    correlation, expected_correlation
        Of neighbouring bins, over the frames; and what the shares of their pixels make of it.
    """

    level: float
    errors: str
    splitting: str
    bins: int
    pairs: int
    mean: float
    distance: float
    correlation: float
    expected_correlation: float


def pattern(level: float) -> FloatArray:
    """Expected counts of each pixel: a Guinier knee, a power law and a background."""
    q = GEOMETRY.q()
    intensity = np.exp(-((3.0 * q) ** 2) / 3.0) + 0.01 / (0.1 + q) ** 2 + 0.04
    inside = (q >= RADIAL_RANGE[0]) & (q <= RADIAL_RANGE[1])
    expected: FloatArray = intensity * (level / intensity[inside].mean())
    return expected


def blocks(level: float, frames: int) -> Iterator[NDArray[np.uint16]]:
    """Simulated frames, the same ones every time."""
    rng = np.random.default_rng(20260901)
    expected = pattern(level)
    for start in range(0, frames, BLOCK):
        number = min(BLOCK, frames - start)
        yield rng.poisson(expected, (number, *expected.shape)).astype(np.uint16)


def our_curves(level: float, frames: int, splitting: str, engine: str = "scipy") -> Curves:
    """Curves and errors as bluesky-azint finds them."""
    integrator = ba.Integrator(
        GEOMETRY,
        NPT,
        unit=UNIT,
        radial_range=RADIAL_RANGE,
        splitting=splitting,
        polarization_factor=POLARIZATION,
        error_model="poisson",
        engine=engine,
    )
    results = [integrator.integrate(block) for block in blocks(level, frames)]
    return Curves(
        integrator.radial,
        np.concatenate([result.intensity for result in results]),
        np.concatenate([result.sigma for result in results if result.sigma is not None]),
    )


def pyfai_curves(level: float, frames: int) -> Curves:
    """Curves and errors as pyFAI finds them, without splitting."""
    from tests.conformance.compare import import_pyfai

    pyfai = import_pyfai()
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    integrator = pyfai.integrator.azimuthal.AzimuthalIntegrator(
        detector=pyfai.detectors.Detector(172e-6, 172e-6, max_shape=GEOMETRY.shape),
        **{name: getattr(GEOMETRY, name) for name in names},
    )
    results = [
        integrator.integrate1d(
            frame,
            NPT,
            unit=UNIT,
            radial_range=RADIAL_RANGE,
            method=("no", "csr", "cython"),
            polarization_factor=POLARIZATION,
            error_model="poisson",
        )
        for block in blocks(level, frames)
        for frame in block
    ]
    return Curves(
        results[0].radial,
        np.array([result.intensity for result in results], dtype=np.float64),
        np.array([result.sem for result in results], dtype=np.float64),
    )


def chi_squared(curves: Curves, bins: NDArray[np.bool_]) -> FloatArray:
    """Reduced chi-squared of each pair of curves."""
    intensity, variance = curves.intensity[:, bins], curves.sigma[:, bins] ** 2
    return np.concatenate(
        [
            ((intensity[a + 1 :] - intensity[a]) ** 2 / (variance[a + 1 :] + variance[a])).mean(1)
            for a in range(len(intensity) - 1)
        ]
    )


def shares(splitting: str) -> Any:
    """Share of each pixel in each bin, ``(bins, pixels)``."""
    grid = make_grid(GEOMETRY, unit(UNIT), splitting, NPT, RADIAL_RANGE)
    return build_lookup(GEOMETRY, grid, np.zeros(GEOMETRY.shape, dtype=bool)).matrix


def enough_counts(level: float) -> NDArray[np.bool_]:
    """Bins in which so many counts are expected that Poisson errors can be known."""
    counts = shares("no") @ pattern(level).ravel()
    return np.asarray(counts >= ENOUGH_COUNTS, dtype=bool)


def verdict(curves: Curves, level: float, errors: str, splitting: str) -> Verdict:
    """What all pairs of curves say."""
    from scipy import stats

    bins = enough_counts(level)
    values = chi_squared(curves, bins)
    freedom = int(bins.sum())
    neighbours = bins[1:] & bins[:-1]
    spread = np.where(bins, curves.intensity.std(axis=0), 1.0)
    standard = (curves.intensity - curves.intensity.mean(axis=0)) / spread
    correlation = (standard[:, 1:] * standard[:, :-1]).mean(axis=0)[neighbours]
    return Verdict(
        level=level,
        errors=errors,
        splitting=splitting,
        bins=freedom,
        pairs=values.size,
        mean=float(values.mean()),
        distance=float(stats.kstest(values * freedom, stats.chi2(freedom).cdf).statistic),
        correlation=float(correlation.mean()),
        expected_correlation=float(_expected_correlation(level, splitting)[neighbours].mean()),
    )


def _expected_correlation(level: float, splitting: str) -> FloatArray:
    matrix = shares(splitting)
    weighted = matrix * pattern(level).ravel()[np.newaxis]
    covariance = (weighted @ matrix.T).toarray()
    variance = covariance.diagonal()
    correlation: FloatArray = covariance.diagonal(1) / np.sqrt(variance[1:] * variance[:-1])
    return correlation


def measure(frames: int = FRAMES) -> list[Verdict]:
    """Measure everything; write the numbers and the figure."""
    verdicts, drawn = [], []
    for level in LEVELS:
        ours, theirs = our_curves(level, frames, "no"), pyfai_curves(level, frames)
        drawn.append((ours, theirs))
        verdicts += [verdict(ours, level, "ours", "no"), verdict(theirs, level, "pyFAI", "no")]
        for splitting in ("bbox", "full"):
            verdicts.append(verdict(our_curves(level, frames, splitting), level, "ours", splitting))
    NUMBERS.write_text(json.dumps([asdict(one) for one in verdicts], indent=1) + "\n")
    draw(drawn, verdicts)
    return verdicts


def draw(drawn: list[tuple[Curves, Curves]], verdicts: list[Verdict]) -> None:
    """The figure: a curve of each level, and how chi-squared is distributed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3)
    for column, (level, (ours, theirs)) in enumerate(zip(LEVELS, drawn, strict=True)):
        found = {
            one.errors: one for one in verdicts if one.level == level and one.splitting == "no"
        }
        _draw_curve(axes[0, column], level, ours, theirs)
        _draw_distribution(axes[1, column], level, (ours, theirs), found)
    axes[0, 0].set_ylabel("intensity (counts per pixel)")
    axes[1, 0].set_ylabel("pairs of curves")
    axes[0, 0].legend(loc="upper right", frameon=False, fontsize=9)
    figure.suptitle(
        f"Do {FRAMES} exposures of one sample differ by as much as their error bars say?",
        fontsize=15,
    )
    figure.savefig(FIGURE, dpi=110)


OURS, THEIRS, TRUTH = "#1764ab", "#e8850c", "#222222"


def _draw_curve(axes: Axes, level: float, ours: Curves, theirs: Curves) -> None:
    """One exposure, with both errors and what it would be without noise."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    bins = np.flatnonzero(enough_counts(level))[::3]
    truth = ours.intensity.mean(axis=0)
    place, value = ours.radial[bins], ours.intensity[0, bins]
    axes.errorbar(
        place, value, theirs.sigma[0, bins], fmt="none", ecolor=THEIRS, lw=4, alpha=0.45,
        label="pyFAI's error bars",
    )  # fmt: skip
    axes.errorbar(
        place, value, ours.sigma[0, bins], fmt=".", color=OURS, lw=1.4, ms=5,
        label="bluesky-azint's error bars",
    )  # fmt: skip
    axes.plot(ours.radial, truth, color=TRUTH, lw=1, label=f"mean of {FRAMES} exposures")
    axes.set_yscale("log")
    axes.set_ylim(0.4 * truth.min(), 2.5 * truth.max())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"{level:g} count{'s' * (level != 1)} per pixel", fontsize=13)
    axes.set_xlabel("q (nm$^{-1}$)")


def _draw_distribution(
    axes: Axes, level: float, curves: tuple[Curves, Curves], found: dict[str, Verdict]
) -> None:
    """How the reduced chi-squared of all pairs is distributed."""
    from scipy import stats

    bins = enough_counts(level)
    edges = np.geomspace(0.03, 2.5, 161)
    centres = np.sqrt(edges[1:] * edges[:-1])
    freedom = int(bins.sum())
    for one, name, colour in zip(curves, ("ours", "pyFAI"), (OURS, THEIRS), strict=True):
        values = chi_squared(one, bins)
        axes.hist(values, list(edges), color=colour, alpha=0.5 if name == "ours" else 0.4)
    pairs = found["ours"].pairs
    expected = pairs * np.diff(stats.chi2(freedom).cdf(edges * freedom))
    axes.plot(centres, expected, color=TRUTH, lw=1.4)
    axes.set_xscale("log")
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks([])
    axes.set_xlabel(r"reduced $\chi^2$ of a pair")
    axes.margins(y=0.35)
    lines = [
        (TRUTH, r"line: the $\chi^2$ distribution"),
        (OURS, f"bluesky-azint: mean {found['ours'].mean:.3f}"),
        (THEIRS, f"pyFAI: mean {found['pyFAI'].mean:.3f}"),
    ]
    for number, (colour, text) in enumerate(lines):
        axes.text(
            0.03, 0.95 - 0.085 * number, text, color=colour, transform=axes.transAxes, va="top",
            fontsize=10.5,
        )  # fmt: skip


def report() -> str:
    """The numbers in words, measured anew."""
    verdicts = measure()
    head = ["counts per pixel", "errors", "splitting", "bins", "mean of reduced χ²"]
    head += ["KS distance", "correlation of neighbours", "expected"]
    rows = [f"| {' | '.join(head)} |", "|---:|---|---|---:|---:|---:|---:|---:|"]
    rows += [
        f"| {one.level:g} | {one.errors} | {one.splitting} | {one.bins} | {one.mean:.4f} "
        f"| {one.distance:.3f} | {one.correlation:.3f} | {one.expected_correlation:.3f} |"
        for one in verdicts
    ]
    table = "\n".join(rows)
    scatter = np.sqrt(2.0 / (FRAMES * NPT))
    return f"""![The errors of curves, and how much curves differ](tests/conformance/{FIGURE.name})

{FRAMES} simulated exposures of one SAXS-like sample at each level, with Poisson noise on 300 x 300
pixels, in {NPT} bins; the reduced chi-squared of all {verdicts[0].pairs} pairs of curves, in bins
where at least {ENOUGH_COUNTS:.0f} counts are expected.

* Its mean must be 1; with so many frames and bins it scatters by {scatter:.3f} (one standard
  deviation).
* Without splitting it must be distributed like chi-squared; KS is the distance of the two
  distributions after Kolmogorov and Smirnov.
* With splitting, the errors of each bin are as right, but neighbouring bins share pixels: their
  correlation is what the shares of the pixels make of it, and the distribution becomes wider.

{table}
"""


if __name__ == "__main__":
    sys.stdout.write(report())
