"""Peers: the same by other libraries, where they are installed."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bluesky_azint.benchmark.cases import Case
from bluesky_azint.benchmark.scene import BAD, POLARIZATION, UNIT, Scene
from bluesky_azint.benchmark.ways import Frames, Patterns, Reduce, Way
from bluesky_azint.geometry import Geometry

if TYPE_CHECKING:
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

PYFAI = "pyFAI csr/cython"  # its best method on a CPU
PYFAI_OPENCL = "pyFAI csr/opencl"
AZINT = "MAX IV azint"

# Sub-pixels along each side, as its authors have them.
_AZINT_SPLITTING = {"no": 1, "bbox": 4, "full": 4}


def installed() -> dict[str, str]:
    """What each peer is: ``"installed"``, or ``"not installed"``."""
    there = {name: find_spec(name) is not None for name in ("pyFAI", "azint")}
    return {name: "installed" if found else "not installed" for name, found in there.items()}


def peers(case: Case) -> list[Way]:
    """The ways of others that are installed, and can do what a case asks for."""
    found = installed()
    ways = []
    if found["pyFAI"] == "installed":
        ways.append(Way(PYFAI, _pyfai("cython"), _one_by_one(_pyfai("cython")), _csr_bytes))
        if case.all_peers:
            ways.append(Way(PYFAI_OPENCL, _pyfai("opencl"), _one_by_one(_pyfai("opencl"))))
    if found["azint"] == "installed" and case.all_peers and case.task == "frames":
        ways.append(Way(AZINT, _azint, _one_by_one(_azint), comparable=False))
    return ways


def _pyfai(implementation: str) -> Callable[[Case, Scene, Geometry], Reduce]:
    """PyFAI as its users call it, without the checks that its fast users switch off."""

    def make(case: Case, scene: Scene, geometry: Geometry) -> Reduce:
        integrate = _pyfai_call(_pyfai_integrator(geometry), case, scene, implementation)

        def reduce(frames: Frames) -> Patterns:
            results = [integrate(frame) for frame in frames]
            intensity = np.array([result.intensity for result in results], dtype=np.float64)
            if case.error_model is None:
                return Patterns(intensity)
            return Patterns(intensity, np.array([result.sigma for result in results]))

        return reduce

    return make


def _pyfai_integrator(geometry: Geometry) -> AzimuthalIntegrator:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyFAI.detectors import Detector, detector_factory
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator
    model = geometry.detector
    plain = Detector(model.pixel1, model.pixel2, max_shape=model.shape)
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    return AzimuthalIntegrator(
        detector=plain if model.mask is None else detector_factory(model.name),
        **{name: getattr(geometry, name) for name in names},
    )


def _pyfai_call(
    integrator: AzimuthalIntegrator, case: Case, scene: Scene, implementation: str
) -> Callable[[Frames], Any]:
    options: dict[str, Any] = {
        "unit": UNIT,
        "method": (case.splitting, "csr", implementation),
        "radial_range": scene.radial_range,
        "polarization_factor": POLARIZATION,
        "error_model": case.error_model,
        # It finds the bad pixels of a uint32 frame by this.
        "dummy": BAD,
        "delta_dummy": 0.5,
        "safe": False,
    }
    if case.clip:
        return lambda frame: integrator.sigma_clip(frame, case.npt, thres=5, max_iter=5, **options)
    if case.npt_azim is None:
        return lambda frame: integrator.integrate1d(frame, case.npt, **options)
    options["azimuth_range"] = case.azimuth_range
    return lambda frame: integrator.integrate2d(frame, case.npt, case.npt_azim, **options)


def _csr_bytes(case: Case, scene: Scene) -> int:
    """Size of the table of pyFAI, which it has after the first frame."""
    integrator = _pyfai_integrator(scene.geometry)
    _pyfai_call(integrator, case, scene, "cython")(scene.frames[0])
    (held,) = integrator.engines.values()
    return sum(int(getattr(held.engine, name).nbytes) for name in ("data", "indices", "indptr"))


def _azint(case: Case, scene: Scene, geometry: Geometry) -> Reduce:
    """The library of MAX IV, which knows no bad values: gaps are masked, dead pixels are not."""
    import azint  # type: ignore[import-not-found]

    edges = np.linspace(*scene.radial_range, case.npt + 1)
    mask = geometry.detector.mask
    with tempfile.TemporaryDirectory() as folder:
        poni = Path(folder) / "scene.poni"
        geometry.to_poni(poni)
        integrator = azint.AzimuthalIntegrator(
            str(poni),
            _AZINT_SPLITTING[case.splitting],
            edges,
            case.npt_azim,
            unit="q",
            mask=np.zeros(geometry.shape, np.uint8) if mask is None else mask.astype(np.uint8),
            solid_angle=True,
            polarization_factor=POLARIZATION,
            error_model=case.error_model,
        )
    return lambda frames: Patterns(np.array([integrator.integrate(frame)[0] for frame in frames]))


def _one_by_one(
    make: Callable[[Case, Scene, Geometry], Reduce],
) -> Callable[[Case, Scene, Path], Callable[[], Patterns]]:
    """Frames read by h5py, one after the other, as its users do."""

    def open_file(case: Case, scene: Scene, path: Path) -> Callable[[], Patterns]:
        import h5py
        import hdf5plugin  # noqa: F401  registers the decoder

        from bluesky_azint.benchmark.files import DATASET

        reduce = make(case, scene, scene.geometry)

        def curves() -> Patterns:
            with h5py.File(path, "r") as file:
                dataset = file[DATASET]
                rows = [reduce(dataset[number : number + 1]) for number in range(len(dataset))]
            sigma = None if rows[0].sigma is None else np.concatenate([row.sigma for row in rows])
            return Patterns(np.concatenate([row.intensity for row in rows]), sigma)

        return curves

    return open_file
