"""Which data keys are images."""

from __future__ import annotations

from typing import Any

import pytest

from bluesky_azint.callbacks.data_keys import frames_per_event, image_keys


@pytest.mark.parametrize(
    ("data_key", "image"),
    [
        ({"shape": [240, 320], "dtype": "array"}, True),
        ({"shape": [1, 240, 320], "dtype": "array", "dtype_numpy": "|u1"}, True),
        ({"shape": (5, 240, 320), "dtype": "array", "external": "STREAM:"}, True),
        ({"shape": [1, 1, 240, 320], "dtype": "array", "dtype_numpy": "<f4"}, True),
        ({"shape": [None, 240, 320], "dtype": "array"}, True),
        ({"shape": [], "dtype": "number"}, False),
        ({"shape": None, "dtype": "number"}, False),
        ({"dtype": "number"}, False),
        ({"shape": [1], "dtype": "number", "external": "STREAM:"}, False),
        ({"shape": [5], "dtype": "array", "external": "STREAM:"}, False),
        ({"shape": [2048], "dtype": "array"}, False),
        ({"shape": [1, 2048], "dtype": "array", "external": "STREAM:"}, False),
        ({"shape": [1, 1, 2048], "dtype": "array"}, False),
        ({"shape": [2, 3], "dtype": "array", "dtype_numpy": "<U8"}, False),
        ({"shape": [2, 3], "dtype": "array", "dtype_numpy": [["x", "<f8"]]}, False),
        ({"shape": [2, 3], "dtype": "string"}, False),
    ],
)
def test_images(data_key: dict[str, Any], image: bool) -> None:
    descriptor = {"data_keys": {"x": data_key, "y": {"shape": [], "dtype": "number"}}}
    assert image_keys(descriptor) == (["x"] if image else [])


@pytest.mark.parametrize(
    ("shape", "count"),
    [([240, 320], 1), ([1, 240, 320], 1), ([5, 240, 320], 5), ([2, 3, 240, 320], 6),
     ([None, 240, 320], 1), ([0, 240, 320], 1), ([], 1), (None, 1)],
)  # fmt: skip
def test_frames_per_event(shape: list[int] | None, count: int) -> None:
    assert frames_per_event({"shape": shape}) == count
