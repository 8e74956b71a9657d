r"""What of the residuals a distorted detector would explain.

All terms tell how far pixels lie from where they were thought to lie. A detector of modules is
asked by how much each is shifted ("module 3 down", "module 3 right"; they are counted in raster
order of their first pixels) against their mean. Another one is asked for displacements away from
the beam by :math:`a (r / r_{max})^n \cos m\varphi` or :math:`\sin`: "barrel" (n = 3, m = 0),
"aspect" and "shear" (1, 2; pixels of another shape), "trefoil" (2, 3). These are the lowest that a
distance, a centre or a tilt would not explain as well. The terms are fitted together with the
geometry and with a prior of 1 pixel. They are reported and never applied: one image does not tell
them from a wrong wavelength or a bad calibrant.

Modules that are out of place by a fraction of a pixel are usual. What is smooth beyond their shifts
is not: see `bluesky_azint.calibration.refinement.neighbours`. Nor are shifts that polynomials over
all of the detector explain better than the modules do.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import legvander2d
from numpy.typing import NDArray
from scipy.ndimage import label

from bluesky_azint.calibration.refinement.neighbours import error_in_common
from bluesky_azint.calibration.refinement.observations import Observations
from bluesky_azint.calibration.result import Distortion
from bluesky_azint.calibration.surface import FloatArray, Surface

_DEGREE = 4  # of polynomials
_FEWEST = 12  # sectors that tell of a module
_PRIOR = 1.0  # pixels
_TOLD = 0.5  # pixels: a term known no better than that is not told
_SMALLEST = 1000  # pixels of a module


def distortion(
    surface: Surface,
    mask: NDArray[np.bool_],
    seen: Observations,
    residual: FloatArray,
    jacobian: FloatArray,
    information: FloatArray,
    known: FloatArray,
) -> Distortion:
    """Fit displacements to residuals.

    Parameters
    ----------
    surface
        The detector.
    mask
        True = pixels that do not count; between modules there are none that do.
    seen
        The sectors.
    residual, jacobian
        Of the geometry, in pixels.
    information
        Weights of the sectors, in 1 / pixels squared.
    known
        What is known of the parameters of the geometry beforehand: the matrix that adds to the
        normal equations.
    """

    def fitted(terms: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        return _fitted(terms, residual, jacobian, information, known)

    names, terms = _module_terms(surface, mask, seen, information > 0)
    *_, unexplained = fitted(np.empty((len(seen), 0)))
    if names:
        values, covariance, left = fitted(terms)
        values, covariance = _relative(values, covariance)
        *_, beyond = fitted(_polynomials(surface, seen))
        if information @ left**2 < information @ beyond**2:
            unexplained = left
    else:
        names, terms = _smooth_terms(seen)
        values, covariance, left = fitted(terms)
    smooth_px, smooth_sigmas = error_in_common(seen, unexplained, information, surface.size)
    sigmas = np.sqrt(np.diag(covariance))
    told = [k for k in range(len(names)) if sigmas[k] < _TOLD]
    return Distortion(
        names=tuple(names[k] for k in told),
        values_px=tuple(float(values[k]) for k in told),
        sigmas_px=tuple(float(sigmas[k]) for k in told),
        residual_px=float(np.sqrt(np.average(left**2, weights=information))),
        smooth_px=smooth_px,
        smooth_sigmas=smooth_sigmas,
    )


def _fitted(
    terms: FloatArray,
    residual: FloatArray,
    jacobian: FloatArray,
    information: FloatArray,
    known: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Terms, together with the geometry; their covariance, and the residuals that are left."""
    columns, count = np.concatenate([terms, jacobian], axis=1), terms.shape[1]
    matrix = columns.T @ (information[:, np.newaxis] * columns)
    matrix[:count, :count] += np.eye(count) / _PRIOR**2
    matrix[count:, count:] += known
    size = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    inverse = np.linalg.pinv(matrix / np.outer(size, size), rcond=1e-14, hermitian=True)
    inverse /= np.outer(size, size)
    values = -inverse @ (columns.T @ (information * residual))
    return values[:count], inverse[:count, :count], residual + columns @ values


def _relative(values: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shifts of modules against their mean: the centre of the beam takes that up."""
    count = len(values) // 2
    to_mean = np.kron(np.eye(count) - 1.0 / count, np.eye(2))
    return to_mean @ values, to_mean @ covariance @ to_mean


def _module_terms(
    surface: Surface, mask: NDArray[np.bool_], seen: Observations, used: NDArray[np.bool_]
) -> tuple[list[str], FloatArray]:
    """How far outwards each sector goes with a shift of its module by a pixel."""
    none: tuple[list[str], FloatArray] = [], np.empty((len(seen), 0))
    modules, _ = label(~mask)
    large = np.bincount(modules.ravel()) >= _SMALLEST
    row, column = (
        np.clip(np.rint(index).astype(np.intp), 0, n - 1)
        for index, n in zip((seen.row, seen.column), surface.shape, strict=True)
    )
    of = modules[row, column]
    told = np.flatnonzero(np.bincount(of[used], minlength=len(large)) >= _FEWEST)
    told = told[(told > 0) & large[told]]
    if len(told) < 2:
        return none
    steps = _outwards(seen)[:, :, 0].T * np.sign(surface.pixel_steps)
    names = [f"module {one} {way}" for one in told for way in ("down", "right")]
    terms = [steps[:, axis] * (of == one) for one in told for axis in (0, 1)]
    return names, np.stack(terms, axis=1)


def _polynomials(surface: Surface, seen: Observations) -> FloatArray:
    """How far outwards each sector goes with displacements that are polynomials of the place."""
    rows, columns = surface.shape
    down, right = 2.0 * seen.row / rows - 1.0, 2.0 * seen.column / columns - 1.0
    values = legvander2d(down, right, [_DEGREE, _DEGREE])
    powers = np.add.outer(np.arange(_DEGREE + 1), np.arange(_DEGREE + 1)).ravel()
    values = values[:, (powers > 0) & (powers <= _DEGREE)]
    terms: FloatArray = np.concatenate([values * along for along in _outwards(seen)], axis=1)
    return terms


def _outwards(seen: Observations) -> FloatArray:
    """How far outwards each sector goes with steps of a pixel along both axes, ``(2, n, 1)``."""
    outwards = -seen.jacobian[:, :2] / np.linalg.norm(seen.jacobian[:, :2], axis=1, keepdims=True)
    along: FloatArray = outwards.T[:, :, np.newaxis]
    return along


def _smooth_terms(seen: Observations) -> tuple[list[str], FloatArray]:
    """How far outwards each sector goes with smooth displacements of a pixel at the outermost."""
    y, x = seen.places[0] - seen.cone.centre1, seen.places[1] - seen.cone.centre2
    z = (x + 1j * y) / np.hypot(y, x).max()
    r = np.abs(z)
    aspect, trefoil = z**2 / r, z**3 / r
    names = ["barrel", "aspect", "shear", "trefoil cos", "trefoil sin"]
    terms = [r**3, aspect.real, aspect.imag, trefoil.real, trefoil.imag]
    return names, np.stack(terms, axis=1)
