"""Build: the look-up, the weights of the pixels and the ends of axes, computed on the device.

For regular detectors, and radial coordinates that need no more than algebra and an arctangent. All
else, and the odd pixels (see build.cl), is left to NumPy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyopencl as cl
from numpy.typing import NDArray

from bluesky_azint import spaces
from bluesky_azint.binning import Axis
from bluesky_azint.corrections import Corrections
from bluesky_azint.engines.opencl import device as on
from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import Grid, Range, along_axes_of, split_some
from bluesky_azint.lookup.build import PLAIN, layout_for
from bluesky_azint.lookup.builder import Builder
from bluesky_azint.lookup.layout import Layout, Rows, pack
from bluesky_azint.lookup.table import Lookup
from bluesky_azint.splitting import Shares
from bluesky_azint.units import Unit

Mask = NDArray[np.bool_]

# Of the equations that the device knows, with the same operations as in spaces.py.
VALUES: dict[Callable[..., Any], str] = {
    spaces.radius: "radius(p)",
    spaces.two_theta: "arctan2(radius(p), p.z)",
    spaces.chi: "arctan2(p.y, p.x)",
    spaces.q_nm: "q_nm(p, k)",
    spaces.d_spacing: f"({float(2e-9 * np.pi).hex()} / q_nm(p, k))",
    spaces.d_star_squared: f"square(q_nm(p, k) / {float(2.0 * np.pi).hex()})",
}

# Angles are rounded as here, or as by NumPy: for both, the outermost pixels shall be on the axis.
ANGLES = (spaces.two_theta, spaces.chi)
ROUNDING = 4.0 * float(np.finfo(np.float64).eps)

# The rows of a block, which a work-item takes alone, or many together: GPUs have many groups at work.
ROWS_OF_ONE, ROWS_OF_MANY = 64, 8
GROUP_OF_GPU = 128

# So many odd pixels are told at once: that takes about 1 kB each.
ODD_AT_ONCE = 2**15


class DeviceBuilder(Builder):
    """Computes on a device what it can, and the rest by NumPy.

    Parameters
    ----------
    device
        None takes `default_device`.
    group
        Work-items that share a block of rows; None takes one on a CPU, and many on a GPU.
    """

    def __init__(self, device: cl.Device | None = None, group: int | None = None) -> None:
        self._queue = on.queue_of(on.default_device() if device is None else device)
        alone = on.is_cpu(self._queue.device)
        self._group = (1 if alone else GROUP_OF_GPU) if group is None else group
        # Kernels belong to one call at a time.
        self._lock = threading.Lock()
        self._compiled: dict[tuple[object, ...], dict[str, cl.Kernel]] = {}

    def extent(self, geometry: Geometry, unit: Unit, splitting: str) -> Range:
        """Smallest and largest finite value that the pixels cover."""
        value = _value(unit)
        if value is None or not _able(geometry, unit):
            return super().extent(geometry, unit, splitting)
        with self._lock:
            run = self._run(geometry, value, splitting, period=unit.period)
            ends = np.empty((run.groups, 2, geometry.shape[1]))
            run("extent", run.constant, np.float64(unit.scale), run.scratch(), out=[ends])
        lower, upper = float(ends[:, 0].min()), float(ends[:, 1].max())
        if unit.equation in ANGLES:
            lower, upper = lower - ROUNDING * abs(lower), upper + ROUNDING * abs(upper)
        if splitting == "no" and unit.period is not None:
            # A centre may lie where the angle is cut, but never beyond.
            half = 0.5 * unit.period
            lower, upper = max(lower, -half), min(upper, half)
        return lower, upper

    def weights(self, geometry: Geometry, corrections: Corrections) -> NDArray[np.float32]:
        """Product of the corrections of every pixel, of detector shape."""
        if not geometry.regular or corrections.sensor_transmission is not None:
            return super().weights(geometry, corrections)
        factor, angle = corrections.polarization_factor, 2.0 * corrections.polarization_offset
        weights = np.empty(geometry.shape, np.float32)
        with self._lock:
            self._run(geometry)(
                "weigh",
                *(np.float64(geometry.dist), np.float64(geometry.dist**2)),
                *(np.int32(corrections.solid_angle), np.int32(factor is not None)),
                *(np.float64(factor or 0.0), np.float64(np.cos(angle)), np.float64(np.sin(angle))),
                out=[weights],
            )
        return weights

    def lookup(self, geometry: Geometry, grid: Grid, mask: Mask | None) -> Lookup:
        """Which pixel goes into which bin."""
        value = _value(grid.radial_unit)
        if value is None or not _able(geometry, grid.radial_unit) or not _known(grid):
            return super().lookup(geometry, grid, mask)
        layout = layout_for(geometry, grid)
        if grid.splitting != "no" and layout == Layout():
            return super().lookup(geometry, grid, mask)
        n_pixels = geometry.shape[0] * geometry.shape[1]
        table, odd = Rows.empty(n_pixels, grid.n_bins, layout), np.empty(n_pixels, np.uint8)
        masked = np.zeros(n_pixels, np.uint8) if mask is None else mask.ravel().view(np.uint8)
        axes = np.array([_numbers(grid.radial, grid.radial_unit), _numbers(grid.azimuthal, None)])
        with self._lock:
            run = self._run(
                geometry, value, grid.splitting, around=not grid.azimuthal.undivided,
                KEY=on.c_type(table.first.dtype),
                COLUMNS=0 if layout.boxes else len(layout.offsets),
                CELLS=int(grid.azimuthal.npt > 1),
            )  # fmt: skip
            run("table", run.constant, run.constants(axes),
                np.float64(grid.azimuthal_unit.scale), run.constants(masked),
                np.int32(grid.radial.npt), np.uint32(grid.n_bins), run.scratch(),
                out=[table.first, table.shares, table.spans, odd])  # fmt: skip
        pixels = np.flatnonzero(odd.view(np.bool_))
        rest = [
            _tell(geometry, grid, layout, table, pixels[start : start + ODD_AT_ONCE])
            for start in range(0, pixels.size, ODD_AT_ONCE)
        ]
        return table.lookup(layout, rest, geometry.shape[1])

    def _run(
        self,
        geometry: Geometry,
        value: str = "0",
        splitting: str = "no",
        *,
        around: bool = False,
        period: float | None = None,
        **macros: int | str,
    ) -> _Run:
        """Kernels for a detector."""
        if period is not None:
            macros["PERIOD"] = period.hex()
        macros |= {
            "GROUP": self._group,
            "ROWS": ROWS_OF_ONE if self._group == 1 else ROWS_OF_MANY,
            "AROUND": int(around),
            "BOXES": int(splitting in ("bbox", "pseudo")),
            "FULL": int(splitting == "full"),
        }
        key = value, *macros.items()
        if key not in self._compiled:
            prelude = f"#define VALUE(p, k) ({value})"
            self._compiled[key] = on.kernels(self._queue.context, "build.cl", prelude, **macros)
        return _Run(self._queue, self._group, self._compiled[key], geometry)


class _Run:
    """Kernels for a detector, and what all of them need."""

    def __init__(
        self,
        queue: cl.CommandQueue,
        group: int,
        kernels: dict[str, cl.Kernel],
        geometry: Geometry,
    ) -> None:
        self._queue, self._group, self._kernels = queue, group, kernels
        self._shape = geometry.shape
        self.groups = -(-geometry.shape[0] // (ROWS_OF_ONE if group == 1 else ROWS_OF_MANY))
        self._places = [*self._sums_of(geometry, 0.5), *self._sums_of(geometry, 0.0)]
        self.constant = np.float64(4e-9 * np.pi / (geometry.wavelength or np.nan))

    def _sums_of(self, geometry: Geometry, offset: float) -> list[cl.Buffer]:
        rows, columns = geometry.rows_and_columns(offset)
        return [self.constants(np.stack([*map(np.ravel, place)])) for place in (rows, columns)]

    def constants(self, array: np.ndarray[Any, Any]) -> cl.Buffer:
        """What kernels read."""
        return on.read_only(self._queue, array)

    def scratch(self) -> cl.Buffer:
        """Room for four rows of corners in each group."""
        size = self.groups * 4 * (self._shape[1] + 1) * 8
        return cl.Buffer(self._queue.context, cl.mem_flags.READ_WRITE, size)

    def __call__(
        self,
        name: str,
        *arguments: cl.Buffer | np.number[Any],
        out: Sequence[np.ndarray[Any, Any] | None],
    ) -> None:
        """Run a kernel, which fills the arrays."""
        shape = np.int32(self._shape[0]), np.int32(self._shape[1])
        with on.filled(self._queue, out) as buffers:
            self._kernels[name](
                self._queue, (self.groups * self._group,), (self._group,),
                *self._places, *shape, *arguments, *buffers,
            )  # fmt: skip


def _value(unit: Unit) -> str | None:
    """The unit in OpenCL C, or None."""
    try:
        equation = VALUES.get(unit.equation)
    except TypeError:  # equations may be of any kind
        return None
    return None if equation is None else f"{equation} * {float(unit.scale).hex()}"


def _able(geometry: Geometry, unit: Unit) -> bool:
    """Whether the device knows the detector; what lacks a wavelength is NumPy's to refuse."""
    return geometry.regular and not (unit.needs_wavelength and geometry.wavelength is None)


def _known(grid: Grid) -> bool:
    """Whether the device knows how to share pixels so."""
    if grid.radial.period is not None:
        return False
    if grid.splitting == "full":
        return grid.azimuthal.undivided
    return grid.splitting in PLAIN and (
        grid.azimuthal.undivided or grid.azimuthal_unit.equation is spaces.chi
    )


def _numbers(axis: Axis, unit: Unit | None) -> list[float]:
    """An axis as build.cl has it; a unit, where its values may have an origin."""
    start = 0.0
    if unit is not None and unit.positive:
        start = max(float(axis.position(np.zeros(1))[0]), 0.0)
    return [axis.lower, axis.step, start, axis.end, axis.turn or 0.0]


def _tell(
    geometry: Geometry, grid: Grid, layout: Layout, table: Rows, pixels: NDArray[np.int64]
) -> Shares:
    """Tell odd pixels; what does not fit into the table is returned."""
    every = np.arange(pixels.size)
    shares = split_some(grid, *along_axes_of(geometry, grid, pixels), every)
    packed = pack(shares, pixels.size, grid.n_bins, layout)
    table.put(pixels, packed)
    return packed.rest._replace(pixel=pixels[packed.rest.pixel])
