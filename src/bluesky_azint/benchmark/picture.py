"""The picture: the time of each case beside the limit of memory, and the roofline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bluesky_azint.benchmark.cases import SIZES
from bluesky_azint.benchmark.measure import Outcome
from bluesky_azint.benchmark.peers import PYFAI
from bluesky_azint.benchmark.report import Report
from bluesky_azint.benchmark.ways import OURS
from bluesky_azint.errors import RecipeError
from bluesky_azint.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def check_format(path: Path) -> None:
    """See that a picture can be saved under a name, before what it shows is measured.

    Raises
    ------
    RecipeError
        If matplotlib is not installed, or does not know what the name ends in.
    """
    known = style.figure(1.0, 1.0).canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise RecipeError(f"{path} is no kind of picture that can be drawn; name a .png or .svg.")


def draw(report: Report, path: Path) -> None:
    """Save the picture of a report.

    Parameters
    ----------
    report
        With at least one case that integrates frames.
    path
        Where to, a ``.png`` or whatever matplotlib writes.

    Raises
    ------
    RecipeError
        If matplotlib is not installed.
    """
    outcomes = [outcome for outcome in report.outcomes if outcome.traffic is not None]
    figure = style.figure(max(3.6, 1.4 + 0.26 * len(outcomes)), 11.0)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    machine = report.machine
    figure.suptitle(f"{machine.cpu}, {machine.cores} cores", color=style.INK, fontsize=10)
    _draw_times(left, report, outcomes)
    _draw_roof(right, report, outcomes)
    figure.savefig(path)


def _draw_times(axes: Axes, report: Report, outcomes: list[Outcome]) -> None:
    """CPU time of each case on a line of its own: limit, ours, and that of the peer."""
    rows = np.arange(len(outcomes))
    times = {
        "memory alone": [
            1e3 * outcome.traffic.limit(report.bandwidth) * outcome.pixels
            for outcome in outcomes
            if outcome.traffic is not None
        ],
        OURS: [_ms(outcome, OURS) for outcome in outcomes],
        PYFAI: [_ms(outcome, PYFAI) for outcome in outcomes],
    }
    axes.hlines(rows, times[OURS], times[PYFAI], color=style.MASKED, linewidth=3, zorder=1)
    looks = (("|", style.BEAM), ("o", style.DATA), ("D", style.FOREIGN))
    for (name, values), (marker, colour) in zip(times.items(), looks, strict=True):
        if np.isfinite(values).any():
            axes.scatter(values, rows, marker=marker, color=colour, label=name, s=36, zorder=2)
    axes.set_xscale("log")
    axes.set_yticks(
        rows, [f"{outcome.case.title}  {row + 1}" for row, outcome in enumerate(outcomes)]
    )
    axes.invert_yaxis()
    axes.set_xlabel("CPU time of a frame / ms")
    if outcomes:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    style.tidy(axes)


def _draw_roof(axes: Axes, report: Report, outcomes: list[Outcome]) -> None:
    """What a core does over what it has to read, below the roof that memory sets."""
    for row, outcome in enumerate(outcomes):
        cpu = outcome.figure("cpu_min")
        if outcome.traffic is None or not cpu or outcome.case.name.startswith(SIZES):
            continue
        intensity = outcome.traffic.updates / outcome.traffic.read
        rate = 1e-9 * outcome.traffic.updates * outcome.pixels / cpu
        axes.scatter(intensity, rate, color=style.DATA, s=24, zorder=2)
        side, aligned = ((5, -3), "left") if row % 2 else ((-5, -3), "right")
        axes.annotate(
            str(row + 1),
            (intensity, rate),
            side,
            textcoords="offset points",
            ha=aligned,
            fontsize=8,
        )
    traffic = [outcome.traffic for outcome in outcomes if outcome.traffic is not None]
    intensities = [moved.updates / moved.read for moved in traffic] or [1.0]
    ends = np.array([0.5 * min(intensities), 2.0 * max(intensities)])
    axes.loglog(ends, ends * report.bandwidth * 1e-9, color=style.BEAM, zorder=1)
    axes.set_title(
        f"The roof: {report.bandwidth / 1e9:.0f} GB/s a core", color=style.BEAM, fontsize=10
    )
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("additions to bins, for each byte to be read")
    axes.set_ylabel("additions to bins / 10$^9$ s$^{-1}$ of a core")
    style.tidy(axes)


def _ms(outcome: Outcome, way: str) -> float:
    seconds = outcome.figure("cpu_min", way)
    return np.nan if seconds is None else 1e3 * seconds
