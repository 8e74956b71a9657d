"""Whether the errors are honest: one scene exposed many times, the spread beside the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from bluesky_azint.calibration.cone import PARAMETERS, Cone
from tests.study.one import calibrated
from tests.study.places import FloatArray
from tests.study.scene import digitized, generator
from tests.study.scenes import make
from tests.study.tables import table

SCENES = (("A", 3), ("B", 2), ("C", 1))
LOW, HIGH = 0.8, 1.25


@dataclass(frozen=True, eq=False, kw_only=True)
class Realization:
    """What one exposure gave: the parameters of `Cone`, their standard errors, and the truth."""

    kind: str
    seed: int
    found: FloatArray
    sigma: FloatArray
    truth: FloatArray


def realize(task: tuple[str, int, int]) -> Realization | None:
    """Expose a scene once more, and calibrate; None if it was refused."""
    kind, seed, number = task
    scene = make(kind, seed)
    if scene.look is None:
        return None
    rng = generator(f"{kind} {seed}", number)
    counts = rng.poisson(scene.look.expected())
    exposed_again = replace(scene, image=digitized(counts, scene.detector))
    calibration, _ = calibrated(exposed_again, near=scene.geometry)
    if calibration.geometry is None or calibration.beam_covariance is None:
        return None
    return Realization(
        kind=kind,
        seed=seed,
        found=Cone.of(calibration.geometry).parameters,
        sigma=np.sqrt(np.diag(calibration.beam_covariance)[:5]),
        truth=Cone.of(scene.geometry).parameters,
    )


def spreads(realizations: Sequence[Realization]) -> tuple[FloatArray, FloatArray]:
    """Spread over the predicted error, and mean error over that of the mean, by parameter."""
    found = np.array([one.found for one in realizations])
    sigma = np.sqrt(np.mean([one.sigma**2 for one in realizations], axis=0))
    spread = found.std(axis=0, ddof=1)
    bias = (found.mean(axis=0) - realizations[0].truth) / (spread / np.sqrt(len(found)))
    return spread / sigma, bias


def markdown(realizations: Sequence[Realization | None]) -> str:
    """A row for each scene."""
    known = [one for one in realizations if one is not None]
    rows = []
    for (kind, seed), group in groupby(known, lambda one: (one.kind, one.seed)):
        alike = list(group)
        ratios, bias = spreads(alike)
        cells = [f"{a:.2f} ({b:+.1f})" for a, b in zip(ratios, bias, strict=True)]
        rows.append([f"`{kind} {seed}`", str(len(alike)), *cells])
    return table(["scene", "exposures", *PARAMETERS], rows)
