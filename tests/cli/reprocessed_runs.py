"""A raw run in Tiled, and a configuration with which it is reduced."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint import Integrator, Recipe
from bluesky_azint.callbacks import EmbeddedTiled, TiledSink
from tests.callbacks.made_runs import DATASET, GEOMETRY, MadeRun, made_frames

FRAMES = made_frames(6)
RECIPE = Recipe(npt=40, unit="2th_deg", error_model="poisson")


class Station:
    """A raw run of six frames in Tiled, of which the last two have not come to their file."""

    def __init__(self, tiled: EmbeddedTiled, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.reduced = tiled.reduced
        self.uri, _, self.key = tiled.uri.partition("?api_key=")
        monkeypatch.setenv("STATION_KEY", self.key)
        monkeypatch.setenv("AZINT_CONFIG", str(self.configuration()))
        self.file = folder / "raw.h5"
        with TiledSink(tiled.raw, backup_directory=folder / "backup") as sink:
            run = MadeRun(sink)
            bundle = run.describe()
            run.rows(bundle, run.file(self.file, FRAMES[:4]), range(1, 7))
            run.stop()
        self.uid = run.uid

    def complete(self) -> None:
        """Have the last frames come."""
        with h5py.File(self.file, "w") as file:
            file.create_dataset(DATASET, data=FRAMES, chunks=(1, *FRAMES.shape[1:]))

    def configuration(self) -> Path:
        GEOMETRY.to_poni(self.folder / "default.poni")
        path = self.folder / "azint.toml"
        path.write_text(
            f"""
            [service]
            directory = "state"

            [tiled]
            uri = "{self.uri}"
            api_key_env = "STATION_KEY"

            [calibrations]
            default = "default.poni"

            [files]
            roots = ["."]

            [engine]
            name = "scipy"

            [recipes.pattern]
            npt = {RECIPE.npt}
            unit = "{RECIPE.unit}"
            error_model = "{RECIPE.error_model}"

            [recipes.coarse]
            npt = 10
            unit = "{RECIPE.unit}"
            """
        )
        return path


def patterns_of(frames: NDArray[np.uint16], npt: int = RECIPE.npt) -> NDArray[np.float64]:
    """What the frames come to."""
    integrator = Integrator(GEOMETRY, npt, unit=RECIPE.unit, engine="scipy")
    return integrator.integrate(frames, alone=True).intensity
