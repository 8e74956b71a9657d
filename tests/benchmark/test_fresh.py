"""A process of its own tells what only it can tell."""

import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import pytest

from bluesky_azint.benchmark.cases import choose
from bluesky_azint.benchmark.fresh import first_call, in_fresh_process, plan_memory
from bluesky_azint.benchmark.peers import PYFAI, peers
from bluesky_azint.benchmark.ways import OURS, ours
from bluesky_azint.errors import EngineError

(PLAN,) = choose(["plan-no"])
(FIRST,) = choose(["first-call"])
TINY_PLAN = replace(PLAN, detector="tiny", npt=150)
TINY_FIRST = replace(FIRST, detector="tiny", npt=150)


def test_a_new_process_tells_the_seconds_of_its_first_frame() -> None:
    found = in_fresh_process(TINY_FIRST, OURS)
    assert 0 < found["wall"] < 30
    assert 0 < found["cpu"] < 60


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(
        EngineError, match=r"(?s)bluesky-azint in the case 'plan-no' failed.*'nothing'"
    ):
        in_fresh_process(replace(TINY_PLAN, detector="nothing"), OURS)


def test_a_plan_takes_memory_and_holds_a_table(pyfai: ModuleType) -> None:
    for way in (ours(), *peers(TINY_PLAN)):
        found = plan_memory(TINY_PLAN, way)
        assert found["peak"] is None or found["peak"] >= 0
        assert 64 * 64 <= found["lookup"] < 64 * 64 * 64, way.name
    assert PYFAI in [way.name for way in peers(TINY_PLAN)]


def test_the_first_call_comes_after_the_plan_is_made() -> None:
    found = first_call(replace(TINY_FIRST, engine="scipy"), ours())
    assert 0 < found["wall"] < 5


def test_growth_is_that_of_the_peak_not_of_what_is_left() -> None:
    # In a process of its own: in this one there may be room already.
    code = (
        "import numpy as np; from bluesky_azint.benchmark.fresh import peak_growth;"
        "print(peak_growth(lambda: (np.ones(40_000_000, np.uint8), None)[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if done.stdout.strip() == "None":
        pytest.skip("This system does not tell the peak of memory.")
    assert 35e6 < int(done.stdout) < 60e6
