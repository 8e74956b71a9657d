"""Recipes are values: checked, serialised, hashed."""

import json
from typing import Any

import numpy as np
import pytest

from bluesky_azint.errors import RecipeError
from bluesky_azint.reduction.recipe import Recipe

RECIPE = Recipe(
    npt=512, unit="2th_deg", radial_range=(1, 30), azimuth_range=(170, 190), error_model="poisson"
)


def test_a_recipe_survives_json() -> None:
    again = Recipe.from_dict(json.loads(json.dumps(RECIPE.to_dict())))
    assert again == RECIPE
    assert again.hash == RECIPE.hash
    assert again.radial_range == (1.0, 30.0)


def test_numbers_of_any_kind_make_one_recipe() -> None:
    recipe = Recipe(polarization_factor=1, dummy=-1)
    values: dict[str, Any] = {"polarization_factor": np.float32(1), "dummy": np.int16(-1)}
    again = Recipe(**values)
    assert again.hash == recipe.hash
    assert Recipe(polarization_factor=1.0, dummy=-1.0).hash == recipe.hash


def test_the_hash_is_the_same_on_every_machine() -> None:
    assert Recipe().hash == ("67b821207a7a4756701f49f95ed29b398643191a7bc170f91ba34b05e1f6705a")
    assert Recipe(npt=999).hash != Recipe().hash


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"npt": 0}, "npt is 0"),
        ({"npt": 10.5}, "npt is 10.5"),
        ({"npt": "many"}, "npt is 'many'"),
        ({"unit": "furlong"}, "no unit 'furlong'"),
        ({"splitting": "csr"}, "'no', 'bbox', 'pseudo', 'full'"),
        ({"error_model": "gauss"}, "error_model is 'gauss'; it must be one of 'poisson'"),
        ({"radial_range": (5, 1)}, "radial_range"),
        ({"radial_range": (1,)}, "radial_range"),
        ({"radial_range": 3}, "radial_range"),
        ({"azimuth_range": (0, float("inf"))}, "azimuth_range"),
        ({"polarization_factor": 2}, "polarization_factor is 2"),
        ({"correct_solid_angle": 2}, "correct_solid_angle is 2"),
        ({"polarization_factor": "strong"}, "polarization_factor is 'strong'"),
        ({"polarization_offset": float("nan")}, "polarization_offset is nan"),
        ({"sensor_transmission": "0.5"}, "sensor_transmission is '0.5'"),
        ({"dummy": float("nan")}, "dummy is nan"),
        ({"delta_dummy": 2}, "delta_dummy"),
        ({"dummy": -1, "delta_dummy": -2}, "must not be negative"),
        ({"bins": 2}, "no entry 'bins'"),
    ],
)
def test_what_cannot_be_computed_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(values)
