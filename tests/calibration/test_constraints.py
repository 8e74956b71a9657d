"""Rows that known parameters add to the least squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bluesky_azint.calibration.constraints import (
    NAMES,
    Bounds,
    Constraint,
    Fixed,
    Prior,
    check_constraints,
    constraint_rows,
    held_at_bounds,
)
from bluesky_azint.errors import RecipeError

VALUES = np.array([0.03, 0.04, 0.2, 0.1, -0.05, 1e-3])
WAVELENGTH = 1e-10


@pytest.mark.parametrize("name", NAMES)
def test_derivatives(name: str) -> None:
    scale = 1e-10 if name == "wavelength" else 1.0
    constraint = {name: Prior(0.5 * scale, 0.1 * scale)}
    _, jacobian = constraint_rows(constraint, VALUES, WAVELENGTH)
    for index in range(6):
        step = np.zeros(6)
        step[index] = 1e-6
        ahead, _ = constraint_rows(constraint, VALUES + step, WAVELENGTH)
        behind, _ = constraint_rows(constraint, VALUES - step, WAVELENGTH)
        difference = (ahead - behind) / 2e-6
        np.testing.assert_allclose(jacobian[:, index], difference, rtol=1e-5, atol=1e-7)


def test_residuals_are_in_standard_errors() -> None:
    given: dict[str, Constraint] = {
        "distance": Prior(0.19, 0.002),
        "tilt1": Fixed(0.1),
        "centre1": Bounds(0.0, 0.01),
    }
    residuals, jacobian = constraint_rows(given, VALUES, WAVELENGTH)
    np.testing.assert_allclose(residuals, [5.0, 0.0], atol=1e-9)
    assert jacobian.shape == (2, 6)


def test_bounds_hold_what_goes_beyond() -> None:
    given = {"centre1": Bounds(0.0, 0.01), "distance": Bounds(0.1, 0.3), "rot2": Bounds(0.5, 1.0)}
    held = held_at_bounds(given, VALUES)
    assert held["centre1"] == Fixed(0.01)
    assert held["distance"] == given["distance"]
    assert held["rot2"] == Fixed(0.5)


def test_wrong_constraints_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"no parameter 'rot3'.*dist, poni1"):
        check_constraints({"rot3": Fixed(0.0)})
    with pytest.raises(RecipeError, match="give it a Prior"):
        check_constraints({"wavelength": Bounds(1e-10, 2e-10)})
    with pytest.raises(RecipeError, match="positive"):
        Prior(1.0, 0.0)
    with pytest.raises(RecipeError, match="rise"):
        Bounds(2.0, 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, "0.1", None])
def test_only_numbers_are_constraints(value: Any) -> None:
    with pytest.raises(RecipeError, match="finite number"):
        Fixed(value)
    with pytest.raises(RecipeError, match="finite number"):
        Prior(value, 1.0)
    with pytest.raises(RecipeError, match="finite number"):
        Prior(1.0, value)
    bare: Any = {"rot1": value}
    with pytest.raises(RecipeError, match=r"rot1 is constrained by .* give Fixed\(value\)"):
        check_constraints(bare)


def test_bounds_may_be_open_to_one_side() -> None:
    check_constraints({"dist": Bounds(0, np.inf)})
    with pytest.raises(RecipeError, match="A bound cannot be nan"):
        Bounds(np.nan, 1.0)


@pytest.mark.parametrize("constraint", [Fixed(0.0), Prior(-0.1, 1.0), Bounds(-2.0, -1.0)])
def test_distances_are_positive(constraint: Constraint) -> None:
    with pytest.raises(RecipeError, match=r"dist is to be .* must be positive"):
        check_constraints({"dist": constraint})


def test_constraints_that_contradict_are_refused() -> None:
    with pytest.raises(RecipeError, match="Both dist and distance"):
        check_constraints({"dist": Fixed(0.2), "distance": Fixed(0.21)})
    check_constraints({"dist": Fixed(0.2), "distance": Prior(0.21, 0.01)})
    for constraint in (Fixed(1.06e-10), Prior(1.06e-10, 1e-10)):
        with pytest.raises(RecipeError, match=r"stated as 1e-10 m and constrained to 1\.06e-10 m"):
            check_constraints({"wavelength": constraint}, 1e-10)
    check_constraints({"wavelength": Fixed(1.04e-10)}, 1e-10)
