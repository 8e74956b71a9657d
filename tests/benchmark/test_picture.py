"""The picture is drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bluesky_azint.benchmark.picture import draw
from tests.benchmark.examples import made_up

image = pytest.importorskip("matplotlib.image")


def test_the_picture_shows_ours_theirs_and_the_limit(tmp_path: Path) -> None:
    draw(made_up(), tmp_path / "picture.png")
    pixels = image.imread(tmp_path / "picture.png")[..., :3]
    assert pixels.shape[1] > 1500
    for colour in ("#2f6f9f", "#0f8a7e", "#c62828"):
        wanted = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        assert (np.abs(pixels - wanted).max(axis=-1) < 0.02).sum() > 20, colour


def test_a_report_without_peers_or_times_is_drawn_too(tmp_path: Path) -> None:
    report = made_up()
    speed = report.outcomes[0]
    alone = replace(speed, ways={"bluesky-azint": speed.ways["bluesky-azint"]})
    for outcomes in ([alone], []):
        draw(replace(report, outcomes=outcomes), tmp_path / "picture.pdf")
        assert (tmp_path / "picture.pdf").stat().st_size > 1000
