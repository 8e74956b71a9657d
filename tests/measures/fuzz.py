"""Hostile documents, for as long as one likes: nothing crashes, leaks or is written elsewhere.

::

    python -m tests.measures.fuzz --minutes 10
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.callbacks.hostile import WAYS, Documents, Trial, Watch, hostile_documents, make_place

MOST_MEGABYTES = 300
MOST_SECONDS = 10
EXAMPLES = 100


def peak_megabytes() -> float:
    """The most memory that this process had since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Let the peak be what there is now."""
    Path("/proc/self/clear_refs").write_text("5")


def fuzz(trial: Trial, *, examples: int, number: int | None = None) -> None:
    """Try some streams of documents; the same ones again, unless there is a number."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # to make them smaller takes longer than to find them
        derandomize=number is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        hostile=hostile_documents(trial.place),
        places=st.lists(st.integers(0, 30), min_size=40, max_size=40),
        way=st.sampled_from(WAYS),
    )
    def harmless(hostile: Documents, places: list[int], way: str) -> None:
        trial.run(hostile, places, way=way)

    (seed(number)(harmless) if number is not None else harmless)()


def main() -> int:
    """Fuzz; the exit code is 1 where something promised does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    end, rounds = time.monotonic() + 60 * options.minutes, 0
    with tempfile.TemporaryDirectory() as folder:
        place = make_place(Path(folder).resolve() / "place")
        watch = Watch(place)
        sys.addaudithook(watch.note)
        trial = Trial(place, watch)
        fuzz(trial, examples=EXAMPLES)
        forget_peak()
        before = peak_megabytes()
        while time.monotonic() < end:
            rounds += 1
            fuzz(trial, examples=EXAMPLES, number=options.seed + rounds)
    grown = peak_megabytes() - before
    print(f"streams of documents  {EXAMPLES * (rounds + 1)}, from seed {options.seed}")
    print(f"slowest               {trial.slowest:.1f} s of {MOST_SECONDS}")
    print(f"memory                {grown:.0f} MB more at its peak, of {MOST_MEGABYTES}")
    return int(grown > MOST_MEGABYTES or trial.slowest > MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
