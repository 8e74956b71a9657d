"""The catalogue against pyFAI, and what a detector is."""

import logging
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bluesky_azint.detectors import Detector, detector
from bluesky_azint.errors import GeometryError
from bluesky_azint.parallax import Sensor
from bluesky_azint.pixels import Corners, Cylinder, Mesh, Rectangles

pyfai_detectors = pytest.importorskip("pyFAI.detectors")

# Where pyFAI puts wide pixels where there are none.
MISPLACED = {"Jungfrau8M"}


def pyfai_models() -> dict[str, Any]:
    """pyFAI's detectors, by class name."""
    classes = set(pyfai_detectors.Detector.registry.values())
    return {cls.__name__: cls for cls in sorted(classes, key=str) if "MAX_SHAPE" in dir(cls)}


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
    with pytest.raises(GeometryError, match=r"'Pilatus1M' has no pixels of 300 um, only of 172 um"):
        detector("Pilatus1M", pixel1=300e-6)
    with pytest.raises(GeometryError, match="no pixels of 0 um"):
        detector("Pilatus1M", pixel1=0.0)
    with pytest.raises(GeometryError, match=r"no pixels of 50 um, only of 39\.5, 79"):
        detector("RayonixSx165", pixel1=50e-6)


@pytest.mark.parametrize("name", ["Eiger2_1M", "Lambda750k", "Maxipix2x2"])
def test_binned_pixels_are_pyfais(name: str) -> None:
    pixel = 2 * detector(name).pixel1
    ours, theirs = detector(name, pixel, pixel), MODELS[name](pixel1=pixel, pixel2=pixel)
    assert (ours.pixel1, ours.pixel2, ours.shape) == (pixel, pixel, theirs.shape)
    np.testing.assert_array_equal(ours.mask, theirs.mask != 0)


def test_binning_cuts_off_what_is_left_over() -> None:
    mask = np.zeros((5, 7), dtype=bool)
    mask[1, 4] = mask[4, 6] = True
    binned = Detector(1e-4, 2e-4, mask=mask).binned(2, 3)
    assert (binned.pixel1, binned.pixel2) == pytest.approx((2e-4, 6e-4))
    np.testing.assert_array_equal(binned.mask, [[False, True], [False, False]])
    assert detector("Pilatus1M", 344e-6, 344e-6).shape == (521, 490)
    with pytest.raises(GeometryError, match=r"cannot be binned by \(6, 1\)"):
        Detector(1e-4, 1e-4, (5, 5)).binned(6, 1)


IRREGULAR = [
    name for name in MODELS if detector(name).pixels is not None and name not in ("Aarhus",)
]


def test_which_detectors_are_irregular() -> None:
    theirs = {
        name
        for name, cls in MODELS.items()
        if not (cls.uniform_pixel and cls.IS_FLAT) and name not in ("Aarhus",)
    }
    assert set(IRREGULAR) == theirs


@pytest.mark.parametrize("name", IRREGULAR)
def test_irregular_pixels_are_pyfais(name: str) -> None:
    """Within the single precision of pyFAI."""
    ours, theirs = detector(name).pixels, MODELS[name]()
    assert ours is not None
    corners = theirs.get_pixel_corners()
    step = 100
    for start in range(0, theirs.shape[0], 10 * step):
        block = slice(start, start + step)
        atol = 1e-7 * np.abs(corners).max()
        np.testing.assert_allclose(ours.corners(block), corners[block], rtol=0, atol=atol)
    assert ours.flat == theirs.IS_FLAT


def test_cylinder_of_another_radius() -> None:
    class _Small(pyfai_detectors.Aarhus):  # type: ignore[misc, name-defined]
        MAX_SHAPE = (20, 1000)

    theirs = _Small(pixel1=1e-4, pixel2=2e-4, radius=1.2).get_pixel_corners(use_cython=False)
    ours = Cylinder((20, 1000), 1e-4, 2e-4, 1.2)
    np.testing.assert_allclose(ours.corners(), theirs, rtol=0, atol=3e-8)
    assert detector("Aarhus", radius=1.2).pixels == replace(
        ours, shape=(1000, 16000), pixel1=24.893e-6, pixel2=24.893e-6
    )
    with pytest.raises(GeometryError, match="no cylinder"):
        detector("Pilatus1M", radius=0.3)


