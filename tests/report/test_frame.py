"""What of an image is shown, and what is drawn over it."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bluesky_azint.report.frame import Frame
from bluesky_azint.report.style import RING_COLOURS
from tests.report.examples import Case


def coloured(picture: bytes, name: str) -> NDArray[np.bool_]:
    """Where a picture has a colour, nearly."""
    with Image.open(BytesIO(picture)) as opened:
        pixels = np.array(opened.convert("RGB")).astype(int)
    wanted = [int(name[i : i + 2], 16) for i in (1, 3, 5)]
    near: NDArray[np.bool_] = np.abs(pixels - wanted).max(axis=2) < 40
    return near


def test_rings_are_drawn_over_the_right_half_alone(images: dict[str, dict[str, bytes]]) -> None:
    above_the_legend = slice(0, 1000)
    for state in ("used", "left out", "missing"):
        marked = coloured(images["review"]["frame"], RING_COLOURS[state])[above_the_legend]
        assert marked[:, 560:].sum() > 300
        assert not marked[:, 100:520].any()
    plain = images["refused"]["frame"]
    assert not coloured(plain, RING_COLOURS["used"]).any()


def test_colours_are_what_they_should_be(images: dict[str, dict[str, bytes]]) -> None:
    for name, picture in images["review"].items():
        with Image.open(BytesIO(picture)) as opened:
            pixels = np.array(opened.convert("RGB"))
        assert pixels[0, 0].tolist() == [255, 255, 255]
        for state in (
            ("used", "left out", "missing") if name in ("frame", "cake", "pattern") else ()
        ):
            wanted = [int(RING_COLOURS[state][i : i + 2], 16) for i in (1, 3, 5)]
            assert (pixels == wanted).all(axis=2).sum() > 10


def test_lines_of_the_cake_lie_on_its_rings(images: dict[str, dict[str, bytes]]) -> None:
    with Image.open(BytesIO(images["accepted"]["cake"])) as opened:
        grey = np.array(opened.convert("L")).astype(float)
    marked = coloured(images["accepted"]["cake"], RING_COLOURS["used"])[20:900]
    between = ~marked[:, 115:1000].any(axis=1)
    darkness = 255 - grey[20:900][between].mean(axis=0)
    columns = np.flatnonzero(marked[~between].mean(axis=0) > 0.3)
    lines = [group.mean() for group in np.split(columns, np.flatnonzero(np.diff(columns) > 3) + 1)]
    assert len(lines) >= 9
    for line in lines[:4]:  # the strongest
        around = np.arange(round(line) - 15, round(line) + 16)
        weight = darkness[around] - darkness[around].min()
        assert (weight * around).sum() / weight.sum() == pytest.approx(line, abs=1.5)


@pytest.mark.parametrize("dtype", ["u2", "u4", "i4"])
def test_marks_of_bad_pixels_are_no_counts(cases: dict[str, Case], dtype: str) -> None:
    calibration = cases["accepted"].calibration
    calibration = replace(calibration, mask=np.zeros((4, 4), dtype=bool))
    image = np.full((4, 4), 7, dtype=dtype)
    image[0, 0] = np.iinfo(dtype).max
    if dtype == "i4":
        image[1, 1] = -2
    frame = Frame.of(calibration, image)
    assert frame.bad.sum() == (2 if dtype == "i4" else 1)
    assert set(np.unique(frame.counts)) == {0.0, 7.0}


def test_blocks_are_means_of_good_pixels() -> None:
    counts = np.arange(30.0).reshape(5, 6)
    bad = np.zeros((5, 6), dtype=bool)
    bad[0, 1] = bad[4, 4:] = True
    shrunk, block = Frame(counts, bad).shrunk(3)
    assert block == 2
    assert shrunk.shape == (3, 3)
    assert shrunk[0, 0] == pytest.approx((0 + 6 + 7) / 3)
    assert shrunk[1, 1] == pytest.approx(counts[2:4, 2:4].mean())
    assert shrunk[2, 0] == pytest.approx(counts[4, :2].mean())
    assert np.ma.getmaskarray(shrunk)[2, 2]
