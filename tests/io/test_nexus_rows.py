"""Rows come back as they were written, from a file that was never closed, too."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from bluesky_azint import Detector, Geometry, Integrator, Recipe
from bluesky_azint.errors import FormatError
from bluesky_azint.io.nexus import AzintWriter
from bluesky_azint.io.nexus_rows import AzintFile
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import unit

RECIPE = Recipe(npt=20, unit="q_nm^-1", error_model="poisson")
GEOMETRY = Geometry(
    detector=Detector(1e-4, 1e-4, shape=(30, 40)), dist=0.1, poni1=0.001, poni2=0.002,
    wavelength=1e-10,
)  # fmt: skip
FRAMES = np.random.default_rng(3).poisson(0.05, (600, 30, 40)).astype(np.uint16)


def results(frames: int) -> IntegrationResult:
    return Integrator.from_recipe(GEOMETRY, RECIPE, engine="scipy").integrate(FRAMES[:frames])


def writer(path: Path, like: IntegrationResult, *, renew: bool = False) -> AzintWriter:
    return AzintWriter(
        path, radial=like.radial, unit=unit(like.unit), geometry=GEOMETRY, recipe=RECIPE,
        errors=True, provenance={"raw_uid": "r"}, renew=renew,
    )  # fmt: skip


def write_and_die(path: Path) -> None:
    """Write 600 rows of which every third has no frame, and be killed."""
    written = results(600)
    places = np.where(np.arange(600) % 3 == 0, 0, np.arange(600) + 10)
    made = writer(path, written)
    made.write(
        np.arange(600), written, seq_nums=np.arange(600) + 1, timestamps=np.arange(600) / 2,
        places=places,
    )  # fmt: skip
    made.flush()
    os.kill(os.getpid(), 9)


def test_a_file_of_a_killed_writer_goes_on_in_another(tmp_path: Path) -> None:
    path = tmp_path / "a.nxs"
    code = f"from tests.io.test_nexus_rows import *; write_and_die(Path({str(path)!r}))"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == -9
    with pytest.raises(OSError, match="already open"):
        h5py.File(path, "r+")

    like = results(1)
    renewed = writer(path, like, renew=True)
    with AzintFile(path) as old:
        assert old.provenance["raw_uid"] == "r"
        assert old.is_made_with(GEOMETRY, RECIPE)
        assert not old.is_made_with(replace(GEOMETRY, dist=0.2), RECIPE)
        assert not old.is_made_with(GEOMETRY, replace(RECIPE, splitting="no"))
        blocks = list(old.rows(like))
    assert [len(block.rows) for block in blocks] == [170, 171, 59]
    for block in blocks:
        renewed.write(
            block.rows, block.result, seq_nums=block.seq_nums, timestamps=block.timestamps,
            places=block.places,
        )  # fmt: skip
    with h5py.File(path, "r", swmr=True) as before:
        assert len(before["entry/data/I"]) == 600
        columns = {name: before[column.dataset][()] for name, column in renewed.columns.items()}
        renewed.settle()
        renewed.close()
    assert [found.name for found in tmp_path.iterdir()] == ["a.nxs"]
    kept = np.arange(600) % 3 != 0
    with h5py.File(path) as after:
        for name, column in renewed.columns.items():
            found = after[column.dataset][()]
            np.testing.assert_array_equal(found[kept], columns[name][: len(found)][kept], name)
            assert not found[~kept[: len(found)]].any() or np.isnan(found[0]).all()


def test_what_is_no_such_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "b.nxs"
    path.write_bytes(b"no")
    with pytest.raises(FormatError, match="cannot be read"):
        AzintFile(path)
    with h5py.File(path, "w"):
        pass
    with AzintFile(path) as file, pytest.raises(FormatError, match="no file of patterns"):
        _ = file.provenance
