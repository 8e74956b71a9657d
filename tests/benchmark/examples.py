"""A report, made up."""

from dataclasses import replace

from bluesky_azint.benchmark.cases import choose
from bluesky_azint.benchmark.machine import Machine
from bluesky_azint.benchmark.measure import Measured, Outcome
from bluesky_azint.benchmark.peers import AZINT, PYFAI
from bluesky_azint.benchmark.report import Report
from bluesky_azint.benchmark.roofline import Traffic
from bluesky_azint.benchmark.timing import Timing
from bluesky_azint.benchmark.ways import OURS

MACHINE = Machine(
    cpu="Made up",
    cores=2,
    opencl="pthread",
    gpu=False,
    python="3.11",
    versions={"numpy": "2.0"},
    peers={"pyFAI": "installed", "azint": "not installed"},
    threads=None,
    load=0.1,
)


def made_up(machine: Machine = MACHINE) -> Report:
    """One case of each kind."""
    speed, new, plan, overhead = (
        choose([name])[0] for name in ("1d-bbox", "geometry", "plan-no", "overhead")
    )
    ours, theirs = Timing(4e-3, 5e-3, 6e-3, 9), Timing(80e-3, 50e-3, 90e-3, 9)
    return Report(
        machine,
        30e9,
        [
            Outcome(
                speed,
                4_000_000,
                {
                    OURS: Measured(
                        timing=ours, accuracy=5e-9, sigma_accuracy=6e-9, signal_accuracy=0.0
                    ),
                    PYFAI: Measured(timing=theirs, accuracy=3e-6),
                    AZINT: Measured(timing=replace(theirs, cpu_min=40e-3)),
                },
                Traffic(10.0, 3.2),
            ),
            Outcome(
                new,
                4_000_000,
                {
                    OURS: Measured(timing=Timing(0.1, 0.15, 0.2, 2), accuracy=0.0),
                    PYFAI: Measured(timing=Timing(2.0, 1.5, 3.0, 2), accuracy=1e-6),
                },
            ),
            Outcome(overhead, 4096, {OURS: Measured(timing=Timing(1e-3, 1e-3, 1e-3, 9))}),
            Outcome(
                plan,
                4_000_000,
                {
                    OURS: Measured(peak=60_000_000, lookup=9_000_000),
                    PYFAI: Measured(peak=400_000_000, lookup=36_000_000),
                },
            ),
        ],
    )
