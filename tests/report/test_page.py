"""A page comes out for every verdict, whole, and with nothing from outside taken for HTML."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bluesky_azint.errors import FrameError, RecipeError
from bluesky_azint.report import report_images, write_report
from tests.report.examples import Case

KINDS = ("accepted", "review", "candidate", "refused")
ALL = ["frame", "cake", "residual_map", "residuals", "pattern", "setup"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_pictures_that_can_be_drawn_are(images: dict[str, dict[str, bytes]], kind: str) -> None:
    assert list(images[kind]) == (["frame"] if kind == "refused" else ALL)
    for picture in images[kind].values():
        with Image.open(BytesIO(picture)) as opened:
            assert opened.format == "PNG"
            assert opened.width == 1024
            assert 400 < opened.height < 1500


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_one_small_file_that_tells_the_verdict_first(
    pages: dict[str, Path], cases: dict[str, Case], kind: str
) -> None:
    text = pages[kind].read_text(encoding="utf-8")
    assert pages[kind].stat().st_size < 3e6
    assert set(re.findall(r'(?:src|href)="([^"]{5})', text)) == {"data:"}
    assert "url(" not in text
    assert "$" not in text
    body = text[text.index("<body>") :]
    verdict = cases[kind].calibration.verdict
    assert body.index(f"<strong>{verdict.capitalize()}</strong>") < body.index("<img")
    for reason in cases[kind].calibration.reasons:
        assert reason.replace("<", "&lt;").replace(">", "&gt;") in body


def test_numbers_of_a_refused_geometry_are_marked(pages: dict[str, Path]) -> None:
    candidate = pages["candidate"].read_text()
    assert candidate.count("not for use") == 2
    assert "<dt>" not in candidate
    accepted = pages["accepted"].read_text()
    assert "not for use" not in accepted
    assert "<dd>150.10 mm</dd>" in accepted  # 150 mm / cos(rot1) / cos(rot2)


def test_what_comes_from_outside_is_text(pages: dict[str, Path]) -> None:
    text = pages["review"].read_text()
    assert "<b>" not in text
    assert "Toy &lt;b&gt;300&lt;/b&gt; &amp; co" in text
    assert "<script" not in text
    assert "&lt;script&gt;uid" in text


def test_where_it_comes_from(pages: dict[str, Path]) -> None:
    text = pages["accepted"].read_text()
    for wanted in (
        "0.5 Å, 24.7968 keV", "4.16 % of the pixels", "2026-11-23 03:00:00+00:00", "2.31 s",
        "bluesky-azint 0.1.0", "300 \N{MULTIPLICATION SIGN} 260 pixels of 400", "NIST SRM",
    ):  # fmt: skip
        assert wanted in text


def test_a_file_is_only_replaced_by_force(cases: dict[str, Case], tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("mine")
    case = cases["refused"]
    with pytest.raises(RecipeError, match="exists; give another name"):
        write_report(case.calibration, case.image, path)
    assert path.read_text() == "mine"
    assert write_report(case.calibration, case.image, path, force=True) == path
    assert "Refused" in path.read_text()


def test_an_image_of_another_shape_is_refused(cases: dict[str, Case]) -> None:
    with pytest.raises(FrameError, match=r"shape \(10, 10\)"):
        report_images(cases["accepted"].calibration, np.zeros((10, 10)))


def test_the_extra_is_named_where_matplotlib_is_missing(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    case = cases["refused"]
    with pytest.raises(RecipeError, match=r"bluesky-azint\[plot\]"):
        report_images(case.calibration, case.image)


def test_a_frame_without_a_good_pixel_still_has_a_page(
    cases: dict[str, Case], tmp_path: Path
) -> None:
    for kind in ("accepted", "refused"):
        calibration = cases[kind].calibration
        nothing = np.full(calibration.mask.shape, np.nan)
        page = write_report(calibration, nothing, tmp_path / f"{kind}.html", date=datetime.now(UTC))
        assert "<img" in page.read_text()
