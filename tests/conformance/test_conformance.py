"""Ours agrees with live pyFAI: a part of the table in CONFORMANCE.md is measured, all of it read."""

import re
from dataclasses import replace

import pytest

from tests.conformance import compare, report
from tests.conformance.setups import Setup, everything, features

SMALL = "Pilatus300k"


@pytest.fixture(scope="module", params=[SMALL, "Pixirad1"])
def comparison(request: pytest.FixtureRequest) -> compare.Comparison:
    return compare.Comparison(everything(request.param))


@pytest.mark.parametrize("result", ["1D", "2D", "sigma_clip", "medfilt"])
def test_all_corrections_at_once_agree(comparison: compare.Comparison, result: str) -> None:
    models = report.MODELS if comparison.setup.detector == SMALL else report.MODELS[:1]
    for task in report.tasks(comparison.setup, [result], models):
        for deviation in comparison.deviations(task):
            assert deviation.within_limits, (task.key, deviation)


@pytest.mark.parametrize("setup", features(SMALL), ids=lambda setup: setup.name)
def test_each_feature_agrees(setup: Setup) -> None:
    task = compare.Task(setup, "1D", "full", "poisson")
    for deviation in compare.Comparison(setup).deviations(task):
        assert deviation.within_limits, deviation


def test_a_wrong_geometry_does_not_agree() -> None:
    comparison = compare.Comparison(everything(SMALL))
    geometry = comparison.geometry
    comparison.geometry = replace(geometry, poni1=geometry.poni1 + 1e-7)  # 6e-4 pixels
    task = compare.Task(comparison.setup, "1D", "bbox", "poisson")
    assert not any(deviation.within_limits for deviation in comparison.deviations(task))


def test_the_table_in_the_repository_is_whole_and_good() -> None:
    lines = report.REPORT.read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if re.match(r"\| (Pilatus1M|Eiger2_4M|Jungfrau|Pixirad1) ", line)
    ]
    tasks = [*report.feature_tasks(), *report.detector_tasks()]
    assert [tuple(row[:5]) for row in rows] == [task.key for task in tasks]
    engines = len(compare.ENGINES)
    for row, task in zip(rows, tasks, strict=True):
        intensity, sigma = (
            [float(cell) for cell in cells if cell] for cells in (row[6 : 6 + engines], row[9:])
        )
        assert len(intensity) == len(sigma) == len(task.engines)
        assert max(intensity) <= compare.INTENSITY_LIMIT
        assert max(sigma) <= compare.SIGMA_LIMIT
        assert float(row[5].rstrip("%")) > 50.0


def test_the_report_lists_every_difference() -> None:
    text = report.REPORT.read_text(encoding="utf-8")
    differences = report.differences()
    assert differences.count("\n") > 15
    assert differences in text
