"""A raw run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.callbacks.companions.raw_runs import RawRun


@pytest.fixture
def raw_run(tmp_path: Path) -> RawRun:
    """A run with a detector ``det``."""
    return RawRun(tmp_path)
