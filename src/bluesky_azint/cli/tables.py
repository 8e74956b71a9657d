"""What commands print for people: tables, and a calibration in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_METRES, _RADIANS = ("mm", 1e3), ("deg", math.degrees(1.0))
_UNITS = {
    **dict.fromkeys(("dist", "poni1", "poni2", "centre1", "centre2", "distance"), _METRES),
    **dict.fromkeys(("rot1", "rot2", "rot3"), _RADIANS),
    **dict.fromkeys(("tilt1", "tilt2"), ("slope", 1.0)),
    "wavelength": ("A", 1e10),
}


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows of cells in columns, the first ``left`` columns flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def describe(figures: Mapping[str, Any]) -> str:
    """A calibration for a person to read, from what `figures` gave.

    Parameters
    ----------
    figures
        See `bluesky_azint.calibration.figures.figures`.
    """
    parts = [f"{str(figures['verdict']).upper()}"]
    parts += [f"  - {reason}" for reason in figures["reasons"]]
    parts += [f"  note: {note}" for note in figures["notes"]]
    parts += [
        f"  {name} was not refined: {why}"
        for name, why in figures["fixed"].items()
        if why not in figures["notes"]
    ]
    if figures["parameters"] is not None:
        found = {**figures["parameters"], **(figures["beam"] or {})}
        rows = [["", "value", "", "sigma", "jackknife"]]
        rows += [_row(name, entry) for name, entry in found.items()]
        parts += ["", table(rows), "Of sigma and jackknife, believe the larger."]
    if figures["residual_px"] is not None:
        rings = sum(ring["used"] for ring in figures["rings"])
        parts += [
            "",
            f"residual {figures['residual_px']:.3f} px"
            + _also("held_out_px", figures, ", held out {:.3f} px")
            + _also("residual_relative", figures, ", dq/q {:.1e}")
            + f"; {rings} rings of {figures['calibrant']}, {figures['sectors_used']} sectors",
        ]
    return "\n".join(parts)


def rings_table(rings: Sequence[Mapping[str, Any]]) -> str:
    """How each ring lies, from the ``rings`` of `figures`."""
    rows = [["ring", "2theta/deg", "sectors", "rms/px", "mean/px", "+-", ""]]
    rows += [
        [
            " ".join(map(str, ring["hkl"])),
            f"{math.degrees(ring['two_theta']):.4f}",
            str(ring["sectors"]),
            *(_number(ring[name], 3) for name in ("rms_px", "mean_px", "sigma_px")),
            "" if ring["used"] else "left out",
        ]
        for ring in rings
    ]
    return table(rows)


def _row(name: str, entry: Mapping[str, float | None]) -> list[str]:
    unit, factor = _UNITS[name]
    value, sigma, jackknife = (
        None if entry[key] is None else factor * (entry[key] or 0.0)
        for key in ("value", "sigma", "jackknife")
    )
    # As many digits as the error has, and one more.
    digits = 6 if not sigma else min(max(1 - math.floor(math.log10(sigma)), 0), 9)
    return [name, _number(value, digits), unit, _number(sigma, digits), _number(jackknife, digits)]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _also(key: str, figures: Mapping[str, Any], form: str) -> str:
    return "" if figures[key] is None else form.format(figures[key])
