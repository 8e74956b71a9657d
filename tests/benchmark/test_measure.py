"""Every case is measured, with plausible figures and without a promise of speed."""

from dataclasses import replace
from types import ModuleType

import pytest

from bluesky_azint.benchmark import measure as module
from bluesky_azint.benchmark.cases import CASES, Case, choose
from bluesky_azint.benchmark.measure import Measured, Outcome, measure
from bluesky_azint.benchmark.peers import PYFAI
from bluesky_azint.benchmark.timing import Effort, Timing
from bluesky_azint.benchmark.ways import OURS, ours

ONCE = Effort(rounds=1, seconds=0)

IN_PROCESS = [case for case in CASES if case.task not in ("memory", "first call")]


def _tiny(case: Case) -> Case:
    return replace(
        case,
        detector="tiny",
        npt=min(case.npt, 150),
        npt_azim=case.npt_azim and 12,
        frames=min(case.frames, 3),
        radial_range=None,
        repeat=1,
        all_peers=False,
    )


@pytest.mark.parametrize("case", IN_PROCESS, ids=lambda case: case.name)
def test_every_case_is_fast_enough_to_be_timed_and_right(case: Case, pyfai: ModuleType) -> None:
    outcome = measure(_tiny(case), ONCE)
    assert list(outcome.ways) == [OURS, PYFAI]
    assert outcome.pixels == 64 * 64
    for measured in outcome.ways.values():
        assert measured.timing is not None
        assert measured.timing.rounds == 1
        assert 0 < measured.timing.wall_min == measured.timing.wall_median < 30
        assert measured.accuracy is not None
    found, peer = outcome.ways[OURS], outcome.ways[PYFAI]
    assert found.accuracy is not None
    assert peer.accuracy is not None
    assert found.accuracy < 1e-7
    assert found.signal_accuracy is not None
    assert found.signal_accuracy < (1e-7 if case.splitting != "no" else 1e-15)
    assert peer.accuracy < 1e-2
    assert (found.sigma_accuracy is None) == (case.error_model is None)
    # Of the spread of a few pixels in single precision there is less.
    assert (found.sigma_accuracy or 0) < (1e-4 if case.error_model == "azimuthal" else 1e-6)
    assert peer.sigma_accuracy is None
    assert (outcome.traffic is None) == (case.task != "frames")


def test_processes_of_their_own_are_asked_as_often_as_wanted(
    monkeypatch: pytest.MonkeyPatch, pyfai: ModuleType
) -> None:
    asked: list[tuple[str, str]] = []

    def answer(case: Case, way: str) -> dict[str, float | None]:
        asked.append((case.name, way))
        return {"cpu": 2.0, "wall": 9.0 - len(asked), "peak": 9 - len(asked), "lookup": 7}

    monkeypatch.setattr(module, "in_fresh_process", answer)
    plan, first = (_tiny(case) for case in choose(["plan-no", "first-call"])[::-1])
    effort = Effort(rounds=1, seconds=0, processes=2)
    found = measure(plan, effort).ways
    assert asked == [("plan-no", OURS)] * 2 + [("plan-no", PYFAI)] * 2
    assert (found[OURS].peak, found[PYFAI].peak, found[OURS].lookup) == (7, 5, 7)
    asked.clear()
    timing = measure(first, effort).ways[OURS].timing
    assert asked == [("first-call", OURS)] * 3  # the first one fills the cache of kernels
    assert timing == Timing(cpu_min=2.0, wall_min=6.0, wall_median=6.5, rounds=2)


def test_a_wrong_pattern_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ours()

    def make(*arguments: object) -> object:
        reduce = right.make(*arguments)  # type: ignore[arg-type]
        return lambda frames: reduce(frames + 1)

    monkeypatch.setattr(module, "ours", lambda: replace(right, make=make))  # type: ignore[arg-type]
    monkeypatch.setattr(module, "peers", lambda case: [])
    outcome = measure(_tiny(IN_PROCESS[0]), ONCE)
    accuracy = outcome.ways[OURS].accuracy
    assert accuracy is not None
    assert accuracy > 1e-3


def test_the_ratio_is_how_many_times_more_the_other_takes() -> None:
    outcome = Outcome(
        CASES[0],
        10,
        {
            OURS: Measured(timing=Timing(1.0, 2.0, 3.0, 4), peak=5),
            PYFAI: Measured(timing=Timing(10.0, 40.0, 90.0, 4), peak=50),
        },
    )
    assert outcome.ratio("cpu_min") == 10
    assert outcome.ratio("wall_min") == 20
    assert outcome.ratio("peak") == 10
    assert outcome.ratio("lookup") is None
    assert outcome.ratio("cpu_min", "another") is None
    assert outcome.figure("wall_median", PYFAI) == 90
