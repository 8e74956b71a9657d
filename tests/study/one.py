"""One scene, and all that the calibration says of it.

Run as ``python -m tests.study.one A 17 [--plot FILE]`` in the root of the repository.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import bluesky_azint as ba
from bluesky_azint.calibration.cone import PARAMETERS, Cone
from bluesky_azint.calibration.result import Calibration
from tests.study.judge import judge
from tests.study.places import places_on_ring
from tests.study.scene import Scene
from tests.study.scenes import MAKERS, make


def main() -> int:
    """Calibrate it, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.study.one")
    parser.add_argument("kind", choices=MAKERS)
    parser.add_argument("seed", type=int)
    parser.add_argument("--plot", type=Path, help="a picture of the frame and the rings")
    wanted = parser.parse_args()
    scene = make(wanted.kind, wanted.seed)
    calibration, seconds = calibrated(scene)
    sys.stdout.write(describe(scene, calibration, seconds))
    if wanted.plot:
        plot(scene, calibration, wanted.plot)
    return 0


def calibrated(scene: Scene, near: ba.Geometry | None = None) -> tuple[Calibration, float]:
    """The calibration of a scene, maybe looked for near a geometry; an error goes on."""
    from bluesky_azint.calibration.calibrate import calibrate

    start = time.perf_counter()
    calibration = calibrate(
        scene.image,
        detector=scene.detector,
        calibrant=scene.calibrant,
        wavelength=scene.wavelength,
        mask=scene.mask,
        distance=scene.distance,
        geometry=near,
    )
    return calibration, time.perf_counter() - start


def describe(scene: Scene, calibration: Calibration, seconds: float) -> str:
    """All there is to say."""
    outcome = judge(scene, calibration, seconds)
    lines = [f"{scene.kind} {scene.seed}: {calibration.verdict} in {seconds:.1f} s"]
    lines += [f"  because: {reason}" for reason in calibration.reasons]
    lines += [f"  note: {note}" for note in calibration.notes]
    lines += [f"  fixed: {name}: {why}" for name, why in calibration.fixed.items()]
    lines += [f"  {name}: {value}" for name, value in scene.variations.items()]
    lines += [f"errors: {outcome.errors}", f"right: {outcome.right}", f"match: {calibration.match}"]
    lines += [f"wavelength: {calibration.wavelength_test}", ""]
    lines.append(f"{'':10}{'truth':>14}{'found':>14}{'error/sigma':>12}")
    truth, found = Cone.of(scene.geometry).parameters, np.full(5, np.nan)
    if calibration.beam is not None:
        found = calibration.beam.parameters
    for name, one, other, pull in zip(PARAMETERS, truth, found, outcome.pulls, strict=True):
        lines.append(f"{name:10}{one:14.8f}{other:14.8f}{pull:12.2f}")
    lines += ["", f"{'ring':>12}{'2theta':>9}{'sectors':>9}{'mean px':>9}{'rms px':>9}{'fwhm':>7}"]
    for ring in calibration.rings:
        name = "".join(map(str, ring.ring.hkl)) + ("" if ring.used else " (out)")
        lines.append(
            f"{name:>12}{np.degrees(ring.two_theta):9.3f}{ring.sectors:9d}"
            f"{ring.mean_px:9.4f}{ring.rms_px:9.4f}{ring.fwhm_px:7.2f}"
        )
    lines.append(
        f"residual {calibration.residual_px:.4f} px, held out {calibration.held_out_px:.4f} px, "
        f"floor {calibration.floor_px:.4f} px, predicted error {calibration.ring_error_px:.4f} px "
        f"inside of the rings, {calibration.detector_error_px:.4f} px on the detector"
    )
    return "\n".join(lines) + "\n"


def plot(scene: Scene, calibration: Calibration, path: Path) -> None:
    """The frame, the true rings dotted and those found dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 10.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = np.ma.masked_array(scene.image.astype(np.float64), scene.mask)
    if scene.detector.mask is not None:
        image[scene.detector.mask] = np.ma.masked
    top = np.sqrt(np.quantile(image.compressed(), 0.997))
    axes.imshow(np.sqrt(np.maximum(image, 0.0)), vmax=top, cmap="gray_r", interpolation="nearest")
    seen = calibration.calibrant.two_theta(scene.wavelength)
    rings: list[tuple[ba.Geometry | None, str, str]] = [
        (scene.geometry, "tab:blue", ":"),
        (calibration.geometry or calibration.candidate, "tab:red", "--"),
    ]
    for geometry, colour, style in rings:
        for two_theta in seen if geometry is not None else ():
            if geometry is not None:
                i, j = places_on_ring(geometry, float(two_theta))
                axes.plot(j, i, color=colour, ls=style, lw=0.8)
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)
    axes.set_title(f"{scene.kind} {scene.seed}: {calibration.verdict}; truth blue, found red")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
