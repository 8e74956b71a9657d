"""From a geometry that is right to a few pixels to the one that the image tells.

A first look finds the rings and their widths. Then every ring is fitted in sectors, the geometry to
all sectors, and again with the pixels that are near the rings of the better geometry. What the
image does not tell stays as it was, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibrants import Calibrant
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.constraints import Constraint, Fixed, check_constraints
from bluesky_azint.calibration.refinement.adjustment import Fit, solvable
from bluesky_azint.calibration.refinement.agreement import adjust_to_those_that_agree
from bluesky_azint.calibration.refinement.approach import approach
from bluesky_azint.calibration.refinement.lines import Lines, lines_on
from bluesky_azint.calibration.refinement.neighbours import errors_by_scatter
from bluesky_azint.calibration.refinement.refinement import Refinement, refinement_of
from bluesky_azint.calibration.refinement.sampling import Sampler, unsaturated
from bluesky_azint.calibration.refinement.sectors import measure
from bluesky_azint.calibration.surface import Surface

_FEW = 24  # sectors of a line that do for the first pass
_SETTLED = 0.03  # pixels: a pass that moves the rings no farther is the last
_SETTLED_WIDTH = 0.1  # the same, for the logarithm of their widths


@solvable()
def refine(
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    surface: Surface,
    calibrant: Calibrant,
    wavelength: float,
    start: Cone,
    *,
    constraints: Mapping[str, Constraint] | None = None,
    hold_tilt: tuple[float, float] = (0.0, 0.0),
    passes: int = 4,
    progress: Callable[[str, float], None] | None = None,
) -> Refinement:
    """Fit the geometry to an image.

    Parameters
    ----------
    image
        Of detector shape.
    mask
        True = pixels that do not count.
    surface
        Where pixels lie.
    calibrant
        Whose rings they are.
    wavelength
        In metres.
    start
        A stand that is right to a few pixels.
    constraints
        By name, see `bluesky_azint.calibration.constraints`.
    hold_tilt
        The slopes of a tilt that the rings do not tell, as of a cone.
    passes
        How often at most the pixels are fitted.
    progress
        Called with what is being done, and the share that is done.

    Raises
    ------
    CalibrationError
        If there are no rings near where they should be, or too few, or they hold no geometry.
    RecipeError
        If the constraints are wrong.
    """
    constraints = dict(constraints or {})
    check_constraints(constraints, wavelength)
    tell = progress or (lambda what, done: None)
    known = constraints.get("wavelength")
    if isinstance(known, Fixed):
        wavelength = known.value
    sampler = Sampler(image, unsaturated(image, ~mask), surface)
    tell("Looking for the rings", 0.0)
    lines, seen, absent = approach(sampler, start, lines_on(surface, start, calibrant, wavelength))
    lines = lines.alike()
    fit, rows, _ = adjust_to_those_that_agree(lines, seen, wavelength, constraints, None, hold_tilt)
    among, before, used = None, fit, np.ones(len(lines), dtype=bool)
    for turn in range(passes):
        tell("Refining", (turn + 1) / (passes + 1))
        cone = before.cone
        now = lines_on(surface, cone, calibrant, wavelength)
        others = now[~np.isin(now.ring, np.concatenate([lines.ring, absent]))]
        lines = _placed(lines, now)
        width, few = dict(zip(lines.ring, lines.fwhm, strict=True)), _FEW if turn == 0 else None
        lines, seen, among = measure(sampler, cone, lines, others, among, few)
        lines = lines.alike()
        seen = replace(seen, sigma=errors_by_scatter(seen, surface.size))
        fit, rows, used = adjust_to_those_that_agree(
            lines, seen, wavelength, constraints, before, hold_tilt
        )
        settled = all(
            abs(np.log(one / width[ring])) < _SETTLED_WIDTH
            for ring, one in zip(lines.ring, lines.fwhm, strict=True)
        )
        if turn > 0 and settled and _moved(before, fit) < _SETTLED:
            break
        before = fit
    tell("Refining", 1.0)
    return refinement_of(
        surface, mask, calibrant, wavelength, lines, seen, fit, rows, used, constraints
    )


def _placed(lines: Lines, now: Lines) -> Lines:
    """Lines as they are on the detector now, with the widths they had."""
    chosen = np.isin(now.ring, lines.ring)
    had = np.isin(lines.ring, now.ring)
    return replace(
        now[chosen],
        fwhm=lines.fwhm[had],
        lorentzian=lines.lorentzian[had],
        arc=lines.arc[had],
    )


def _moved(before: Fit, after: Fit) -> float:
    """By how much a pass has moved the rings, at most, in pixels."""
    moved = after.jacobian @ (after.values - before.values)
    return float(np.abs(moved).max())
