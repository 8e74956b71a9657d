"""A Tiled server that is there as long as it is needed, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bluesky_azint import Detector, Geometry
from bluesky_azint.callbacks import EmbeddedTiled, embedded_tiled
from bluesky_azint.errors import StoreError
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
    with embedded_tiled() as tiled:
        folder = folder_of(tiled)
        assert folder.exists()
        assert tiled.process.poll() is None
    assert not folder.exists()
    assert tiled.process.returncode == 0


def test_ctrl_c_is_not_for_it(tiled: EmbeddedTiled) -> None:
    assert os.getpgid(tiled.process.pid) != os.getpgid(0)


def test_it_ends_with_the_process_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os\n"
        "from bluesky_azint.callbacks import embedded_tiled\n"
        f"with embedded_tiled({str(tmp_path)!r}) as tiled:\n"
        "    print(tiled.process.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    server = int(done.stdout)
    for _ in range(300):
        if not Path(f"/proc/{server}").exists():
            return
        time.sleep(0.1)
    pytest.fail(f"The server {server} still runs.")


def test_a_folder_has_one_server(tiled: EmbeddedTiled) -> None:
    folder = folder_of(tiled)
    with (
        pytest.raises(StoreError, match=rf"Another server runs in {folder}/tiled; stop it"),
        embedded_tiled(folder),
    ):
        pass
    assert tiled.process.poll() is None


def folder_of(tiled: EmbeddedTiled) -> Path:
    """Where a server keeps everything."""
    arguments: Any = tiled.process.args
    return Path(arguments[4]).parent
