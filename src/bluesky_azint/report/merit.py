"""Figures of merit, each with what it means."""

from __future__ import annotations

from bluesky_azint.calibration.result import Calibration
from bluesky_azint.report.markup import NOTHING, number, percent, signed, table

_TERMS = 6  # of a distortion that are told


def merit_table(calibration: Calibration) -> str:
    """Figures of merit, each with what it means."""
    relative = number(1e6 * calibration.residual_relative)
    rows = [
        *_match_rows(calibration),
        (
            "residual of the sectors",
            number(calibration.residual_px, 3, "px"),
            f"Root mean square, weighted by their errors; {relative} parts in a million of q.",
        ),
        (
            "residual of held-out sectors",
            number(calibration.held_out_px, 3, "px"),
            "Sectors that the geometry was not fitted to: close to the line above if it is sound.",
        ),
        (
            "floor",
            number(calibration.floor_px, 3, "px"),
            "Error of every sector beyond its counts: what no exposure mends, such as distortion.",
        ),
        (
            "error where rings are",
            number(calibration.ring_error_px, 3, "px"),
            "Largest predicted error of a place inside the rings that were found.",
        ),
        (
            "error anywhere",
            number(calibration.detector_error_px, 3, "px"),
            "The same of any place on the detector.",
        ),
        *_wavelength_rows(calibration),
        *_distortion_rows(calibration),
    ]
    rows = [row for row in rows if row[1] != NOTHING]
    return table(("", "", "meaning"), rows, words=(2,), kind="explained") if rows else ""


def _match_rows(calibration: Calibration) -> list[tuple[str, str, str]]:
    match = calibration.match
    if match is None:
        return []
    runner_up = number(match.runner_up, 3)
    return [
        (
            "match",
            number(match.score, 3),
            "Logarithm of how much likelier the rings are there than there by chance. The best "
            + (f"other geometry has {runner_up}." if runner_up != NOTHING else "one: no other."),
        ),
        (
            "rings found",
            f"{match.matched} of {match.expected}" if match.expected else NOTHING,
            "Of those that should be visible.",
        ),
        (
            "unexplained",
            percent(match.unexplained),
            f"Share of the weight of all peaks that are no rings of {calibration.calibrant.name}.",
        ),
    ]


def _wavelength_rows(calibration: Calibration) -> list[tuple[str, str, str]]:
    test = calibration.wavelength_test
    if test is None:
        return []
    meaning = (
        "Change of the wavelength that the rings ask for, which should be zero within its error. "
        "A wrong lattice or a distortion would look the same."
        if test.testable
        else "Too uncertain to test the wavelength: at small angles the distance takes up any error."
    )
    value = f"{signed(100 * test.relative)} ± {100 * test.sigma:.3f} %"
    if not test.testable:
        value = f"only to ± {100 * test.sigma:.2g} %"
    return [("wavelength test", value, meaning)]


def _distortion_rows(calibration: Calibration) -> list[tuple[str, str, str]]:
    found = calibration.distortion
    if found is None or not found.names:
        return []
    terms = sorted(
        zip(found.names, found.values_px, found.sigmas_px, strict=True),
        key=lambda term: -abs(term[1]) / term[2] if term[2] > 0 else 0.0,
    )
    told = ", ".join(
        f"{name} {signed(value)} ± {sigma:.3f} px" for name, value, sigma in terms[:_TERMS]
    )
    more = f", and {len(terms) - _TERMS} smaller ones" if len(terms) > _TERMS else ""
    meaning = (
        "Residual that would be left if it were corrected, which it is not. Of its "
        f"{len(terms)} terms: {told}{more}."
    )
    return [("distortion", number(found.residual_px, 3, "px"), meaning)]
