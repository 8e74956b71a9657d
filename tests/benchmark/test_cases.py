"""Cases are found by their names, and goals are met or missed."""

import pytest

from bluesky_azint.benchmark.cases import CASES, Goal, choose
from bluesky_azint.errors import RecipeError


def test_every_name_is_of_one_case() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_without_names_all_are_chosen_or_the_quick_ones() -> None:
    assert choose() == CASES
    quick = choose(quick=True)
    assert [case.name for case in quick] == [case.name for case in CASES if case.quick]
    assert 0 < len(quick) < len(CASES) / 2
    assert not any(case.all_peers for case in quick)


def test_names_may_hold_wildcards() -> None:
    assert [case.name for case in choose(["2d-*", "1d-no"])] == ["1d-no", "2d-no", "2d-bbox"]
    assert [case.name for case in choose(["clip"], quick=True)] == ["clip"]


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"no case '3d'; choose of 1d-no, 1d-bbox"):
        choose(["1d-no", "3d"])


@pytest.mark.parametrize(
    ("figure", "value", "met"),
    [
        ("ratio", 31, "aim"),
        ("ratio", 20, "reach"),
        ("ratio", 19.9, "short"),
        ("seconds", 5, "aim"),
        ("seconds", 25, "reach"),
        ("seconds", 31, "short"),
    ],
)
def test_a_goal_is_met_from_its_side(figure: str, value: float, met: str) -> None:
    ends = (20, 30) if figure == "ratio" else (30, 20)
    assert Goal(figure, *ends).met(value) == met  # type: ignore[arg-type]


def test_what_is_no_goal_is_not_met() -> None:
    assert Goal("seconds", 0.1).met(0.05) == "reach"
    assert Goal("seconds", None, 0.1).met(0.5) == "short"


def test_the_promises_are_those_that_were_made() -> None:
    ratios = {
        case.name: (goal.reach, goal.aim)
        for case in CASES
        for goal in case.goals
        if goal.figure == "ratio"
    }
    assert ratios["1d-no"] == (20, 30)
    assert ratios["1d-bbox"] == ratios["1d-full"] == (15, 25)
    assert ratios["batch-no"] == (60, 100)
    assert ratios["batch-bbox"] == (45, 70)
    assert ratios["batch-poisson"] == (35, 60)
    assert ratios["clip"] == ratios["bins-4000"] == ratios["bins-10000"] == (12, 25)
    assert ratios["file-low-no"] == ratios["file-low-bbox"] == (20, 30)
    assert ratios["scipy"] == (8, 15)
