"""Cases: what is measured, and how fast it is to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from bluesky_azint.errors import RecipeError

DETECTOR = "Eiger2_4M"
FULL_CIRCLE = (-180.0, 180.0)

# Cases that differ in the size of the detector alone, and by how much a pixel may differ in time.
SIZES = "pixels-"
CONSTANT = 0.2

Task = Literal["frames", "geometry", "file", "first call", "memory"]
Figure = Literal["ratio", "seconds", "peak", "lookup"]


@dataclass(frozen=True)
class Goal:
    """How fast, or how small, something is to be.

    Parameters
    ----------
    figure
        ``"ratio"``: how many times faster than the first peer; ``"seconds"`` a frame; ``"peak"`` and
        ``"lookup"``: part of the memory of the first peer.
    reach, aim
        What is promised, and what is hoped for; None for no such goal.
    """

    figure: Figure
    reach: float | None = None
    aim: float | None = None

    def met(self, value: float) -> str:
        """Which of both a figure meets: ``"aim"``, ``"reach"``, or ``"short"`` of them."""

        def good(goal: float | None) -> bool:
            if goal is None:
                return False
            return value >= goal if self.figure == "ratio" else value <= goal

        return "aim" if good(self.aim) else "reach" if good(self.reach) else "short"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to measure.

    Parameters
    ----------
    name, title
        For programs and for people.
    task
        ``"frames"``: integrate frames again and again. ``"geometry"``: from a geometry not seen
        before to the first pattern. ``"file"``: from a compressed file to patterns.
        ``"first call"``: the first frame of a process. ``"memory"``: what a plan takes.
    detector
        Name in the catalogue, or ``"tiny"``.
    frames
        Integrated in each call.
    npt, npt_azim, splitting, error_model
        As the Integrator knows them; the unit is 1/A.
    counts
        Mean counts of a pixel.
    clip
        Whether outliers are clipped, in up to 5 cycles.
    engine
        Name of our engine.
    radial_range
        None for all from zero to the farthest pixel.
    repeat
        Calls that are timed as one, where one is too short.
    goals
        What is promised, and hoped for.
    quick
        Whether it is measured in a hurry, too.
    all_peers
        Whether it is measured with all ways that others have, not only their best one.
    device
        The kind of device that it takes, ``"gpu"``; None for any.
    """

    name: str
    title: str
    task: Task = "frames"
    detector: str = DETECTOR
    frames: int = 1
    npt: int = 1000
    npt_azim: int | None = None
    splitting: str = "bbox"
    error_model: str | None = "poisson"
    counts: float = 20.0
    clip: bool = False
    engine: str = "opencl"
    radial_range: tuple[float, float] | None = None
    repeat: int = 1
    goals: tuple[Goal, ...] = ()
    quick: bool = False
    all_peers: bool = False
    device: str | None = None

    @property
    def azimuth_range(self) -> tuple[float, float] | None:
        """Degrees of a cake; None for a pattern."""
        return None if self.npt_azim is None else FULL_CIRCLE


def _ratio(reach: float, aim: float) -> tuple[Goal, ...]:
    return (Goal("ratio", reach, aim),)


_PLAN = (Goal("peak", 1 / 5, 1 / 10), Goal("lookup", 0.6, 0.3))
_CAKE = 360

