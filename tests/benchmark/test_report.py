"""The report says what was measured."""

import json
from dataclasses import replace

import pytest

from bluesky_azint.benchmark.cases import choose
from tests.benchmark.examples import MACHINE, made_up


def test_figures_are_plain_and_complete() -> None:
    figures = json.loads(json.dumps(made_up().figures()))
    assert figures["machine"]["cpu"] == "Made up"
    assert figures["machine"]["warnings"] == []
    assert figures["bandwidth"] == 30e9
    assert [case["name"] for case in figures["cases"]] == [
        "1d-bbox", "geometry", "overhead", "plan-no",
    ]  # fmt: skip
    speed, new, overhead, plan = figures["cases"]
    assert speed["ways"]["bluesky-azint"]["timing"]["cpu_min"] == 4e-3
    assert speed["ways"]["bluesky-azint"]["sigma_accuracy"] == 6e-9
    assert speed["ratio"]["pyFAI csr/cython"] == {
        "cpu": pytest.approx(20),
        "wall": pytest.approx(10),
    }
    assert speed["ratio"]["MAX IV azint"]["cpu"] == pytest.approx(10)
    assert speed["goals"] == [
        {"figure": "ratio", "reach": 15, "aim": 25, "value": pytest.approx(20), "met": "reach"}
    ]
    assert [goal["met"] for goal in new["goals"]] == ["reach", "reach"]
    assert overhead["ratio"] == {}
    assert plan["goals"][0]["value"] == pytest.approx(0.15)
    assert plan["ratio"] == {}


def test_the_part_of_the_limit_is_what_reading_alone_takes() -> None:
    report = made_up()
    speed, new, *_ = report.outcomes
    assert report.fraction(speed) == pytest.approx(10 / 30e9 * 4e6 / 4e-3)
    assert report.fraction(new) is None


def test_a_gpu_is_judged_by_the_clock() -> None:
    report = made_up(replace(MACHINE, gpu=True))
    (goal,) = report.figures()["cases"][0]["goals"]
    assert goal["met"] == "short"
    assert report.fraction(report.outcomes[0]) is None


def test_the_time_of_a_pixel_is_compared_among_sizes() -> None:
    report = made_up()
    speed = report.outcomes[0]
    sizes = [
        replace(speed, case=case, pixels=pixels)
        for case, pixels in zip(choose(["pixels-[14]m"]), (1_000_000, 1_100_000), strict=True)
    ]
    assert report.spread() is None
    several = replace(report, outcomes=sizes)
    assert several.spread() == pytest.approx(0.1)
    assert several.figures()["spread_of_sizes"] == pytest.approx(0.1)
    assert [detector for detector, _ in several.sizes()] == ["Eiger2_1M", "Eiger2_4M"]
