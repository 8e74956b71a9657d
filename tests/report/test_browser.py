"""The page as a browser shows it, on a phone and on a screen, light and dark, and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.report.examples import Case

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DECODED = "() => [...document.images].map(one => one.complete ? one.naturalWidth : 0)"
CONTRAST = """() => {
    const style = getComputedStyle(document.querySelector('.verdict'));
    const level = colour => Number(colour.match(/[0-9]+/));
    return level(style.backgroundColor) - level(style.color);
}"""
WIDER = """() => [...document.querySelectorAll('body *')]
    .filter(one => !one.closest('.scroll') && one.getBoundingClientRect().right > innerWidth)
    .map(one => one.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
@pytest.mark.parametrize("kind", ["accepted", "review", "candidate", "refused"])
def test_the_page_fits_and_is_whole(
    browser: Browser,
    pages: dict[str, Path],
    cases: dict[str, Case],
    tmp_path: Path,
    kind: str,
    width: int,
    scheme: str,
) -> None:
    wrong: list[str] = []
    asked: list[str] = []
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.goto(pages[kind].as_uri())

    assert wrong == []
    assert asked == [pages[kind].as_uri()]
    sizes = page.evaluate(DECODED)
    assert sizes == [1024] * (1 if kind == "refused" else 6)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER) == []

    # The verdict stands in the part that is seen at once, in its colour.
    verdict = page.locator(".verdict strong")
    assert verdict.inner_text() == cases[kind].calibration.verdict.capitalize()
    box = verdict.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 300
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as shot:
        assert shot.width == width
        edge = np.array(shot.convert("RGB"))[int(box["y"]), : width // 8].astype(int)
        corner = np.array(shot.convert("RGB"))[2, 2]
    red, green, _ = edge[np.abs(np.diff(edge, axis=1)).sum(axis=1).argmax()]
    assert (green > red) == (kind == "accepted")
    assert (corner.mean() < 60) == (scheme == "dark")
    page.close()


def test_the_page_prints_on_a_few_sheets(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(pages["review"].as_uri())
    page.emulate_media(media="print")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRAST) > 150
    printed = page.pdf(format="A4", print_background=True)
    page.close()
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") <= 6
