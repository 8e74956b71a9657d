"""Calibrations of each kind, their reports, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bluesky_azint.calibrants import calibrant
from bluesky_azint.report import report_images, write_report
from tests.report.examples import Case, calibrated, counted, refused, reviewed, small_geometry

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    """One calibration of each kind, of a small detector."""
    geometry, substance = small_geometry(), calibrant("CeO2", d_min=0.7)
    image = counted(geometry, substance)
    good = calibrated(geometry, substance)
    blank = np.random.default_rng(3).poisson(20, image.shape).astype(np.int32)
    return {
        "accepted": Case(good, image),
        "review": Case(reviewed(calibrated(geometry, substance, bend_px=0.15)), image),
        "candidate": Case(
            replace(good, verdict="refused", geometry=None, reasons=("The match is too weak.",)),
            image,
        ),
        "refused": Case(refused(good), blank),
    }


@pytest.fixture(scope="session")
def images(cases: dict[str, Case]) -> dict[str, dict[str, bytes]]:
    """The pictures of each; of a candidate they are those of an accepted geometry."""
    drawn = {
        kind: report_images(cases[kind].calibration, cases[kind].image)
        for kind in ("accepted", "review", "refused")
    }
    return drawn | {"candidate": drawn["accepted"]}


@pytest.fixture(scope="session")
def pages(
    cases: dict[str, Case],
    images: dict[str, dict[str, bytes]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """The page of each."""
    folder = tmp_path_factory.mktemp("report")
    return {
        kind: write_report(
            case.calibration,
            case.image,
            folder / f"{kind}.html",
            raw_uid="<script>uid</script>",
            date=datetime(2026, 11, 23, 3, tzinfo=UTC),
            images=images[kind],
        )
        for kind, case in cases.items()
    }


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium: Debian's, Chrome, or Playwright's own."""
    from playwright.sync_api import Error, sync_playwright

    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except Error as error:
            message = f"There is no Chromium to look at reports with: {error}"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(f"{message} Install it with `playwright install chromium`.")
        yield opened
        opened.close()
