"""A RunEngine."""

from collections.abc import Iterator

import pytest
from bluesky import RunEngine


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """A RunEngine, stopped afterwards."""
    engine = RunEngine({}, call_returns_result=True)
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()
