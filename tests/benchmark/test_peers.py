"""Others are called as their users call them, where they are installed."""

import importlib.machinery
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bluesky_azint.benchmark import peers as module
from bluesky_azint.benchmark.cases import choose
from bluesky_azint.benchmark.peers import AZINT, PYFAI, PYFAI_OPENCL, installed, peers
from bluesky_azint.benchmark.scene import POLARIZATION, scene_of

(ONE,) = choose(["1d-bbox"])
TINY = replace(ONE, detector="tiny", npt=40)


@pytest.fixture
def azint(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for MAX IV's library that keeps what it is given."""
    kept = SimpleNamespace(poni="", given=(), options={})

    class AzimuthalIntegrator:
        def __init__(self, poni: str, *given: Any, **options: Any) -> None:
            kept.poni = Path(poni).read_text()
            kept.given, kept.options = given, options

        def integrate(self, frame: np.ndarray) -> tuple[np.ndarray, None]:
            return np.full(40, float(frame[0, 0])), None

    fake = ModuleType("azint")
    fake.__spec__ = importlib.machinery.ModuleSpec("azint", None)
    fake.AzimuthalIntegrator = AzimuthalIntegrator  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azint", fake)
    return kept


def test_who_is_not_installed_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert installed() == {"pyFAI": "not installed", "azint": "not installed"}
    assert peers(ONE) == []


def test_all_ways_are_measured_only_where_it_is_asked_for(
    azint: SimpleNamespace, pyfai: ModuleType
) -> None:
    assert [way.name for way in peers(ONE)] == [PYFAI, PYFAI_OPENCL, AZINT]
    assert [way.name for way in peers(replace(ONE, all_peers=False))] == [PYFAI]


def test_azint_is_given_the_geometry_the_bins_and_the_mask(azint: SimpleNamespace) -> None:
    scene = scene_of(TINY)
    (way,) = [way for way in peers(ONE) if way.name == AZINT]
    patterns = way.make(TINY, scene, scene.geometry)(np.full((2, 64, 64), 7, np.uint32))
    np.testing.assert_array_equal(patterns.intensity, np.full((2, 40), 7.0))
    assert f"Distance: {scene.geometry.dist}" in azint.poni
    splitting, edges, azimuthal = azint.given
    assert splitting == 4
    assert azimuthal is None
    np.testing.assert_allclose(edges[[0, -1]], scene.radial_range)
    assert len(edges) == 41
    assert azint.options["error_model"] == "poisson"
    assert azint.options["polarization_factor"] == POLARIZATION
    assert azint.options["mask"].shape == (64, 64)
    assert not way.comparable


def test_pyfai_has_a_table_of_known_size(pyfai: ModuleType) -> None:
    scene = scene_of(replace(TINY, splitting="no"))
    (way,) = peers(replace(TINY, all_peers=False))
    assert way.lookup_bytes is not None
    # No pixel of the tiny one is masked: 8 bytes each.
    assert way.lookup_bytes(replace(TINY, splitting="no"), scene) == 64 * 64 * 8 + 41 * 4
