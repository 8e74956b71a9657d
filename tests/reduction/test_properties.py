"""What holds whatever the geometry: for one and two dimensions, every splitting, every engine."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.reduction.arithmetic import merge, merge_stack, project, rebin

SHAPE = (16, 19)
PIXEL = (1.0e-3, 1.1e-3)
ADDITIVE = ("sum_signal", "sum_normalization", "count")

EXAMPLES = settings(max_examples=60)

# OpenCL sums pixels with shares in single precision.
# Tables keep the shares of split pixels in single precision.
ROUNDING = {"scipy": 1e-8, "opencl": 1e-8, "histogram": 1e-12}


@dataclass(frozen=True)
class Way:
    """How frames are reduced."""

    splitting: str
    engine: str
    npt_azim: int | None

    def integrator(self, geometry: ba.Geometry, npt: int = 24, **more: Any) -> ba.Integrator:
        """An integrator over a whole turn of azimuth."""
        options: dict[str, Any] = {"azimuth_range": (-180.0, 180.0), **more}
        return ba.Integrator(
            geometry,
            npt,
            self.npt_azim,
            splitting=self.splitting,
            engine=self.engine,
            **options,
        )

    @property
    def rounding(self) -> float:
        """Relative precision of the sums of pixels."""
        return 1e-12 if self.splitting == "no" else ROUNDING[self.engine]

    def assert_same(
        self, one: NDArray[np.float64], other: NDArray[np.float64], rtol: float | None = None
    ) -> None:
        """Equal but for rounding, relative to the largest value."""
        rtol = rtol or self.rounding
        np.testing.assert_allclose(one, other, rtol=0, atol=10 * rtol * np.abs(other).max())


def beam_is_off_corners(geometry: ba.Geometry) -> bool:
    """Whether no pixel has a corner in the beam: there the azimuth of the corner is arbitrary."""
    distances = geometry.at_corners(lambda place: np.hypot(place[0], place[1]))
    return bool(distances.min() > 1e-9 * PIXEL[0])


geometries = st.builds(
    lambda **values: ba.Geometry(detector=ba.Detector(*PIXEL, SHAPE), wavelength=1e-10, **values),
    dist=st.floats(0.03, 0.5),
    poni1=st.floats(-0.03, 0.05),
    poni2=st.floats(-0.03, 0.05),
    rot1=st.floats(-1.5, 1.5),
    rot2=st.floats(-1.5, 1.5),
    rot3=st.floats(-3, 3),
).filter(beam_is_off_corners)
ways = st.builds(
    Way,
    splitting=st.sampled_from(["no", "bbox", "pseudo", "full"]),
    engine=st.sampled_from(["scipy", "opencl", "histogram"]),
    npt_azim=st.sampled_from([None, 1, 7]),
)
split_ways = ways.filter(lambda way: way.splitting != "no")
frames = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).poisson(5.0, SHAPE).astype(np.uint16)
)
masks = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random(SHAPE) < 0.2)


@EXAMPLES
@given(geometries, ways, frames, masks)
def test_flux_is_conserved(
    geometry: ba.Geometry, way: Way, frame: NDArray[np.uint16], mask: NDArray[np.bool_]
) -> None:
    result = way.integrator(geometry, mask=mask).integrate(frame)
    assert result.count.sum() == pytest.approx((~mask).sum(), rel=1e-12)
    assert result.sum_signal.sum() == pytest.approx(frame[~mask].sum(), rel=way.rounding)
    assert (result.count >= 0).all()


@EXAMPLES
@given(geometries, ways, frames)
def test_what_is_inside_a_range_is_counted(
    geometry: ba.Geometry, way: Way, frame: NDArray[np.uint16]
) -> None:
    q = geometry.q()
    low, high = np.percentile(q, (20.0, 80.0))
    result = way.integrator(geometry, unit="q_nm^-1", radial_range=(low, high)).integrate(frame)
    if way.splitting == "no":
        inside = (q >= low) & (q <= high)
        assert result.count.sum() == pytest.approx(inside.sum(), rel=1e-12)
        assert result.sum_signal.sum() == pytest.approx(frame[inside].sum(), rel=1e-12)
    else:
        beyond = way.integrator(geometry, unit="q_nm^-1", radial_range=(high, q.max() * 2 + 1))
        below = way.integrator(geometry, unit="q_nm^-1", radial_range=(0.0, low))
        counts = [one.integrate(frame).count.sum() for one in (below, beyond)]
        assert result.count.sum() + sum(counts) == pytest.approx(frame.size, rel=1e-5)


@EXAMPLES
@given(geometries, ways, frames, frames, st.floats(0.1, 10.0))
def test_reduction_is_linear(
    geometry: ba.Geometry,
    way: Way,
    one: NDArray[np.uint16],
    other: NDArray[np.uint16],
    factor: float,
) -> None:
    integrator = way.integrator(geometry)
    sums = [integrator.integrate(frame).sum_signal for frame in (one, other)]
    both = integrator.integrate(one + factor * other)
    way.assert_same(both.sum_signal, sums[0] + factor * sums[1])


@EXAMPLES
@given(geometries, ways, frames, frames)
def test_merged_frames_are_one_frame_of_all_counts(
    geometry: ba.Geometry, way: Way, one: NDArray[np.uint16], other: NDArray[np.uint16]
) -> None:
    integrator = way.integrator(geometry, error_model="poisson")
    together = integrator.integrate(one + other, 2.0)
    stack = integrator.integrate(np.stack([one, other]))
    singles = [integrator.integrate(one), integrator.integrate(other)]
    for merged in (merge(singles), merge_stack(stack)):
        assert merged.sum_variance is not None
        assert together.sum_variance is not None
        way.assert_same(merged.sum_signal, together.sum_signal)
        way.assert_same(merged.sum_variance, together.sum_variance)
        way.assert_same(merged.sum_normalization, together.sum_normalization)
        way.assert_same(merged.intensity, together.intensity)


@EXAMPLES
@given(geometries, split_ways, frames, st.sampled_from([0, 1]))
def test_frame_and_geometry_may_be_flipped_together(
    geometry: ba.Geometry, way: Way, frame: NDArray[np.uint16], axis: int
) -> None:
    name, rotation = ("poni1", "rot2") if axis == 0 else ("poni2", "rot1")
    flipped = replace(
        geometry,
        **{
            name: SHAPE[axis] * PIXEL[axis] - getattr(geometry, name),
            rotation: -getattr(geometry, rotation),
            "rot3": -geometry.rot3,
        },
    )
    # Flipped along the rows chi becomes -chi, along the columns 180 - chi.
    around = (-180.0, 180.0) if axis == 0 else (0.0, 360.0)
    result = way.integrator(geometry).integrate(frame)
    mirrored = way.integrator(flipped, azimuth_range=around).integrate(np.flip(frame, axis))
    for attribute in ADDITIVE:
        values = getattr(mirrored, attribute)
        back = values[::-1] if way.npt_azim else values
        way.assert_same(back, getattr(result, attribute), rtol=1e-6)


@EXAMPLES
@given(geometries, split_ways, frames, st.floats(-3.0, 3.0))
def test_a_turn_about_the_beam_turns_the_azimuth_only(
    geometry: ba.Geometry, way: Way, frame: NDArray[np.uint16], angle: float
) -> None:
    turned = replace(geometry, rot3=geometry.rot3 + angle)
    begin = -180.0 - np.rad2deg(angle)
    result = way.integrator(geometry).integrate(frame)
    other = way.integrator(turned, azimuth_range=(begin, begin + 360.0)).integrate(frame)
    for attribute in ADDITIVE:
        way.assert_same(getattr(other, attribute), getattr(result, attribute), rtol=1e-6)


@EXAMPLES
@given(geometries, ways, frames)
def test_a_cake_projected_is_a_pattern(
    geometry: ba.Geometry, way: Way, frame: NDArray[np.uint16]
) -> None:
    cake = replace(way, npt_azim=9).integrator(geometry).integrate(frame)
    pattern = replace(way, npt_azim=None).integrator(geometry).integrate(frame)
    projected = project(cake, "radial")
    for attribute in ADDITIVE:
        way.assert_same(getattr(projected, attribute), getattr(pattern, attribute), rtol=1e-6)
    assert project(cake, "azimuthal").count.sum() == pytest.approx(frame.size, rel=1e-12)


@EXAMPLES
@given(geometries, split_ways, frames, st.sampled_from([1, 2, 3, 8]))
def test_bins_taken_together_are_larger_bins(
    geometry: ba.Geometry, way: Way, frame: NDArray[np.uint16], factor: int
) -> None:
    fine = way.integrator(geometry, 24).integrate(frame)
    coarse = way.integrator(geometry, 24 // factor).integrate(frame)
    rebinned = rebin(fine, factor)
    np.testing.assert_allclose(rebinned.radial, coarse.radial, rtol=1e-12)
    for attribute in ADDITIVE:
        way.assert_same(getattr(rebinned, attribute), getattr(coarse, attribute))


@EXAMPLES
@given(geometries, ways, frames)
def test_engines_agree(geometry: ba.Geometry, way: Way, frame: NDArray[np.uint16]) -> None:
    scipy = replace(way, engine="scipy")
    result = way.integrator(geometry, error_model="poisson").integrate(frame)
    other = scipy.integrator(geometry, error_model="poisson").integrate(frame)
    assert result.sum_variance is not None
    assert other.sum_variance is not None
    for attribute in ADDITIVE:
        scipy.assert_same(getattr(result, attribute), getattr(other, attribute))
    scipy.assert_same(result.sum_variance, other.sum_variance)
