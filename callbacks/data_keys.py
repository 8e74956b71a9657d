"""Which data keys of an event descriptor are images, and how many an event holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def image_keys(descriptor: Mapping[str, Any]) -> list[str]:
    """The data keys of an event descriptor that are images, or stacks of them.

    An image has two dimensions; leading ones of length 1 do not count, so that ``[1, 2048]`` is a
    spectrum. Five spectra per event, ``[5, 2048]``, cannot be told from an image.

    >>> image_keys({"data_keys": {"det": {"shape": [1, 240, 320]}, "det-sum": {"shape": [1]}}})
    ['det']
    """
    return [key for key, value in descriptor["data_keys"].items() if _is_image(value)]


def frames_per_event(data_key: Mapping[str, Any]) -> int:
    """How many frames each event holds, by its data key.

    >>> frames_per_event({"shape": [5, 240, 320]})
    5
    """
    shape = data_key.get("shape") or ()
    return math.prod(size or 1 for size in shape[:-2])  # an unknown size is None, or 0


def _is_image(data_key: Mapping[str, Any]) -> bool:
    shape = list(data_key.get("shape") or ())
    while shape and shape[0] == 1:
        del shape[0]
    kind = data_key.get("dtype_numpy")
    numeric = np.dtype(kind).kind in "biuf" if isinstance(kind, str) else kind is None
    return len(shape) >= 2 and numeric and data_key.get("dtype") != "string"
