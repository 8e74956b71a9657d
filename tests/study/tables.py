"""Outcomes as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

import numpy as np

from bluesky_azint.calibration.cone import PARAMETERS
from tests.study.judge import Errors, Outcome
from tests.study.scenes import MEANINGS

_FIGURES: tuple[tuple[str, Callable[[Errors], float]], ...] = (
    ("centre, px", lambda errors: errors.centre_px),
    ("distance", lambda errors: errors.distance),
    ("tilt, deg", lambda errors: errors.tilt),
    ("dq/q inside", lambda errors: errors.q_inside),
    ("px inside", lambda errors: errors.px_inside),
    ("px", lambda errors: errors.px),
)


def markdown(outcomes: Sequence[Outcome]) -> str:
    """All tables, each if there is something to put into it."""
    right = [outcome for outcome in outcomes if outcome.expects == "right"]
    other = [outcome for outcome in outcomes if outcome.expects != "right"]
    parts = []
    if right:
        parts += [counts(right), accuracy(right), honesty(right)]
    if other:
        parts += [refusals(other)]
    return "\n\n".join([*parts, astray(outcomes)]) + "\n"


def counts(outcomes: Sequence[Outcome]) -> str:
    """How often it was found, and how long it took."""
    head = ["class", "", "frames", "accepted, right", "review, right", "refused, right"]
    head += ["refused, not found", "silently wrong", "review, wrong", "failed", "seconds"]
    rows = []
    for kind, group in _by_kind(outcomes):
        told = [(one.verdict, one.right) for one in group]
        cases = [("accepted", True), ("review", True), ("refused", True), ("refused", False)]
        cases += [("accepted", False), ("review", False), ("failed", False)]
        times = [one.seconds for one in group]
        numbers = [str(told.count(case)) for case in cases]
        rows.append([kind, MEANINGS[kind], str(len(group)), *numbers, spread(times, "{:.1f}")])
    return table(head, rows, left=2)


def accuracy(outcomes: Sequence[Outcome]) -> str:
    """Errors of the accepted: median and 90 %."""
    head = ["accepted", *(name for name, _ in _FIGURES)]
    rows = []
    for kind, group in _by_kind(outcomes):
        good = [one.errors for one in group if one.verdict == "accepted" and one.errors]
        figures = [[abs(value(errors)) for errors in good] for _, value in _FIGURES]
        rows.append([kind, *(spread(values, "{:.1e}") for values in figures)])
    return table(head, rows)


def honesty(outcomes: Sequence[Outcome]) -> str:
    """Robust standard deviation of the errors over their sigma, and its 95th percentile."""
    head = ["error / sigma", *PARAMETERS]
    rows = []
    for kind, group in _by_kind(outcomes):
        pulls = np.array([one.pulls for one in group if one.verdict == "accepted"])
        cells = []
        for k in range(5):
            values = np.abs(pulls[:, k][np.isfinite(pulls[:, k])]) if len(pulls) else np.array([])
            cells.append(
                f"{1.4826 * np.median(values):.2f} / {np.quantile(values, 0.95):.1f}"
                if values.size
                else ""
            )
        rows.append([kind, *cells])
    return table(head, rows)


def refusals(outcomes: Sequence[Outcome]) -> str:
    """What became of frames that must not be accepted."""
    head = ["class", "", "must be", "frames", "refused", "review", "accepted", "failed", "seconds"]
    rows = []
    for kind, group in _by_kind(outcomes):
        verdicts = [one.verdict for one in group]
        wanted = "refused" if group[0].expects == "refused" else "not accepted"
        numbers = [verdicts.count(one) for one in ("refused", "review", "accepted", "failed")]
        times = spread([one.seconds for one in group], "{:.1f}")
        rows.append([kind, MEANINGS[kind], wanted, str(len(group)), *map(str, numbers), times])
    return table(head, rows, left=3)


def astray(outcomes: Sequence[Outcome]) -> str:
    """The frames that did not come out as wanted, to be looked at alone."""
    lines = []
    for one in outcomes:
        if not one.as_wanted:
            off = "" if one.errors is None else f", {one.errors.px:.2g} px off"
            why = f": {' '.join(one.reasons)}" if one.reasons else ""
            lines.append(f"* `{one.kind} {one.seed}` {one.verdict}{off}{why}")
    return "\n".join(lines) or "Everything came out as wanted."


def spread(values: Iterable[float], style: str) -> str:
    """Median and 90th percentile."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return ""
    return " / ".join(style.format(np.quantile(finite, share)) for share in (0.5, 0.9))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table, numbers to the right."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _by_kind(outcomes: Sequence[Outcome]) -> list[tuple[str, list[Outcome]]]:
    return [(kind, list(group)) for kind, group in groupby(outcomes, lambda one: one.kind)]
