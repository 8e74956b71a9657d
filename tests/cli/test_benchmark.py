"""The benchmark runs, and its figures are what it says they are."""

import json
from types import ModuleType

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.cli import benchmark, main


@pytest.fixture
def small_case(monkeypatch: pytest.MonkeyPatch, pyfai: ModuleType) -> None:
    """A smaller detector and one round."""
    monkeypatch.setattr(benchmark, "DETECTOR", "Eiger2_1M")
    monkeypatch.setattr(benchmark, "NPT", 200)


@pytest.mark.usefixtures("small_case")
def test_the_benchmark_reports_ratios_and_agreement(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--quick", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["splitting"] for row in rows} == {"no", "bbox", "full"}
    assert {row["name"] for row in rows} == {"opencl", "scipy", benchmark.PEER}
    for row in rows:
        peer = next(
            other
            for other in rows
            if other["splitting"] == row["splitting"] and other["name"] == benchmark.PEER
        )
        expected = peer["timing"]["wall_min"] / row["timing"]["wall_min"]
        assert row["ratio"] == pytest.approx(expected)
        assert row["difference"] < 1e-4
        assert 0 < row["timing"]["wall_min"] <= row["timing"]["wall_median"]


def test_the_frame_is_that_of_a_tilted_detector_with_bad_pixels() -> None:
    geometry, frame = benchmark._case()
    assert geometry.detector == ba.detector("Eiger2_4M")
    assert geometry.detector.mask is not None
    bad = frame == 2**32 - 1
    assert frame.dtype == np.uint32
    assert (bad & ~geometry.detector.mask).sum() > 100
    assert bad[geometry.detector.mask].all()
