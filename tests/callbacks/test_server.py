"""A Tiled server that is there as long as it is needed, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from bluesky_azint import Detector, Geometry
from bluesky_azint.callbacks import embedded_tiled
from bluesky_azint.store import CalibrationRecord


def test_what_it_keeps_is_found_again(tmp_path: Path) -> None:
    geometry = Geometry(detector=Detector(1e-4, 1e-4, shape=(3, 4)), dist=0.5)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    record = CalibrationRecord(detector="eiger", geometry=geometry, valid_from=moment)
    with embedded_tiled(tmp_path) as tiled:
        tiled.calibrations.save(record)
        for container in (tiled.raw, tiled.reduced):
            assert "CatalogOfBlueskyRuns" in {spec.name for spec in container.specs}
        tiled.client.write_array([1, 2, 3], key="kept")
    with embedded_tiled(tmp_path) as tiled:
        assert tiled.calibrations.latest("eiger", moment) == record
        assert tiled.client["kept"].read().tolist() == [1, 2, 3]


def test_nothing_is_left_of_a_temporary_one() -> None:
    before = {thread for thread in threading.enumerate() if not thread.daemon}
    with embedded_tiled() as tiled:
        folder = Path(tiled.server.directory)
        tiled.client.write_array([1, 2, 3], key="array")
        assert tiled.client["array"].read().tolist() == [1, 2, 3]
    assert not folder.exists()
    assert {thread for thread in threading.enumerate() if not thread.daemon} == before


def test_a_process_with_one_ends(tmp_path: Path) -> None:
    program = (
        "from bluesky_azint.callbacks import embedded_tiled\n"
        f"with embedded_tiled({str(tmp_path)!r}) as tiled: print(tiled.uri)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("http://127.0.0.1:")
