"""The part of the circle that a cake shows."""

from __future__ import annotations

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.report.cake import azimuths
from bluesky_azint.report.rings import Contours


def contours(rot1: float, rot2: float = 0.0, poni: float = 0.05) -> Contours:
    detector = ba.Detector(1e-3, 1e-3, (100, 100))
    return Contours(
        ba.Geometry(detector=detector, dist=0.2, poni1=poni, poni2=poni, rot1=rot1, rot2=rot2)
    )


def test_all_around_where_the_beam_hits_the_detector() -> None:
    assert azimuths(contours(0.0)) is None


@pytest.mark.parametrize(("rot1", "rot2"), [(0.6, 0.0), (-0.6, 0.0), (0.0, 0.6), (0.0, -0.6)])
def test_one_piece_where_it_misses(rot1: float, rot2: float) -> None:
    seen = contours(rot1, rot2)
    around = azimuths(seen)
    assert around is not None
    low, high = around
    assert 0 < high - low < 90
    inside = (np.rad2deg(seen.chi) - low) % 360
    assert inside.max() <= high - low
    assert inside.min() < 1.0
    assert inside.max() > high - low - 1.0


def test_a_beam_at_the_edge_leaves_half() -> None:
    around = azimuths(contours(0.0, poni=0.0))
    assert around is not None
    assert around == pytest.approx((0.0, 90.0), abs=1.0)
