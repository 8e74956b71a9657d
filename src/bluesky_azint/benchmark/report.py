"""The report: what was measured, and what that means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bluesky_azint.benchmark.cases import SIZES, Goal
from bluesky_azint.benchmark.machine import Machine
from bluesky_azint.benchmark.measure import Outcome
from bluesky_azint.benchmark.ways import OURS

_NOT_TOLD = ("goals", "quick", "all_peers")  # of the settings of a case


@dataclass(frozen=True)
class Report:
    """What was measured.

    Parameters
    ----------
    machine
        Where.
    bandwidth
        Bytes a second that one core reads.
    outcomes
        Of each case.
    """

    machine: Machine
    bandwidth: float
    outcomes: Sequence[Outcome]

    def goal_value(self, outcome: Outcome, goal: Goal) -> float | None:
        """What is to be compared with a goal.

        On CPUs ratios are those of the CPU times, which hold on machines that are not idle, too.
        """
        if goal.figure == "seconds":
            return outcome.figure("wall_min")
        if goal.figure == "ratio":
            return outcome.ratio("wall_min" if self._on_gpu(outcome) else "cpu_min")
        larger = outcome.ratio(goal.figure)
        return None if larger is None else 1.0 / larger

    def fraction(self, outcome: Outcome) -> float | None:
        """What the limit of memory is of the time that we take; None where it is not the limit."""
        cpu = outcome.figure("cpu_min")
        if outcome.traffic is None or not cpu or self._on_gpu(outcome):
            return None
        return outcome.traffic.limit(self.bandwidth) * outcome.pixels / cpu

    def sizes(self) -> list[tuple[str, float]]:
        """Detectors of the cases that differ in their size alone, and CPU seconds of a pixel."""
        return [
            (outcome.case.detector, cpu / outcome.pixels)
            for outcome in self.outcomes
            if outcome.case.name.startswith(SIZES) and (cpu := outcome.figure("cpu_min"))
        ]

    def spread(self) -> float | None:
        """By which part the time of a pixel differs among detectors of all sizes."""
        times = [time for _, time in self.sizes()]
        return max(times) / min(times) - 1.0 if len(times) > 1 else None

    def figures(self) -> dict[str, Any]:
        """All of it as plain values: seconds a frame, bytes."""
        return {
            "machine": {**asdict(self.machine), "warnings": self.machine.warnings},
            "bandwidth": self.bandwidth,
            "spread_of_sizes": self.spread(),
            "cases": [self._case(outcome) for outcome in self.outcomes],
        }

    def _case(self, outcome: Outcome) -> dict[str, Any]:
        settings = asdict(outcome.case)
        return {
            **{name: value for name, value in settings.items() if name not in _NOT_TOLD},
            "pixels": outcome.pixels,
            "goals": [self._goal(outcome, goal) for goal in outcome.case.goals],
            "ways": {name: asdict(measured) for name, measured in outcome.ways.items()},
            "ratio": {
                name: {
                    "cpu": outcome.ratio("cpu_min", name),
                    "wall": outcome.ratio("wall_min", name),
                }
                for name, measured in outcome.ways.items()
                if name != OURS and measured.timing is not None
            },
            "traffic": None if outcome.traffic is None else asdict(outcome.traffic),
            "fraction_of_limit": self.fraction(outcome),
        }

    def _goal(self, outcome: Outcome, goal: Goal) -> dict[str, Any]:
        value = self.goal_value(outcome, goal)
        return {**asdict(goal), "value": value, "met": None if value is None else goal.met(value)}

    def _on_gpu(self, outcome: Outcome) -> bool:
        return self.machine.gpu and outcome.case.engine == "opencl"
