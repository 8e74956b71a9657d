"""All classes by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests.study.classes import plain, saxs, sparse, spotty, weak
from tests.study.controls import (
    EMPTY,
    any_rings,
    distorted,
    false_distance,
    false_wavelength,
    harder,
    nothing,
    other_powder,
    second_phase,
)
from tests.study.scene import Scene

MAKERS: Mapping[str, Callable[[str, int], Scene]] = {
    **dict.fromkeys(("A", "B", "C"), plain),
    "D1": saxs,
    "D2": spotty,
    "D3": weak,
    "D4": sparse,
    **dict.fromkeys(EMPTY, nothing),
    **dict.fromkeys(("E-rings", "E-single"), any_rings),
    **dict.fromkeys(("E-powder", "E-similar"), other_powder),
    "E-distance": false_distance,
    **dict.fromkeys(("F-wavelength-1", "F-wavelength-5"), false_wavelength),
    **dict.fromkeys(("F-distorted", "F-distorted-more"), distorted),
    "F-phase": second_phase,
    **dict.fromkeys(("V-texture", "V-gaps"), harder),
}

MEANINGS: Mapping[str, str] = {
    "A": "beam in the middle 40 %, tilt to 3 deg, 4 to 14 rings",
    "B": "beam anywhere on the detector, tilt to 20 deg, 4 to 25 arcs",
    "C": "arm at 12 to 45 deg, or beam beside the detector and tilt to 45 deg, 4 to 25 arcs",
    "D1": "AgBh at small angles, 2 to 8 orders, 8 to 1000 counts",
    "D2": "as A, 60 to 600 grains per ring",
    "D3": "1.5 to 8 counts in the peak",
    "D4": "1 or 2 complete rings, the rest in the corners",
    "E-blank": "nothing",
    "E-noise": "noise",
    "E-halo": "an amorphous sample",
    "E-stop": "the beam stop alone",
    "E-stripes": "straight lines",
    "E-spots": "a single crystal",
    "E-rings": "concentric rings at random",
    "E-single": "one ring",
    "E-powder": "a powder of another structure",
    "E-similar": "a powder of the same structure, or nearly, and another size",
    "E-distance": "the distance stated excludes the true one",
    "F-wavelength-1": "the wavelength 1 % off, 2theta beyond 18 deg",
    "F-wavelength-5": "the wavelength 5 % off, 2theta beyond 12 deg",
    "F-distorted": "smooth distortion, 0.15 px rms",
    "F-distorted-more": "smooth distortion, 0.5 px rms",
    "F-phase": "a second phase, 30 to 100 % as high",
    "V-texture": "B with texture to 90 %, 1 % dead and 0.1 % hot pixels",
    "V-gaps": "B with gaps that are 0 and not masked",
}


def make(kind: str, seed: int) -> Scene:
    """A scene of a class, the same every time.

    Parameters
    ----------
    kind
        A key of `MAKERS`.
    seed
        Its number, from 0 on.
    """
    return MAKERS[kind](kind, seed)


def kinds(patterns: Sequence[str]) -> list[str]:
    """Those that begin like one of the patterns; "A" is "A", and "E" all of E."""
    return [kind for kind in MAKERS if any(kind.startswith(pattern) for pattern in patterns)]
