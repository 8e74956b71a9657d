"""What the Reducer makes of frames and their companions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bluesky_azint.callbacks import Reducer
from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.companions.config import CompanionsConfig
from bluesky_azint.detectors import Detector
from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.recipe import Recipe
from tests.callbacks.companions.raw_runs import NUMBER, SHAPE, RawRun

GEOMETRY = Geometry(detector=Detector(1e-3, 1e-3, SHAPE), dist=0.1, wavelength=1e-10)
COUNTED = {"dtype": "array", "shape": list(SHAPE), "source": "test"}


def reduce(raw_run: RawRun, values: dict[str, Any], **recipe: Any) -> list[tuple[str, Any]]:
    """The documents of the reduced run: two dark frames of 100, and two of 1000 with a monitor."""
    emitted: list[tuple[str, Any]] = []
    companions = Companions(CompanionsConfig.from_dict(values))
    recipe = {"npt": 2, "splitting": "no", "correct_solid_angle": False, **recipe}
    with Reducer(
        lambda name, doc: emitted.append((name, doc)),
        recipe=Recipe(**recipe),
        companions=companions,
        default=GEOMETRY,
        flavour="inline",
    ) as reducer:
        reducer("start", raw_run.start)
        for name in ("dark", "primary"):
            doc = raw_run.descriptor(name, i0=NUMBER, mono=NUMBER)
            data_keys = {**doc["data_keys"], "det": COUNTED}
            reducer("descriptor", {**doc, "data_keys": data_keys, "time": 0.0})
        for n in (1, 2):
            frame = np.full(SHAPE, 100, dtype=np.uint16)
            reducer("event", raw_run.event(n, name="dark", det=frame, i0=0.0, mono=12.4))
        for n, i0 in enumerate((0.0, 10.0, 50.0), start=1):
            frame = np.full(SHAPE, 1000, dtype=np.uint16)
            reducer("event", raw_run.event(n, det=frame, i0=i0, mono=12.4 * n))
        reducer("stop", {**raw_run.stop, "num_events": {"dark": 2, "primary": 3}})
    return emitted


def test_patterns_are_of_what_is_above_the_dark_by_the_monitor(raw_run: RawRun) -> None:
    emitted = reduce(raw_run, {"monitor": "i0", "dark": True})
    patterns = [doc["data"]["intensity"] for name, doc in emitted if name == "event"]
    np.testing.assert_allclose(patterns, [[np.nan] * 2, [90.0] * 2, [18.0] * 2])
    assert [doc["name"] for name, doc in emitted if name == "descriptor"] == ["primary"]
    [stop] = [doc for name, doc in emitted if name == "stop"]
    assert stop["exit_status"] == "fail"
    assert "without a pattern: 1 of 3 (1)" in stop["reason"]
    assert "the monitor 'i0' is 0, and must be above 0" in stop["reason"]


@pytest.mark.parametrize("ranged", [True, False], ids=["one axis", "no range"])
def test_an_energy_scan_has_one_axis_or_none(raw_run: RawRun, ranged: bool) -> None:
    q = GEOMETRY.q() / 10
    edge = float(np.sort(q.ravel())[12])
    choice = {"radial_range": (0.0, edge), "npt": 1} if ranged else {}
    emitted = reduce(raw_run, {"energy": {"key": "mono", "unit": "keV"}}, **choice)
    patterns = [doc["data"]["intensity"] for name, doc in emitted if name == "event"]
    totals = [doc["data"]["total"] for name, doc in emitted if name == "event"]
    [stop] = [doc for name, doc in emitted if name == "stop"]
    if not ranged:
        assert np.isnan(patterns).all()
        assert "Set radial_range in the recipe" in stop["reason"]
        return
    assert stop["exit_status"] == "success"
    wavelength = 12.398419843320026 / (12.4 * np.arange(1, 4)) * 1e-10
    factors = GEOMETRY.wavelength / wavelength if GEOMETRY.wavelength else wavelength
    inside = [1000.0 * np.count_nonzero(q * factor < edge) for factor in factors]
    assert inside[0] > inside[1] > inside[2] > 0
    assert totals == inside
