"""The Integrator: from geometry, recipe and calibration frames to patterns."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.engines import ENGINES, BadValues, create_engine
from bluesky_azint.errors import EngineError, FrameError, GeometryError, RecipeError
from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.frame import FrameReducer
from bluesky_azint.reduction.plan import PixelMaps, make_plan
from bluesky_azint.reduction.recipe import Range, Recipe
from bluesky_azint.reduction.result import IntegrationResult

FloatArray = NDArray[np.float64]


class Integrator:
    """Reduces frames of one detector to patterns.

    The tables are built once, here (or by the first frame, where the geometry does not tell the
    shape of the detector); every frame then costs one pass through memory.

    Parameters
    ----------
    geometry
        Where the detector stands, and the wavelength.
    npt, unit, radial_range, azimuth_range, splitting
        The bins and how pixels are shared among them, see `Recipe`.
    npt_azim
        Number of azimuthal bins; None, the only value so far, for a 1D pattern.
    mask
        Of detector shape, True (non-zero) = masked; added to the detector's own mask.
    dark
        Dark signal of each pixel, subtracted from every frame.
    flat
        Response of each pixel, divided by; a pixel without response (0, NaN) is masked.
    polarization_factor, correct_solid_angle, error_model, dummy, delta_dummy
        See `Recipe`.
    engine
        ``"scipy"``, ``"opencl"``, or ``"auto"`` for the fastest that works here.
    dark_variance
        Variance of ``dark``, for the error bars; None takes the dark for one exposure with
        Poisson noise, of which the variance is the dark itself.

    Raises
    ------
    RecipeError
        If something is asked for that cannot be computed.
    GeometryError
        If the geometry lacks what the unit needs.
    FrameError
        If mask, dark or flat have another shape than the detector.
    EngineError
        If the engine is not available.
    """

    def __init__(
        self,
        geometry: Geometry,
        npt: int = 1000,
        npt_azim: int | None = None,
        unit: str = "q_A^-1",
        radial_range: Range | None = None,
        azimuth_range: Range | None = None,
        splitting: str = "bbox",
        mask: ArrayLike | None = None,
        dark: ArrayLike | None = None,
        flat: ArrayLike | None = None,
        polarization_factor: float | None = None,
        correct_solid_angle: bool = True,
        error_model: str | None = None,
        dummy: float | None = None,
        delta_dummy: float | None = None,
        engine: str = "auto",
        *,
        dark_variance: ArrayLike | None = None,
    ) -> None:
        if npt_azim is not None:
            raise RecipeError(
                f"npt_azim is {npt_azim}, but 2D patterns are not available yet; leave it None."
            )
        self.recipe = Recipe(
            npt=npt,
            unit=unit,
            radial_range=radial_range,
            azimuth_range=azimuth_range,
            splitting=splitting,
            polarization_factor=polarization_factor,
            correct_solid_angle=correct_solid_angle,
            error_model=error_model,
            dummy=dummy,
            delta_dummy=delta_dummy,
        )
        if engine not in ENGINES:
            raise EngineError(f"There is no engine {engine!r}; choose one of {', '.join(ENGINES)}.")
        self._engine = engine
        self._maps = PixelMaps(mask=mask, dark=dark, dark_variance=dark_variance, flat=flat)
        self.geometry = geometry
        self._reduce: FrameReducer | None = None
        shape = geometry.detector.shape or self._maps.shape
        if shape is not None:
            self._prepare(shape)

    @classmethod
    def from_recipe(
        cls,
        geometry: Geometry,
        recipe: Recipe,
        *,
        mask: ArrayLike | None = None,
        dark: ArrayLike | None = None,
        flat: ArrayLike | None = None,
        dark_variance: ArrayLike | None = None,
        engine: str = "auto",
    ) -> Self:
        """The integrator that follows a recipe."""
        return cls(
            geometry,
            **asdict(recipe),
            mask=mask,
            dark=dark,
            flat=flat,
            dark_variance=dark_variance,
            engine=engine,
        )

    @property
    def radial(self) -> FloatArray:
        """Centres of the radial bins, ``(npt,)``.

        Raises
        ------
        GeometryError
            If the detector has no shape and no frame has shown it yet.
        """
        if self._reduce is None:
            raise GeometryError(
                f"The detector {self.geometry.detector.name!r} has no shape, so that the bins are "
                "not known before the first frame; integrate one, or give the detector a shape."
            )
        return self._reduce.plan.axis.centres

    def integrate(
        self, frames: ArrayLike, normalization_factor: float | ArrayLike = 1.0
    ) -> IntegrationResult:
        """Reduce a frame, or a stack of them.

        Parameters
        ----------
        frames
            ``(rows, columns)`` or ``(n, rows, columns)``, of any integer or floating type.
        normalization_factor
            What the intensity is divided by (monitor, exposure time ...): one number, or one for
            each frame of the stack.

        Raises
        ------
        FrameError
            If a frame has another shape than the detector, or is not made of numbers.
        """
        stack = _as_stack(np.asarray(frames))
        reduce = self._reduce or self._prepare(stack.shape[1:])
        if stack.shape[1:] != self.geometry.shape:
            raise FrameError(
                f"The frame has the shape {stack.shape[1:]}, the detector "
                f"{self.geometry.detector.name!r} {self.geometry.shape}; they must be equal."
            )
        factors = _as_factors(normalization_factor, len(stack))
        rows = [
            reduce(_as_flat(frame), factor) for frame, factor in zip(stack, factors, strict=True)
        ]

        def column(name: str) -> FloatArray:
            values = [getattr(row, name) for row in rows]
            return values[0] if np.ndim(frames) == 2 else np.reshape(values, (-1, self.recipe.npt))

        return IntegrationResult(
            radial=reduce.plan.axis.centres,
            sum_signal=column("signal"),
            sum_variance=None if self.recipe.error_model is None else column("variance"),
            sum_normalization=column("normalization"),
            sum_normalization2=column("normalization2"),
            count=column("count"),
            unit=self.recipe.unit,
            engine=reduce.engine.name,
        )

    def _prepare(self, shape: tuple[int, ...]) -> FrameReducer:
        """Build the tables for a detector of that shape."""
        if len(shape) != 2:
            raise FrameError(
                f"The mask, dark or flat has the shape {shape}; it must be (rows, columns)."
            )
        detector = replace(self.geometry.detector, shape=(shape[0], shape[1]))
        self.geometry = replace(self.geometry, detector=detector)
        recipe = self.recipe
        bad = (
            BadValues(detector.dummy, detector.delta_dummy)
            if recipe.dummy is None
            else BadValues(recipe.dummy, recipe.delta_dummy)
        )
        plan = make_plan(self.geometry, recipe, self._maps)
        engine = create_engine(
            self._engine, plan.lookup, bad, square=recipe.error_model is not None
        )
        self._reduce = FrameReducer(plan, engine)
        return self._reduce


def _as_stack(frames: NDArray[Any]) -> NDArray[Any]:
    """Frames as an array of three dimensions."""
    if frames.ndim not in (2, 3):
        raise FrameError(
            f"The frames have the shape {frames.shape}; give (rows, columns) for one frame or "
            "(n, rows, columns) for a stack."
        )
    if frames.dtype.kind not in "buif":
        raise FrameError(
            f"The frames are of type {frames.dtype}; they must be integers or real numbers."
        )
    return frames if frames.ndim == 3 else frames[np.newaxis]


def _as_flat(frame: NDArray[Any]) -> NDArray[Any]:
    """A frame as a flat contiguous array of a type that engines know."""
    dtype = frame.dtype.newbyteorder("=")
    if dtype.kind == "b":
        dtype = np.dtype(np.uint8)
    elif dtype.kind == "f" and dtype.itemsize not in (4, 8):
        dtype = np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    return np.ascontiguousarray(frame, dtype=dtype).reshape(-1)


def _as_factors(normalization_factor: float | ArrayLike, number: int) -> FloatArray:
    """One factor for each frame."""
    factors = np.asarray(normalization_factor, dtype=np.float64)
    if factors.ndim > 1 or (factors.ndim == 1 and factors.size != number):
        raise FrameError(
            f"normalization_factor has the shape {factors.shape} for {number} frames; give one "
            "number, or one for each frame."
        )
    factors = np.broadcast_to(factors, (number,))
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise FrameError(
            f"normalization_factor is {normalization_factor!r}; it must be finite and positive."
        )
    return factors
