"""What a user gives, and what is refused of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.preparation import (
    as_frame,
    counts_of,
    detector_of,
    lasting_mask,
    lines_to_find,
    wavelength_of,
)
from bluesky_azint.errors import FrameError, GeometryError, RecipeError

DETECTOR = ba.Detector(pixel1=1e-4, pixel2=1e-4, shape=(20, 30), name="of here")


def frame(dtype: str = "int32", value: float = 7) -> NDArray[np.generic]:
    return np.full((20, 30), value, dtype=dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32", "float64"])
def test_images_are_taken_as_they_are(dtype: str) -> None:
    image = frame(dtype)
    assert as_frame(image) is image
    one_of_a_stack = as_frame(image[np.newaxis])
    assert one_of_a_stack.shape == (20, 30)
    assert one_of_a_stack.dtype == dtype


def test_lists_are_images_too() -> None:
    np.testing.assert_array_equal(as_frame([[1, 2], [3, 4]]), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((3, 20, 30)), r"\(3, 20, 30\)"),
        (np.zeros(600), r"\(600,\)"),
        (np.zeros((1, 1, 20, 30)), r"\(1, 1, 20, 30\)"),
        (np.zeros((20, 30), dtype=complex), "complex128"),
        (np.zeros((20, 30), dtype=bool), "bool"),
        (np.array([["a", "b"]]), "U1"),
    ],
)
def test_what_is_no_image_is_refused(image: NDArray[np.generic], told: str) -> None:
    with pytest.raises(FrameError, match=f"one image of real numbers.*{told}.*Give one frame"):
        as_frame(image)


def test_the_detector_by_name_or_itself() -> None:
    assert detector_of(DETECTOR, frame()) == DETECTOR
    assert detector_of(replace(DETECTOR, shape=None), frame()).shape == (20, 30)
    pilatus = detector_of("Pilatus 300k", np.zeros((619, 487), dtype=np.int32))
    assert pilatus.pixel1 == 172e-6
    assert pilatus.mask is not None


def test_a_detector_of_another_shape_is_refused() -> None:
    turned = np.zeros((30, 20))
    with pytest.raises(FrameError, match=r"\(30, 20\).*'of here' \(20, 30\).*rotated"):
        detector_of(DETECTOR, turned)
    with pytest.raises(GeometryError, match="Pilatos"):
        detector_of("Pilatos", frame())


def test_wavelengths() -> None:
    assert wavelength_of(0.5e-10, None) == 0.5e-10
    assert wavelength_of(None, 12.39841984332) == pytest.approx(1e-10, rel=1e-12)


@pytest.mark.parametrize(
    ("wavelength", "energy_kev", "told"),
    [
        (None, None, "either the wavelength, in metres, or energy_kev"),
        (1e-10, 12.4, "either the wavelength, in metres, or energy_kev"),
        (0.5, None, "0.5 m, which no diffraction has.*1 angstrom is 1e-10"),
        (0.0, None, "which no diffraction has"),
        (-1e-10, None, "which no diffraction has"),
        (np.nan, None, "which no diffraction has"),
        (None, 0.0, "0.0 keV; it must be positive"),
        (None, -12.0, "must be positive"),
        (None, np.nan, "must be positive"),
        (None, 12398.0, "energies in keV"),  # eV
        (None, np.inf, "which no diffraction has"),
    ],
)
def test_impossible_wavelengths_are_refused(
    wavelength: float | None, energy_kev: float | None, told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        wavelength_of(wavelength, energy_kev)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int32", -1),
        ("int32", -2),
        ("float64", -1e-6),
        ("float32", np.nan),
        ("float64", np.inf),
        ("float64", -np.inf),
        ("uint32", 2**32 - 1),
        ("int64", 2**32 - 1),
        ("float32", 2**32 - 1),
        ("float64", 2**32 - 2),
        ("uint16", 2**16 - 1),
        ("uint8", 255),
        ("uint64", 2**64 - 1),
    ],
)
def test_values_that_are_no_counts(dtype: str, value: float) -> None:
    image = frame(dtype)
    image[3, 4] = value
    _, bad = counts_of(image, DETECTOR, None)
    assert bad.dtype == bool
    np.testing.assert_array_equal(np.argwhere(bad), [[3, 4]])


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int32", 0), ("int32", 2**31 - 1), ("uint16", 65534), ("int32", 65535), ("float32", 1e9)],
)
def test_counts_are_counts(dtype: str, value: float) -> None:
    image = frame(dtype)
    image[3, 4] = value
    assert not counts_of(image, DETECTOR, None)[1].any()


def test_masks_are_joined() -> None:
    own, given = np.zeros((2, 20, 30), dtype=bool)
    own[0], given[:, 0] = True, True
    image = frame()
    image[-1, -1], image[5, 5] = -1, 11
    known = replace(DETECTOR, mask=own, dummy=10.0, delta_dummy=1.0)
    wanted = own | given
    wanted[-1, -1] = wanted[5, 5] = True
    np.testing.assert_array_equal(counts_of(image, known, given)[1], wanted)
    np.testing.assert_array_equal(counts_of(image, known, given.astype(int).tolist())[1], wanted)
    assert not own[5].any()  # what was given is as it was
    assert given.sum() == 20


def test_a_dummy_without_tolerance_is_that_value_alone() -> None:
    image = frame()
    image[1, 1], image[2, 2] = 0, 1
    _, bad = counts_of(image, replace(DETECTOR, dummy=0.0), None)
    np.testing.assert_array_equal(np.argwhere(bad), [[1, 1]])


def test_masks_of_another_shape_are_refused() -> None:
    with pytest.raises(FrameError, match=r"mask has the shape \(30, 20\), the image \(20, 30\)"):
        counts_of(frame(), DETECTOR, np.zeros((30, 20), dtype=bool))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (frame(), np.ones((20, 30), dtype=bool)),
        (frame("float32", np.nan), None),
        (frame("int32", -1), None),
        (frame("uint16", 65535), None),
    ],
)
def test_an_image_of_which_nothing_is_left_is_refused(
    image: NDArray[np.generic], mask: NDArray[np.bool_] | None
) -> None:
    with pytest.raises(FrameError, match=r"Only 0.0% of the pixels.*True = masked"):
        counts_of(image, DETECTOR, mask)


def test_a_mask_the_wrong_way_round_is_told() -> None:
    good = np.ones((20, 30), dtype=bool)
    good[3, 4] = False
    with pytest.raises(FrameError, match=r"Only 0.2% of the pixels.*True = masked"):
        counts_of(frame(), DETECTOR, good)


def test_rings_there_are_at_a_wavelength() -> None:
    ceria = calibrant("CeO2")
    few = lines_to_find(ceria, 3e-10)
    assert [ring.d > 1.5 for ring in few.rings] == [True] * len(few.rings)
    assert 0 < len(few.rings) < len(ceria.rings)
    assert len(few.two_theta(3e-10)) == len(few.rings)
    with pytest.raises(RecipeError, match="CeO2 has no ring at a wavelength of 7e-10 m"):
        lines_to_find(ceria, 7e-10)


@pytest.mark.parametrize("dtype", ["uint16", "float64"])
def test_saturated_pixels_do_not_stay_masked(dtype: str) -> None:
    rng = np.random.default_rng(2)
    rows, columns = np.indices((200, 220))
    ring = 4e4 * np.exp(-0.5 * ((np.hypot(rows - 90, columns - 100) - 60) / 2.0) ** 2)
    image = rng.poisson(200 + ring).astype(np.float64)
    saturated = image > 30000
    gap = np.zeros(image.shape, dtype=bool)
    gap[120:124] = True
    image[saturated] = 65535 if dtype == "uint16" else np.nan
    image[gap] = 0 if dtype == "uint16" else np.nan
    known = ba.Detector(pixel1=1e-4, pixel2=1e-4, shape=image.shape, mask=gap)
    mask, found = lasting_mask(image.astype(dtype), known, None)
    assert saturated.sum() > 1000
    assert not mask[saturated & ~gap].any()
    assert mask[gap].all()
    assert found["gap"] == gap.sum()
