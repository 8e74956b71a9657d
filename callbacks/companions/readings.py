"""The readings beside some frames, and which of the frames cannot be reduced for want of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.companions.config import CompanionsConfig, Quantity
from bluesky_azint.callbacks.companions.values import Found, RunValues
from bluesky_azint.callbacks.coverage import in_words
from bluesky_azint.errors import FrameError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_HIGHEST_KEV = 1000.0
_LOWEST_KEV = 0.1

_NOT_OF_GEOMETRY = ("monitor", "exposure")


@dataclass(frozen=True, kw_only=True)
class Need:
    """A number that frames need.

    Parameters
    ----------
    role
        What it is for: ``"monitor"``, ``"exposure"``, ``"energy"``, or a parameter or position of
        the geometry.
    quantity
        The number.
    lowest, highest
        Between which it must lie, ends excluded.
    expected
        The same in words.
    """

    role: str
    quantity: Quantity
    lowest: float = -math.inf
    highest: float = math.inf
    expected: str = "finite"


@dataclass(frozen=True, kw_only=True, eq=False)
class Readings:
    """What was read beside some frames, one after the other, for which it is the same.

    Only monitors may differ from frame to frame.

    Parameters
    ----------
    frames
        Which of the frames that were asked for.
    needs, numbers
        What is needed, and of each the ``(n,)`` numbers.
    found
        Where each is.
    problem
        Why these frames cannot be reduced, as a sentence; "" if they can.
    """

    frames: slice
    needs: Sequence[Need]
    numbers: Sequence[Floats]
    found: Sequence[Found]
    problem: str = ""

    def of(self, role: str) -> list[Floats]:
        """The numbers of a role."""
        together = zip(self.needs, self.numbers, strict=True)
        return [numbers for need, numbers in together if need.role == role]

    def one(self, role: str) -> float | None:
        """The number of a role; None if it is not asked for."""
        numbers = self.of(role)
        return float(numbers[0][0]) if numbers else None

    @property
    def sources(self) -> dict[str, list[str]]:
        """What was read, and where, by role."""
        told: dict[str, list[str]] = {}
        for need, found in zip(self.needs, self.found, strict=True):
            told.setdefault(need.role, []).append(f"{need.quantity.key} of {found.place}")
        return told

    @property
    def moves(self) -> bool:
        """Whether each event has an energy or a place of a motor of its own."""
        return any(
            found.column is not None
            for need, found in zip(self.needs, self.found, strict=True)
            if need.role not in _NOT_OF_GEOMETRY
        )


def needed_by(config: CompanionsConfig) -> list[Need]:
    """All the numbers that frames need."""
    needs = [
        Need(role="monitor", quantity=one, lowest=0.0, expected="above 0") for one in config.monitor
    ]
    if config.exposure is not None:
        needs.append(
            Need(role="exposure", quantity=config.exposure, lowest=0.0, expected="above 0 s")
        )
    if config.energy is not None:
        needs.append(
            Need(
                role="energy",
                quantity=config.energy,
                lowest=_LOWEST_KEV,
                highest=_HIGHEST_KEV,
                expected=f"between {_LOWEST_KEV:g} and {_HIGHEST_KEV:g} keV",
            )
        )
    moving = config.goniometer.positions if config.goniometer else config.geometry
    return [*needs, *(Need(role=role, quantity=one) for role, one in moving.items())]


def read_beside(
    needs: Sequence[Need],
    values: RunValues,
    descriptor: str,
    seq_nums: Integers,
    within: Integers,
    apart: Floats,
) -> list[Readings]:
    """What was read beside frames, by stretches of them for which it is the same.

    Parameters
    ----------
    needs
        What to read.
    values, descriptor, seq_nums, within
        From where, and of which frames; see `RunValues.read`.
    apart
        ``(n,)``, a number of each frame that keeps those apart for which it differs.
    """
    found = [values.find(need.quantity.key, descriptor) for need in needs]
    try:
        numbers = [
            need.quantity.of(values.read(need.quantity.key, descriptor, seq_nums, within))
            for need in needs
        ]
    except FrameError as error:
        nan = np.full(len(seq_nums), np.nan)
        return [
            Readings(
                frames=slice(0, len(seq_nums)),
                needs=needs,
                numbers=[nan] * len(needs),
                found=found,
                problem=str(error),
            )
        ]
    culprits = _culprits(needs, numbers, len(seq_nums))
    shared = [n for need, n in zip(needs, numbers, strict=True) if need.role != "monitor"]
    shared.append(apart)

    def kind(frame: int) -> tuple[float, ...]:
        """Equal for frames that can be together."""
        if culprits[frame] >= 0:
            worst = numbers[culprits[frame]][frame]
            return culprits[frame], np.isnan(worst), np.nan_to_num(worst)
        return (-1, *(one[frame] for one in shared))

    parts = []
    for (culprit, *_), group in groupby(range(len(seq_nums)), kind):
        members = list(group)
        some = slice(members[0], members[-1] + 1)
        problem = ""
        if culprit >= 0:
            need, worst = needs[int(culprit)], float(numbers[int(culprit)][some.start])
            problem = _refusal(need, worst, seq_nums[some], values, descriptor)
        parts.append(
            Readings(
                frames=some,
                needs=needs,
                numbers=[one[some] for one in numbers],
                found=found,
                problem=problem,
            )
        )
    return parts


def _culprits(needs: Sequence[Need], numbers: Sequence[Floats], frames: int) -> Integers:
    """The first of the needs that each frame lacks; -1 if none."""
    culprits = np.full(frames, -1, dtype=np.int64)
    for number in reversed(range(len(needs))):
        need, read = needs[number], numbers[number]
        good = np.isfinite(read) & (read > need.lowest) & (read < need.highest)
        culprits[~good] = number
    return culprits


def _refusal(
    need: Need, number: float, seq_nums: Integers, values: RunValues, descriptor: str
) -> str:
    """Why frames of some events cannot be reduced: a number of theirs is of no use."""
    what, stream = f"the {need.role} {need.quantity.key!r}", values.name(descriptor)
    why_not = values.why_not(need.quantity.key, descriptor)
    if np.isnan(number) and not values.find(need.quantity.key, descriptor).place:
        # The same for all of them, which is to be told once.
        return f"No frame of the stream {stream!r} can be reduced without {what}. {why_not}"
    events = sorted(set(seq_nums.tolist()))
    where = (
        f"Event{'s' if len(events) > 1 else ''} {in_words(events)} of the stream {stream!r} cannot "
        "be reduced"
    )
    if np.isnan(number):
        return f"{where} without {what}. {why_not}"
    return (
        f"{where}: {what} is {number:g}, and must be {need.expected}. If the device reads right, "
        "correct its scale and zero in the configuration."
    )
