"""The catalogue against pyFAI, and the masks against the drawings."""

import logging
from typing import Any

import numpy as np
import pytest

from bluesky_azint.detectors import Detector, detector, module_mask, round_mask
from bluesky_azint.errors import GeometryError

pyfai_detectors = pytest.importorskip("pyFAI.detectors")

# Sensors with a regular grid of pixels that pyFAI knows and the catalogue leaves out: optical
# cameras, a strip, one that needs a spline, and the Jungfrau that is no regular grid.
LEFT_OUT = {
    "Basler",
    "FReLoN",
    "Jungfrau8M",
    "Mythen",
    "RaspberryPi5M",
    "RaspberryPi8M",
    "RaspberryPi12M",
}


def pyfai_models() -> dict[str, Any]:
    """pyFAI's detectors with a regular, flat grid of pixels, by class name."""
    models = {}
    for cls in set(pyfai_detectors.Detector.registry.values()):
        if "MAX_SHAPE" in dir(cls):
            made = cls()
            if made.uniform_pixel and made.IS_FLAT and made.CORNERS == 4:
                models[cls.__name__] = cls
    return {name: models[name] for name in sorted(models) if name not in LEFT_OUT}


MODELS = pyfai_models()


def assert_same(ours: Detector, name: str, **pixels: float) -> None:
    theirs = MODELS[name](**pixels)
    assert (ours.pixel1, ours.pixel2) == (theirs.pixel1, theirs.pixel2)
    assert ours.shape == tuple(theirs.shape)
    if name.startswith("Lambda"):
        assert ours.dummy is None  # there, 0 is a count like any other
    else:
        assert (ours.dummy, ours.delta_dummy) == (theirs.dummy, theirs.delta_dummy)
    assert ours.orientation == theirs.orientation
    nothing = np.zeros(theirs.shape, bool)
    np.testing.assert_array_equal(
        nothing if ours.mask is None else ours.mask,
        nothing if theirs.mask is None else theirs.mask != 0,
    )


@pytest.mark.parametrize("name", MODELS)
def test_detector_is_pyfais(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # pyFAI warns of the Lambda 9M
    ours = detector(name)
    assert ours.name == name
    assert_same(ours, name)


@pytest.mark.parametrize("name", MODELS)
def test_every_alias_of_pyfai_is_known(name: str) -> None:
    registry = pyfai_detectors.Detector.registry
    for alias in [
        *MODELS[name].aliases,
        *(key for key in registry if registry[key].__name__ == name),
    ]:
        assert detector(alias) == detector(name)
        assert detector(alias.upper()) == detector(name)


@pytest.mark.parametrize(
    ("name", "pixel1", "pixel2"),
    [
        (name, *sizes)
        for name, cls in MODELS.items()
        if hasattr(cls, "BINNED_PIXEL_SIZE")
        for sizes in [(size, size) for size in cls.BINNED_PIXEL_SIZE.values()]
    ]
    + [
        ("RayonixMx225", 73.242e-6, 146.484e-6),
        ("RayonixSx165", 79e-6, 158e-6),
        ("Mar345", 150e-6, 150e-6),
        ("Perkin", 100e-6, 100e-6),
        ("Perkin", 400e-6, 400e-6),
        ("Dexela2923", 150e-6, 150e-6),
        ("Pixium", 154e-6, 154e-6),
    ],
)
def test_binned_detector_is_pyfais(name: str, pixel1: float, pixel2: float) -> None:
    ours = detector(name, pixel1=pixel1, pixel2=pixel2)
    assert_same(ours, name, pixel1=pixel1, pixel2=pixel2)


def test_refined_pixel_size_is_kept() -> None:
    refined = detector("Pilatus1M", pixel1=172.1e-6)
    assert refined.pixel1 == 172.1e-6
    assert refined.pixel2 == 172e-6
    assert refined.shape == (1043, 981)
    np.testing.assert_array_equal(refined.mask, detector("Pilatus1M").mask)


def test_pixel_size_that_no_binning_gives_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"'Pilatus1M' has no pixels of 344 um, only of 172 um"):
        detector("Pilatus1M", pixel1=344e-6)
    with pytest.raises(GeometryError, match="no pixels of 0 um"):
        detector("Pilatus1M", pixel1=0.0)


@pytest.mark.parametrize(
    ("name", "near"),
    [("Pilatus 1MM", "Pilatus1M"), ("eiger2 5M", "Eiger2_9M"), ("rayonix sx156", "RayonixSx165")],
)
def test_unknown_name_is_refused_with_its_neighbours(name: str, near: str) -> None:
    with pytest.raises(GeometryError, match=f"no detector '{name}'.*near it are .*{near}"):
        detector(name)


def test_irregular_detectors_are_not_in_the_catalogue() -> None:
    for name in ("Jungfrau", "Jungfrau 16M cor", "ImXPadS140", "Pixirad1", "Aarhus"):
        with pytest.raises(GeometryError, match="no detector"):
            detector(name)


def test_shared_mask_cannot_be_written() -> None:
    eiger = detector("Eiger2_4M")
    assert eiger.mask is not None
    assert eiger.mask is detector("eiger2 4m", pixel1=75e-6).mask
    with pytest.raises(ValueError, match="read-only"):
        eiger.mask[0, 0] = True


def test_module_mask() -> None:
    """Modules of 2 x 4, gaps of 1 row and 2 columns, a seam of 1 column."""
    expected = """
        ..#.##..#.
        ..#.##..#.
        ##########
        ..#.##..#.
    """
    mask = module_mask((4, 10), module=(2, 4), gap=(1, 2), seam=1)
    drawn = ["".join(".#"[pixel] for pixel in row) for row in mask.astype(int)]
    assert drawn == expected.split()


def test_round_mask_fits_the_detector() -> None:
    mask = round_mask((200, 200))
    assert not mask[100].any()
    assert not mask[:, 100].any()
    assert mask[0, 0]
    assert (~mask).sum() == pytest.approx(np.pi * 100**2, rel=1e-3)
    np.testing.assert_array_equal(mask, mask[::-1])
    np.testing.assert_array_equal(mask, mask.T)
