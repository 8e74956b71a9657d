"""Tables: a report for people."""

from __future__ import annotations

from typing import NamedTuple

from bluesky_azint.benchmark.cases import CONSTANT, Figure, Goal
from bluesky_azint.benchmark.measure import Outcome
from bluesky_azint.benchmark.peers import PYFAI
from bluesky_azint.benchmark.report import Report
from bluesky_azint.benchmark.ways import OURS


class Table(NamedTuple):
    """A table: what stands above it, and its rows, of which the first is the head.

    The first ``words`` columns are words.
    """

    title: str
    rows: list[list[str]]
    words: int = 1


def tables(report: Report) -> list[Table]:
    """All of a report, without the tables of what was not measured."""
    drawn = [draw(report) for draw in (_speed, _others, _seconds, _memory, _limit, _sizes)]
    return [table for table in drawn if len(table.rows) > 1]


def _speed(report: Report) -> Table:
    head = ["case", "CPU", "wall", "median", "pyFAI", "wall", "median", "x CPU", "x wall"]
    rows = [[*head, "reach", "aim", "", "sums", "error", "pyFAI's"]]
    for outcome in _timed(report):
        goal = next((goal for goal in outcome.case.goals if goal.figure == "ratio"), None)
        rows.append(
            [
                outcome.case.title,
                *_times(outcome, OURS),
                *_times(outcome, PYFAI),
                *_ratios(outcome, PYFAI),
                *(_goal(report, outcome, goal, "{:g}x") if goal else ["", "", ""]),
                _power(outcome.figure("signal_accuracy")) if outcome.case.splitting == "no" else "",
                *(_power(outcome.figure("accuracy", way)) for way in (OURS, PYFAI)),
            ]
        )
    return Table(
        "ms a frame: CPU time of all threads and wall time, the least of all rounds, and the median "
        f"of wall; beside {PYFAI}.\nError: largest relative difference of the intensity of a bin "
        "from a reference in double precision, 1 if it fills other bins.\nSums: the same of the "
        "counts, where pixels are whole.",
        rows,
    )


def _others(report: Report) -> Table:
    rows = [["case", "", "CPU", "wall", "median", "x CPU", "x wall", "error"]]
    rows += [
        [
            outcome.case.title,
            way,
            *_times(outcome, way),
            *_ratios(outcome, way),
            _power(outcome.figure("accuracy", way)),
        ]
        for outcome in _timed(report)
        for way in outcome.ways
        if way not in (OURS, PYFAI)
    ]
    return Table("Other ways, and how many times more they take than we.", rows, words=2)


def _seconds(report: Report) -> Table:
    rows = [["case", "ms", "reach", "aim", ""]]
    for outcome, goal in _goals(report, "seconds"):
        value = outcome.figure("wall_min")
        rows.append([outcome.case.title, _ms(value), *_goal(report, outcome, goal, "{:g}", 1e3)])
    return Table("Times that have a goal of their own: ms a frame by the clock.", rows)


def _memory(report: Report) -> Table:
    rows = [["case", "of", "MB", "pyFAI", "part", "reach", "aim", ""]]
    for figure in ("peak", "lookup"):
        for outcome, goal in _goals(report, figure):
            value = report.goal_value(outcome, goal)
            rows.append(
                [
                    outcome.case.title,
                    figure,
                    *(_mb(outcome.figure(figure, way)) for way in (OURS, PYFAI)),
                    "-" if value is None else f"{value:.2f}",
                    *_goal(report, outcome, goal, "{:.2g}"),
                ]
            )
    return Table(
        "Memory: by how much it grows, at its peak, from nothing to the first pattern; and the table "
        "that is kept.",
        rows,
        words=2,
    )


def _limit(report: Report) -> Table:
    rows = [["case", "bytes", "additions", "ns", "limit", "part", "pyFAI"]]
    for outcome in _timed(report):
        fraction = report.fraction(outcome)
        if outcome.traffic is None or fraction is None:
            continue
        rows.append(
            [
                outcome.case.title,
                f"{outcome.traffic.read:.1f}",
                f"{outcome.traffic.updates:.2f}",
                _ns(outcome, OURS),
                f"{1e9 * outcome.traffic.limit(report.bandwidth):.2f}",
                f"{100 * fraction:.0f} %",
                _ns(outcome, PYFAI),
            ]
        )
    return Table(
        "The limit of memory, for each pixel: bytes to be read, additions to bins, CPU time, and what "
        f"reading alone takes a core, at {report.bandwidth / 1e9:.1f} GB/s.",
        rows,
    )


def _sizes(report: Report) -> Table:
    spread = report.spread()
    rows = [["detector", "ns"]]
    if spread is None:
        return Table("", rows)
    rows += [[detector, f"{1e9 * time:.2f}"] for detector, time in report.sizes()]
    return Table(
        f"CPU time of a pixel by the size of the detector: within {100 * spread:.0f} %, to be within "
        f"{100 * CONSTANT:.0f} %.",
        rows,
    )


def _timed(report: Report) -> list[Outcome]:
    return [outcome for outcome in report.outcomes if outcome.figure("cpu_min") is not None]


def _goals(report: Report, figure: Figure) -> list[tuple[Outcome, Goal]]:
    return [
        (outcome, goal)
        for outcome in report.outcomes
        for goal in outcome.case.goals
        if goal.figure == figure
    ]


def _goal(report: Report, outcome: Outcome, goal: Goal, form: str, scale: float = 1.0) -> list[str]:
    """What is promised, what is hoped for, and which of it is met."""
    value = report.goal_value(outcome, goal)
    ends = ["-" if end is None else form.format(scale * end) for end in (goal.reach, goal.aim)]
    return [*ends, "" if value is None else goal.met(value)]


def _times(outcome: Outcome, way: str) -> list[str]:
    return [_ms(outcome.figure(name, way)) for name in ("cpu_min", "wall_min", "wall_median")]


def _ratios(outcome: Outcome, way: str) -> list[str]:
    ratios = [outcome.ratio(name, way) for name in ("cpu_min", "wall_min")]
    return ["-" if ratio is None else f"{ratio:.1f}x" for ratio in ratios]


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.2f}"


def _ns(outcome: Outcome, way: str) -> str:
    """Of a pixel."""
    seconds = outcome.figure("cpu_min", way)
    return "-" if seconds is None else f"{1e9 * seconds / outcome.pixels:.2f}"


def _mb(size: float | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f}"


def _power(value: float | None) -> str:
    return "-" if value is None else f"{value:.0e}" if value else "exact"
