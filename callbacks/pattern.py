"""The pattern of one frame, as those who look at it or decide with it have it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pattern:
    """The pattern of one frame.

    Parameters
    ----------
    radial, unit
        Centres of the radial bins, (npt,), and the name of their unit.
    intensity, sigma
        Intensity and its standard error, (npt,) or (npt_azim, npt); sigma is None without an error
        model.
    azimuthal
        Centres of the azimuthal bins, (npt_azim,); None for a pattern in one dimension.
    """

    radial: Floats
    unit: str
    intensity: Floats
    sigma: Floats | None
    azimuthal: Floats | None = None