CASES = (
    Case(name="1d-no", title="1D, no split", splitting="no", goals=_ratio(20, 30),
         quick=True, all_peers=True),
    Case(name="1d-bbox", title="1D, bbox", goals=_ratio(15, 25), quick=True, all_peers=True),
    Case(name="1d-full", title="1D, full", splitting="full", goals=_ratio(15, 25), all_peers=True),
    Case(name="batch-no", title="8 frames, no split, no errors", frames=8, splitting="no",
         error_model=None, goals=_ratio(60, 100)),
    Case(name="batch-bbox", title="8 frames, bbox, no errors", frames=8, error_model=None,
         goals=_ratio(45, 70)),
    Case(name="batch-poisson", title="8 frames, bbox", frames=8, goals=_ratio(35, 60), quick=True),
    Case(name="azimuthal-no", title="azimuthal errors, no split", splitting="no",
         error_model="azimuthal", goals=_ratio(20, 30)),
    Case(name="azimuthal-bbox", title="azimuthal errors, bbox", error_model="azimuthal",
         goals=_ratio(12, 20)),
    Case(name="clip", title="sigma clip, 5 cycles, no split", splitting="no", clip=True,
         error_model="azimuthal", goals=_ratio(12, 25)),
    Case(name="2d-no", title="2D 1000 x 360, no split", splitting="no", npt_azim=_CAKE,
         goals=_ratio(15, 25)),
    Case(name="2d-bbox", title="2D 1000 x 360, bbox", npt_azim=_CAKE, goals=_ratio(8, 15)),
    Case(name="bins-100", title="100 bins, bbox", npt=100, goals=_ratio(8, 15)),
    Case(name="bins-4000", title="4000 bins, bbox", npt=4000, goals=_ratio(12, 25)),
    Case(name="bins-10000", title="10000 bins, bbox", npt=10000, goals=_ratio(12, 25)),
    Case(name="geometry", title="new geometry -> pattern, bbox", task="geometry",
         goals=(Goal("ratio", 10, 30), Goal("seconds", 0.2, 0.1)), quick=True),
    *(Case(name=f"file-{flux}-{splitting}", title=f"file, {counts:g} counts, {words}", task="file",
           frames=8, counts=counts, splitting=splitting, goals=_ratio(reach, aim))
      for flux, counts, reach, aim in (
          ("low", 0.1, 20, 30), ("mid", 3, 12, 20), ("high", 100, 10, 15))
      for splitting, words in (("no", "no split"), ("bbox", "bbox"))),
    Case(name="scipy", title="SciPy, bbox, no errors", engine="scipy", error_model=None,
         goals=_ratio(8, 15)),
    Case(name="scipy-poisson", title="SciPy, bbox", engine="scipy", goals=_ratio(4, 8)),
    Case(name="overhead", title="overhead: 64 x 64 pixels", detector="tiny", radial_range=(0.0, 4.0),
         repeat=20, goals=(Goal("seconds", 3e-4, 1e-4),), quick=True),
    Case(name="first-call", title="first call of a process", task="first call",
         goals=(Goal("seconds", 0.1),)),
    # The bins are as wide for all of them, so that pixels touch as many.
    *(Case(name=f"{SIZES}{size.lower()}", title=f"{size} pixels, bbox", detector=f"Eiger2_{size}",
           radial_range=(0.0, 6.0))
      for size in ("1M", "4M", "9M", "16M")),
    Case(name="gpu-frames", title="GPU, no split, raw frames", frames=32, splitting="no",
         error_model=None, goals=(Goal("seconds", 1 / 2500),), device="gpu"),
    Case(name="gpu-file", title="GPU, no split, file", task="file", frames=32, counts=0.1,
         splitting="no", error_model=None, goals=(Goal("seconds", None, 1 / 5000),), device="gpu"),
    Case(name="plan-no", title="plan, no split", task="memory", splitting="no", goals=_PLAN),
    Case(name="plan-bbox", title="plan, bbox", task="memory", goals=_PLAN, quick=True),
)  # fmt: skip


def choose(names: Sequence[str] = (), *, quick: bool = False) -> tuple[Case, ...]:
    """The cases of these names, which may hold wildcards; without names, all of them.

    Parameters
    ----------
    names
        Such as ``"1d-no"`` or ``"file-*"``.
    quick
        Whether only the quick ones are taken where no names are given, and the best peer alone.

    Raises
    ------
    RecipeError
        If there is no case of a name.
    """
    cases = tuple(replace(case, all_peers=False) for case in CASES) if quick else CASES
    if not names:
        return tuple(case for case in cases if case.quick or not quick)
    for name in names:
        if not any(fnmatchcase(case.name, name) for case in CASES):
            raise RecipeError(
                f"There is no case {name!r}; choose of {', '.join(case.name for case in CASES)}."
            )
    return tuple(case for case in cases if any(fnmatchcase(case.name, name) for name in names))
