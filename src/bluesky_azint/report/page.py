"""The page: everything about a calibration in one HTML file that needs no other."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.result import Calibration
from bluesky_azint.errors import RecipeError
from bluesky_azint.report import tables
from bluesky_azint.report.advice import HEADLINES, next_steps
from bluesky_azint.report.cake import draw_cake
from bluesky_azint.report.frame import Frame, draw_frame
from bluesky_azint.report.markup import NOTHING, number, paragraphs
from bluesky_azint.report.merit import merit_table
from bluesky_azint.report.pattern import draw_pattern
from bluesky_azint.report.provenance import provenance_table
from bluesky_azint.report.residuals import draw_residual_map, draw_residuals
from bluesky_azint.report.rings import Contours
from bluesky_azint.report.setup3d import draw_setup
from bluesky_azint.report.style import png

# In the order of the page.
_HEADINGS = {
    "frame": "The frame",
    "cake": "The cake",
    "residual_map": "Residuals on the detector",
    "residuals": "Residuals by angle and azimuth",
    "pattern": "The pattern",
    "setup": "The set-up",
}
_CAPTIONS = {
    "frame": "Dark is bright. The right half has the predicted rings over it: they should run on "
    "where the measured ones of the left half end.",
    "cake": "The same by angles. A ring that bends away from its line tells of a wrong centre "
    "(once per turn) or a wrong tilt (twice).",
    "residual_map": "Each dot is a ring in one sector. Colours should be mixed: patches of one "
    "colour are a distortion, or modules that have moved.",
    "residuals": "Both should be flat at zero, within the standard errors. A bend above is a "
    "distortion of the detector or a wrong wavelength; waves below are what centre and tilt "
    "cannot follow.",
    "pattern": "Lines are where the rings should be, by the certificate of the calibrant.",
    "setup": "As the sample sees it; a long way from the sample is drawn shortened.",
}
_PLAIN = "Dark is bright; no rings are predicted, for there is no geometry."


def report_images(calibration: Calibration, image: NDArray[Any]) -> dict[str, bytes]:
    """The pictures of a report, as PNG, by name: those that there is something to draw for.

    Parameters
    ----------
    calibration
        Of any verdict.
    image
        What it was made from, (rows, columns).

    Raises
    ------
    FrameError
        If the image has another shape.
    RecipeError
        If matplotlib is not installed.
    """
    frame = Frame.of(calibration, image)
    geometry, sectors = calibration.candidate, calibration.sectors
    contours = None if geometry is None else Contours(geometry)
    drawn = {"frame": draw_frame(calibration, contours, frame)}
    if contours is not None:
        drawn["cake"] = draw_cake(calibration, contours, frame)
    if sectors is not None and len(sectors):
        drawn["residual_map"] = draw_residual_map(sectors, frame)
        drawn["residuals"] = draw_residuals(calibration, sectors)
    if contours is not None:
        drawn["pattern"] = draw_pattern(calibration, contours.geometry, frame)
        drawn["setup"] = draw_setup(calibration, contours, frame)
    return {name: png(one) for name, one in drawn.items()}


def write_report(
    calibration: Calibration,
    image: NDArray[Any],
    path: Path,
    *,
    title: str | None = None,
    raw_uid: str | None = None,
    date: datetime | None = None,
    images: dict[str, bytes] | None = None,
    force: bool = False,
) -> Path:
    """Write the report of a calibration: one HTML file with all that it shows.

    Parameters
    ----------
    calibration
        Of any verdict, one without a geometry included.
    image
        What it was made from, (rows, columns).
    path
        Where to.
    title
        What stands above; None for detector and calibrant.
    raw_uid
        Uid of the run that measured the image.
    date
        When it was measured.
    images
        What `report_images` gave, where it is there already.
    force
        Whether to write over a file that is there.

    Returns
    -------
    The path.

    Raises
    ------
    RecipeError
        If the file is there already, or matplotlib is not installed.
    FrameError
        If the image has another shape.
    """
    path = Path(path)
    if path.exists() and not force:
        raise RecipeError(f"{path} exists; give another name, or force to replace it.")
    if images is None:
        images = report_images(calibration, image)
    page = _page(calibration, images, title or _title(calibration), raw_uid, date)
    path.write_text(page, encoding="utf-8")
    return path


def _page(
    calibration: Calibration,
    images: dict[str, bytes],
    title: str,
    raw_uid: str | None,
    date: datetime | None,
) -> str:
    headline, sentence = HEADLINES[calibration.verdict]
    template = files("bluesky_azint.report").joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(title),
        date=escape("" if date is None else f"{date:%Y-%m-%d %H:%M}"),
        verdict=calibration.verdict,
        headline=headline,
        sentence=sentence,
        words=_list("Why", calibration.reasons)
        + _list("What to do", next_steps(calibration))
        + _list("To know", (*calibration.notes, *calibration.fixed.values())),
        figures=_key_figures(calibration),
        pictures="".join(
            _figure(name, images[name], _caption(name, calibration))
            for name in _HEADINGS
            if name in images
        ),
        tables=_geometry_tables(calibration)
        + _section("Figures of merit", merit_table(calibration))
        + _section(
            "Where it comes from",
            provenance_table(calibration, raw_uid=raw_uid, date=date),
        ),
        rings=_section("Rings", tables.ring_table(calibration)),
    )


def _title(calibration: Calibration) -> str:
    geometry = calibration.candidate
    name = geometry.detector.name if geometry is not None else ""
    return f"Calibration of {name or 'a detector'} with {calibration.calibrant.name}"


def _list(heading: str, sentences: tuple[str, ...] | list[str]) -> str:
    if not sentences:
        return ""
    return f"<div><h2>{escape(heading)}</h2><ul>{paragraphs(sentences)}</ul></div>"


def _key_figures(calibration: Calibration) -> str:
    """The numbers that everybody asks for first."""
    beam, geometry = calibration.beam, calibration.candidate
    if beam is None or geometry is None or calibration.verdict == "refused":
        return ""  # nobody is to copy the numbers of a geometry that was refused
    detector = geometry.detector
    values = {
        "distance": f"{1e3 * beam.distance:.2f} mm",
        "beam centre in pixels (slow, fast)": (
            f"{beam.centre1 / detector.pixel1:.2f}, {beam.centre2 / detector.pixel2:.2f}"
        ),
        "tilt": f"{np.rad2deg(beam.tilt):.2f}°",
        "residual": number(calibration.residual_px, 2, "px"),
        "error where rings are": number(calibration.ring_error_px, 2, "px"),
        "rings used": f"{sum(fit.used for fit in calibration.rings)} of {len(calibration.rings)}",
    }
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in values.items()
        if value != NOTHING
    )


def _caption(name: str, calibration: Calibration) -> str:
    return _CAPTIONS[name] if calibration.candidate is not None else _PLAIN


def _figure(name: str, picture: bytes, caption: str) -> str:
    heading = escape(_HEADINGS[name])
    data = b64encode(picture).decode("ascii")
    return (
        f'<figure id="{name}"><h2>{heading}</h2>'
        f'<img alt="{heading}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _geometry_tables(calibration: Calibration) -> str:
    """The parameters in both sets, each with its correlations."""
    geometry = calibration.candidate
    if geometry is None:
        return ""
    warning = ""
    if calibration.verdict == "refused":
        warning = '<p class="warning">Of the geometry that was refused: not for use.</p>'
    errors = (
        "Pixels are counted from the outer corner of the first one. The statistical error is that "
        "of the counts and the floor; the jackknife, from fits that leave out a quadrant each, "
        "also shows a distorted detector. Believe the larger."
    )
    return _section(
        "Beam centre, distance and tilt",
        warning
        + tables.beam_table(calibration, geometry)
        + f"<p>{errors}</p>"
        + tables.beam_correlations(calibration),
    ) + _section(
        "PONI and rotations",
        warning
        + tables.poni_table(calibration, geometry)
        + f"<p>{escape(tables.degenerate_pairs(calibration))}</p>"
        + tables.poni_correlations(calibration),
    )


def _section(heading: str, body: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{body}</section>" if body else ""