def test_raw_jungfrau_is_binned_to_chips() -> None:
    """Blocks of 256 x 256 pixels are the chips, wider by the half gap on each inner side."""
    chips = detector("Jungfrau").binned(256, 256).pixels
    assert isinstance(chips, Rectangles)
    np.testing.assert_allclose(np.diff(chips.fast)[:, 0] / 75e-6, [257, 258, 258, 257])
    np.testing.assert_allclose(np.diff(chips.slow)[:, 0] / 75e-6, [257, 257])


@pytest.mark.parametrize("knots", [0, 1])
def test_displacement_maps_are_pyfais(knots: int) -> None:
    dx, dy = np.random.default_rng(1).normal(size=(2, 6 + knots, 8 + knots))
    theirs = pyfai_detectors.Detector(1e-4, 2e-4, max_shape=(6, 8))
    theirs.set_dx(dx)
    theirs.set_dy(dy)
    ours = Detector(1e-4, 2e-4, (6, 8)).displaced(dx, dy)
    assert ours.pixels is not None
    np.testing.assert_allclose(ours.pixels.corners(), theirs.get_pixel_corners(), atol=1e-9)
    binned = ours.binned(2, 2).pixels
    assert binned is not None
    np.testing.assert_array_equal(
        binned.corners()[1, 1], ours.pixels.corners()[[2, 3, 3, 2], [2, 2, 3, 3], [0, 1, 2, 3]]
    )
    with pytest.raises(GeometryError, match="have the shapes"):
        ours.displaced(dx, dy[1:])


def test_detectors_are_values() -> None:
    corners = np.random.default_rng(1).normal(size=(4, 5, 6, 3))
    some = Detector(1e-4, 1e-4, pixels=Corners(corners), sensor=Sensor("Si", 1e-4))
    assert some.shape == (4, 5)
    same = replace(some, pixels=Corners(corners.copy()), described_in=(("filename", "a"),))
    assert some == same
    assert hash(some) == hash(same)
    assert pickle.loads(pickle.dumps(some)) == some
    for other in (
        replace(some, pixels=Corners(corners + 1)),
        replace(some, pixels=None),
        replace(some, sensor=None),
        replace(some, pixels=Mesh(corners[..., 0, 0], corners[..., 0, 1]), shape=(3, 4)),
    ):
        assert some != other
    assert detector("Jungfrau") == detector("Jungfrau 500k")
    with pytest.raises(ValueError, match="read-only"):
        some.pixels.array[0] = 0  # type: ignore[union-attr]
    corners[0] = 0  # the array of the user stays writable


def test_corners_that_are_none_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"shape \(3, 4, 2\)"):
        Corners(np.zeros((3, 4, 2)))
    with pytest.raises(GeometryError, match="must be floats"):
        Corners(np.zeros((3, 4, 4, 3), dtype=int))
    with pytest.raises(GeometryError, match=r"pixels of detector 'Detector' has the shape"):
        Detector(1e-4, 1e-4, (3, 3), pixels=Corners(np.zeros((3, 4, 4, 3))))
    with pytest.raises(GeometryError, match="Hexagonal pixels cannot be binned"):
        detector("Pixirad1").binned(2, 2)


@pytest.mark.parametrize(
    ("name", "near"),
    [("Pilatus 1MM", "Pilatus1M"), ("eiger2 5M", "Eiger2_9M"), ("rayonix sx156", "RayonixSx165")],
)
def test_unknown_name_is_refused_with_its_neighbours(name: str, near: str) -> None:
    with pytest.raises(GeometryError, match=f"no detector '{name}'.*near it are .*{near}"):
        detector(name)


def test_shared_mask_cannot_be_written() -> None:
    eiger = detector("Eiger2_4M")
    assert eiger.mask is not None
    assert eiger.mask is detector("eiger2 4m", pixel1=75e-6).mask
    with pytest.raises(ValueError, match="read-only"):
        eiger.mask[0, 0] = True


def test_what_is_no_name_and_no_factor_is_refused() -> None:
    nothing: Any = None
    with pytest.raises(GeometryError, match="no detector None"):
        detector(nothing)
    for factors in ((1.5, 2), (0, 2), (1, 10_000)):
        with pytest.raises(GeometryError, match="cannot be binned"):
            detector("Pilatus1M").binned(*factors)
