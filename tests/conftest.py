"""What all tests share."""

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from bluesky_azint.callbacks import EmbeddedTiled

# Machines that run tests are slow at times; what is tested does not depend on it.
settings.register_profile("unhurried", deadline=None, derandomize=True)
settings.load_profile("unhurried")

# Tests leave the files of the user alone.
os.environ["AZINT_CACHE"] = "off"

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(folder: str) -> Path:
    path = SHARED / folder
    if not path.is_dir():
        message = f"{path} is not there."
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real calibrant frames with a published geometry, which are not part of the repository."""
    return _shared("data")


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    """Values that pyFAI 2026.9 gives, recorded."""
    text = (_shared("reference") / "pyfai_vectors.json").read_text()
    values: dict[str, Any] = json.loads(text)
    return values


@pytest.fixture(scope="session")
def pyfai() -> ModuleType:
    """pyFAI, whose imports warn of others' deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyFAI
        import pyFAI.detectors
        import pyFAI.integrator.azimuthal

    oracle: ModuleType = pyFAI
    return oracle


@pytest.fixture(scope="session")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[EmbeddedTiled]":
    """One Tiled server for all tests: it takes seconds to start. It can read all their files."""
    from bluesky_azint.callbacks import embedded_tiled

    root = tmp_path_factory.getbasetemp()
    with embedded_tiled(root / "tiled", readable_storage=[root]) as server:
        yield server
