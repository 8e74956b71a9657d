"""A scan that looks where the patterns change: it halves its steps there.

Between two neighbouring points with patterns :math:`I_1, I_2` of :math:`N` bins,

.. math:: \\chi^2 = \\sum_i \\frac{(I_{2i} - I_{1i})^2}{\\sigma_{1i}^2 + \\sigma_{2i}^2}, \\qquad
          z = \\frac{\\chi^2 - N}{\\sqrt{2 N}}

tells by how many standard deviations the patterns differ by more than noise. The step with the
largest :math:`z` is halved, and so on, until all are settled: too small a change, or too small a
step. A sharp peak is seen that adds less than a percent to the total.
"""

# Annotations stay objects: the queue server does not understand them as text.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from bluesky_azint.callbacks.pattern import Pattern
from bluesky_azint.callbacks.reduced_patterns import ReducedPatterns
from bluesky_azint.errors import RecipeError
from bluesky_azint.plans.reporting import failed_run
from bluesky_azint.plans.waiting import (
    PatternsLike,
    connected,
    opened_patterns,
    wait_for_reduction,
)


@dataclass(frozen=True, kw_only=True)
class AdaptiveOutcome:
    """What an adaptive scan did.

    Parameters
    ----------
    run_uid
        Uid of the run.
    positions
        Where frames were taken, in that order.
    settled
        Whether the scan ended since no step was left to halve, and not since there were enough
        points.
    """

    run_uid: str
    positions: tuple[float, ...]
    settled: bool


def adaptive_pattern_scan(
    detectors: Sequence[Readable[Any]],
    motor: Movable[Any],
    start: float,
    stop: float,
    *,
    patterns: PatternsLike,
    num: int = 5,
    max_points: int = 50,
    min_step: float = 0.0,
    significance: float = 5.0,
    data_key: str | None = None,
    timeout: float = 30.0,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[AdaptiveOutcome]:
    """Scan a motor, with small steps where the pattern changes and large ones elsewhere.

    It begins with an even scan. Then it halves the step over which the pattern changes most, again
    and again, so that points gather where a phase comes or goes, for instance. The motor goes back
    and forth for that: it is for positions and compositions, not for what cannot go back.

    Parameters
    ----------
    detectors
        What to read; one of them at least is a detector whose frames are reduced.
    motor
        What to move.
    start, stop
        From where to where.
    patterns
        Where the patterns come to; or where they come from: ``"tcp://host:port"`` of a 0MQ proxy,
        or ``"redis://host:port/0#stream"``.
    num
        How many points to begin with.
    max_points
        How many to take at most.
    min_step
        No step becomes smaller than that.
    significance
        Steps over which the pattern changes by less than that many standard deviations are not
        halved. Without an error model the noise is not known, and all are.
    data_key
        Of which images; not needed where the run has one detector.
    timeout
        How many seconds to wait for a pattern.
    md
        Metadata of the run.

    Returns
    -------
    The outcome.

    Raises
    ------
    RecipeError
        Before anything moves, if there is nothing to scan.
    ReductionFailed, ReductionTimeout
        If a frame could not be reduced, or not in time; the run then fails.
    """
    if start == stop or not 2 <= num <= max_points or not min_step >= 0:
        raise RecipeError(
            f"There is nothing to scan from {start} to {stop} with {num} to {max_points} points and "
            f"steps not below {min_step}. Two points are needed, and two places."
        )
    readable: Any = motor
    fields = getattr(motor, "hints", {}).get("fields", [])
    metadata = {
        "plan_name": "adaptive_pattern_scan",
        "detectors": [detector.name for detector in detectors],
        "motors": [readable.name],
        "plan_args": {
            "detectors": [repr(detector) for detector in detectors],
            "motor": repr(motor),
            "start": start,
            "stop": stop,
            "num": num,
            "max_points": max_points,
            "min_step": min_step,
            "significance": significance,
        },
        "hints": {"dimensions": [(fields, "primary")]} if fields else {},
        **(md or {}),
    }
    taken: dict[float, Pattern] = {}

    def scan(run_uid: str, arriving: ReducedPatterns) -> MsgGenerator[bool]:
        def take(position: float) -> MsgGenerator[None]:
            yield from bps.one_1d_step(detectors, readable, position)
            pattern = yield from wait_for_reduction(
                arriving, run_uid, len(taken) + 1, data_key=data_key, timeout=timeout
            )
            taken[position] = pattern

        for position in np.linspace(start, stop, num).tolist():
            yield from take(position)
        while len(taken) < max_points:
            middle = next_position(taken, min_step, significance)
            if middle is None:
                return True
            yield from take(middle)
        return False

    def run() -> MsgGenerator[AdaptiveOutcome]:
        with opened_patterns(patterns) as arriving:
            yield from connected(arriving, timeout)
            uid: str = yield from bps.open_run(metadata)
            settled: bool = yield from bpp.contingency_wrapper(  # type: ignore[no-untyped-call]
                scan(uid, arriving), except_plan=failed_run, else_plan=bps.close_run
            )
            return AdaptiveOutcome(run_uid=uid, positions=tuple(taken), settled=settled)

    outcome: AdaptiveOutcome = yield from bpp.stage_wrapper(run(), [*detectors, motor])  # type: ignore[no-untyped-call]
    return outcome


def next_position(
    taken: Mapping[float, Pattern], min_step: float, significance: float
) -> float | None:
    """The middle of the step over which the pattern changes most; None if all are settled."""
    steps = [
        (change(taken[left], taken[right], significance), (left + right) / 2)
        for left, right in pairwise(sorted(taken))
        if (right - left) / 2 >= max(min_step, np.spacing(max(abs(left), abs(right))))
    ]
    largest, middle = max(steps, default=(0.0, 0.0))
    return middle if largest > 0 else None


def change(one: Pattern, other: Pattern, significance: float) -> float:
    """How much two patterns differ; 0 where that may be noise.

    Returns
    -------
    By how many standard deviations they differ by more than noise; without error model, which
    cannot tell, the mean square of their difference.

    Raises
    ------
    RecipeError
        If they have not the same bins.
    """
    if one.intensity.shape != other.intensity.shape or (one.radial != other.radial).any():
        raise RecipeError(
            "The radial bins of the patterns are not the same all over the scan, so that they "
            "cannot be compared. Give the recipe of the reduction a radial_range."
        )
    squares = (other.intensity - one.intensity) ** 2
    if one.sigma is None or other.sigma is None:
        return float(np.nanmean(squares))
    variance = one.sigma**2 + other.sigma**2
    seen = variance > 0  # an empty bin has none
    bins = np.count_nonzero(seen)
    if not bins:
        return 0.0
    excess = float((squares[seen] / variance[seen]).sum() - bins) / np.sqrt(2 * bins)
    return excess if excess > significance else 0.0
