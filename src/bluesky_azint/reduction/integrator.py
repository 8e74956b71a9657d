"""The Integrator: from geometry, recipe and calibration frames to patterns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.engines import (
    ENGINES,
    RobustEngine,
    RobustSums,
    create_builder,
    create_robust_engine,
)
from bluesky_azint.errors import EngineError, FrameError, GeometryError, RecipeError
from bluesky_azint.geometry import Geometry
from bluesky_azint.packed import PackedFrames
from bluesky_azint.reduction.arithmetic import project
from bluesky_azint.reduction.frame import (
    BinSums,
    Frame,
    FrameReducer,
    TableReducer,
    checked_variance,
    robust_bin_sums,
)
from bluesky_azint.reduction.histogram import HistogramReducer
from bluesky_azint.reduction.plan import PixelMaps, Plan, make_plan
from bluesky_azint.reduction.projection import back_project
from bluesky_azint.reduction.recipe import Range, Recipe
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.reduction.stack import as_flat, as_stack, in_batches

FloatArray = NDArray[np.float64]

CHOICES = (*ENGINES, "histogram")


class Integrator:
    """Reduces frames of one detector to patterns.

    A table of what goes where is built once, with the first frame; every frame then costs one pass
    through memory.

    Parameters
    ----------
    geometry
        Where the detector stands, and the wavelength.
    npt, unit, radial_range, azimuth_range, splitting
        The bins and how pixels are shared among them, see `Recipe`.
    npt_azim
        Number of azimuthal bins, for a pattern in two dimensions; None for one.
    mask
        Of detector shape, True (non-zero) = masked; added to the detector's own mask.
    dark
        Dark signal of each pixel, subtracted from every frame.
    flat
        Response of each pixel, divided by; a pixel without response (0, NaN) is masked.
    polarization_factor, correct_solid_angle, error_model, dummy, delta_dummy
        See `Recipe`.
    engine
        ``"scipy"``, ``"opencl"``, ``"histogram"``, which builds no table and takes no memory, or
        ``"auto"``: the fastest that works here. The result says which.
    dark_variance
        Variance of ``dark``, for the error bars; None takes the dark for one exposure with
        Poisson noise, of which the variance is the dark itself.
    azimuthal_unit, polarization_offset, pixel_areas, sensor_transmission
        See `Recipe`.

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
        azimuthal_unit: str = "chi_deg",
        polarization_offset: float = 0.0,
        pixel_areas: bool = False,
        sensor_transmission: float | None = None,
    ) -> None:
        self.recipe = Recipe(
            npt=npt,
            npt_azim=npt_azim,
            unit=unit,
            radial_range=radial_range,
            azimuth_range=azimuth_range,
            azimuthal_unit=azimuthal_unit,
            splitting=splitting,
            polarization_factor=polarization_factor,
            polarization_offset=polarization_offset,
            correct_solid_angle=correct_solid_angle,
            pixel_areas=pixel_areas,
            sensor_transmission=sensor_transmission,
            error_model=error_model,
            dummy=dummy,
            delta_dummy=delta_dummy,
        )
        if engine not in CHOICES:
            raise EngineError(
                f"There is no engine {engine!r}; choose one of {', '.join(map(repr, CHOICES))}."
            )
        self._engine = engine
        self._maps = PixelMaps(mask=mask, dark=dark, dark_variance=dark_variance, flat=flat)
        self._plan: Plan | None = None
        self._table: TableReducer | None = None
        self._sorted: RobustEngine | None = None
        self._around: dict[Recipe, Integrator] = {}
        self.geometry = geometry
        if geometry.detector.shape is not None:
            plan = self._prepare(geometry.detector.shape)
            if engine not in ("auto", "histogram"):
                self._table_reducer(plan)

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
        return self._known_plan.grid.radial.centres

    @property
    def azimuthal(self) -> FloatArray | None:
        """Centres of the azimuthal bins, ``(npt_azim,)``; None for patterns in one dimension.

        Raises
        ------
        GeometryError
            If the detector has no shape and no frame has shown it yet.
        """
        grid = self._known_plan.grid
        return grid.azimuthal.centres if grid.two_dimensional else None

    @property
    def _known_plan(self) -> Plan:
        if self._plan is None:
            raise GeometryError(
                f"The detector {self.geometry.detector.name!r} has no shape, so that the bins are "
                "not known before the first frame; integrate one, or give the detector a shape."
            )
        return self._plan

    def integrate(
        self,
        frames: ArrayLike,
        normalization_factor: float | ArrayLike = 1.0,
        *,
        variance: ArrayLike | None = None,
        alone: bool = False,
    ) -> IntegrationResult:
        """Reduce a frame, or a stack of them.

        Parameters
        ----------
        frames
            ``(rows, columns)`` or ``(n, rows, columns)``, of any integer or floating type; or
            `PackedFrames`, which some engines sum as they are.
        normalization_factor
            What the intensity is divided by (monitor, exposure time ...): one number, or one for
            each frame of the stack.
        variance
            Variance of each pixel, of the shape of the frames or of one; for the error model of
            that name.
        alone
            Whether to sum each frame by itself, so that its pattern is the same to the last bit
            whatever frames it comes with. Together they take about half the time, and round
            differently, by 1e-12.

        Raises
        ------
        FrameError
            If a frame has another shape than the detector, or is not made of numbers.
        """
        stack, plan = self._checked(frames)
        reduce = self._frame_reducer(plan)
        batch = 1 if alone else reduce.batch
        rows = [
            sums
            for measured in in_batches(stack, normalization_factor, variance, batch)
            for sums in reduce(measured)
        ]
        single = np.ndim(frames) == 2
        return self._result(rows, plan, self.recipe.error_model, reduce.engine, single=single)

    def sigma_clip(
        self,
        frames: ArrayLike,
        normalization_factor: float | ArrayLike = 1.0,
        *,
        threshold: float = 5.0,
        max_iterations: int = 5,
        variance: ArrayLike | None = None,
    ) -> IntegrationResult:
        """Reduce frames without the pixels that are too far from the mean of their bin.

        Without an error model the spread of the pixels in a bin, ``"azimuthal"``, tells what is
        far; see `bluesky_azint.engines.robust`.

        Parameters
        ----------
        frames, normalization_factor, variance
            See `integrate`.
        threshold
            In standard deviations; more in bins of many pixels.
        max_iterations
            How often outliers are sought, at the most.

        Raises
        ------
        FrameError
            If a frame has another shape than the detector, or is not made of numbers.
        RecipeError
            If the threshold or the number of iterations is not positive.
        """
        if not threshold > 0 or max_iterations < 1:
            raise RecipeError(
                f"threshold is {threshold} and max_iterations {max_iterations}; both must be "
                "positive."
            )
        model = self.recipe.error_model or "azimuthal"

        def clip(engine: RobustEngine, frame: Frame, known: Frame | None) -> RobustSums:
            return engine.sigma_clip(frame, known, model, threshold, max_iterations)

        return self._robust(frames, normalization_factor, variance, model, clip)

    def medfilt(
        self,
        frames: ArrayLike,
        normalization_factor: float | ArrayLike = 1.0,
        *,
        percentile: float | Sequence[float] = 50.0,
        variance: ArrayLike | None = None,
    ) -> IntegrationResult:
        """Reduce frames to the median of each bin, or to the mean between two quantiles.

        Parameters
        ----------
        frames, normalization_factor, variance
            See `integrate`.
        percentile
            From 0 to 100: one for a quantile, two for the mean of what is between them.

        Raises
        ------
        FrameError
            If a frame has another shape than the detector, or is not made of numbers.
        RecipeError
            If the percentiles are out of range or order.
        """
        try:
            low, high = np.broadcast_to(np.asarray(percentile, dtype=np.float64), 2).tolist()
        except (TypeError, ValueError):
            low = high = np.nan
        if not 0 <= low <= high <= 100:
            raise RecipeError(
                f"percentile is {percentile}; it must be one number from 0 to 100, or two in order."
            )
        model = self.recipe.error_model

        def mean(engine: RobustEngine, frame: Frame, known: Frame | None) -> RobustSums:
            return engine.quantile_mean(frame, known, model, low / 100, high / 100)

        return self._robust(frames, normalization_factor, variance, model, mean)

    def integrate_radial(
        self,
        frames: ArrayLike,
        npt_azim: int = 360,
        normalization_factor: float | ArrayLike = 1.0,
        *,
        radial_range: Range | None = None,
        variance: ArrayLike | None = None,
    ) -> IntegrationResult:
        r"""Reduce frames to :math:`I(\chi)` over a radial range.

        Parameters
        ----------
        frames, normalization_factor, variance
            See `integrate`.
        npt_azim
            Number of azimuthal bins.
        radial_range
            What counts, in the unit of the recipe; None takes that of the recipe.

        Returns
        -------
        A result along ``azimuthal``, of shape ``(npt_azim,)``.
        """
        recipe = replace(self.recipe, npt=1, npt_azim=npt_azim)
        if radial_range is not None:
            recipe = replace(recipe, radial_range=radial_range)
        if recipe not in self._around:
            self._around[recipe] = type(self).from_recipe(
                self.geometry, recipe, **vars(self._maps), engine=self._engine
            )
        rings = self._around[recipe].integrate(frames, normalization_factor, variance=variance)
        return project(rings, "azimuthal")

    def back_project(self, intensity: ArrayLike, normalization_factor: float = 1.0) -> FloatArray:
        """The image that a pattern would make, without the dark; of detector shape.

        Parameters
        ----------
        intensity
            Of a pattern of this integrator, ``(npt,)`` or ``(npt_azim, npt)``.
        normalization_factor
            What the intensity had been divided by.

        Raises
        ------
        RecipeError
            If the pattern has another shape.
        """
        plan = self._plan or self._prepare(self.geometry.shape)
        pattern = np.asarray(intensity, dtype=np.float64)
        if pattern.shape != plan.grid.shape:
            raise RecipeError(
                f"The pattern has the shape {pattern.shape}, those of this integrator "
                f"{plan.grid.shape}; they must be equal."
            )
        return back_project(plan, pattern, normalization_factor)

    def separate(
        self, frame: ArrayLike, *, percentile: float | Sequence[float] = 50.0
    ) -> tuple[FloatArray, FloatArray]:
        """Take a frame apart into Bragg peaks and the smooth rest, which add up to it.

        The smooth part is the image of the median pattern, where the frame is not below it.

        Parameters
        ----------
        frame
            One frame, ``(rows, columns)``.
        percentile
            See `medfilt`.

        Returns
        -------
        The Bragg part and the amorphous part, without the dark; both 0 in bad and masked pixels.
        """
        if np.ndim(frame) != 2:
            raise FrameError(
                f"The frame has the shape {np.shape(frame)}; give one frame, (rows, columns)."
            )
        image = np.asarray(frame)
        _, plan = self._checked(image)
        flat = as_flat(image[np.newaxis])[0]
        smooth = self.back_project(self.medfilt(image, percentile=percentile).intensity)
        unusable = plan.mask | plan.bad(flat).reshape(plan.mask.shape)
        net = np.where(unusable, 0.0, plan.pixels.net(flat).reshape(plan.mask.shape))
        amorphous = np.minimum(net, np.where(unusable, 0.0, smooth))
        return net - amorphous, amorphous

    def _robust(
        self,
        frames: ArrayLike,
        normalization_factor: float | ArrayLike,
        variance: ArrayLike | None,
        error_model: str | None,
        method: Callable[[RobustEngine, Frame, Frame | None], RobustSums],
    ) -> IntegrationResult:
        """Reduce frames by a method that looks at the pixels of each bin side by side."""
        stack, plan = self._checked(frames)
        if error_model == "variance":
            checked_variance(variance)
        engine = self._robust_engine(plan)
        rows = [
            robust_bin_sums(method(engine, frame, known), factor, error_model)
            for measured in in_batches(stack, normalization_factor, variance)
            for frame, factor, known in measured.each()
        ]
        single = np.ndim(frames) == 2
        return self._result(rows, plan, error_model, engine.name, single=single)

    def _checked(self, frames: ArrayLike) -> tuple[NDArray[Any] | PackedFrames, Plan]:
        """The frames as a stack, and the plan for frames of that shape."""
        stack = frames if isinstance(frames, PackedFrames) else as_stack(np.asarray(frames))
        plan = self._plan or self._prepare(stack.shape[1:])
        if stack.shape[1:] != self.geometry.shape:
            raise FrameError(
                f"The frame has the shape {stack.shape[1:]}, the detector "
                f"{self.geometry.detector.name!r} {self.geometry.shape}; they must be equal."
            )
        return stack, plan

    def _prepare(self, shape: tuple[int, ...]) -> Plan:
        """Compute all but the table, for a detector of that shape."""
        detector = replace(self.geometry.detector, shape=(shape[0], shape[1]))
        self.geometry = replace(self.geometry, detector=detector)
        builder = create_builder(self._table_engine)
        self._plan = make_plan(self.geometry, self.recipe, self._maps, builder)
        return self._plan

    def _frame_reducer(self, plan: Plan) -> FrameReducer:
        """What reduces frames."""
        if self._engine == "histogram":
            return HistogramReducer(plan, self.recipe.error_model)
        return self._table_reducer(plan)

    def _table_reducer(self, plan: Plan) -> TableReducer:
        """The table, which is built the first time."""
        if self._table is None:
            self._table = TableReducer(plan, self._table_engine, self.recipe.error_model)
        return self._table

    def _robust_engine(self, plan: Plan) -> RobustEngine:
        """What looks at the pixels of each bin side by side, which is built the first time."""
        if self._sorted is None:
            self._sorted = create_robust_engine(
                self._table_engine, plan.lookup, plan.bad, plan.pixels
            )
        return self._sorted

    @property
    def _table_engine(self) -> str:
        return "scipy" if self._engine == "histogram" else self._engine

    def _result(
        self,
        rows: Sequence[BinSums],
        plan: Plan,
        error_model: str | None,
        engine: str,
        *,
        single: bool,
    ) -> IntegrationResult:
        grid = plan.grid

        def column(name: str) -> FloatArray:
            values = [getattr(row, name) for row in rows]
            return np.reshape(values, grid.shape if single else (-1, *grid.shape))

        return IntegrationResult(
            radial=grid.radial.centres,
            azimuthal=self.azimuthal,
            sum_signal=column("signal"),
            sum_variance=None if error_model is None else column("variance"),
            sum_normalization=column("normalization"),
            sum_normalization2=column("normalization2"),
            count=column("count"),
            sum_count2=column("count2"),
            error_model=error_model,
            unit=self.recipe.unit,
            azimuthal_unit=self.recipe.azimuthal_unit if grid.two_dimensional else None,
            engine=engine,
        )
