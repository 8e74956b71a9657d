"""What all tests share."""

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real calibrant frames with a published geometry, which are not part of the repository."""
    if SHARED_DATA.is_dir():
        return SHARED_DATA
    message = f"The real frames are not at {SHARED_DATA}."
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
