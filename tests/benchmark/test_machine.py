"""The machine is described, and warned of where figures would mislead."""

from dataclasses import replace

from bluesky_azint.benchmark.cases import choose
from bluesky_azint.benchmark.machine import this_machine
from tests.benchmark.examples import MACHINE


def test_this_machine_has_a_name_and_cores() -> None:
    machine = this_machine()
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.versions["bluesky-azint"]
    assert set(machine.peers) == {"pyFAI", "azint"}


def test_an_idle_machine_needs_no_warning() -> None:
    assert MACHINE.warnings == []


def test_what_misleads_is_said() -> None:
    busy = replace(MACHINE, load=3.0, threads="1", opencl=None)
    load, threads, opencl = busy.warnings
    assert "load average is 3.0 on 2 cores" in load
    assert "OMP_NUM_THREADS is 1" in threads
    assert "no OpenCL" in opencl
    assert replace(MACHINE, threads="2").warnings == []


def test_cases_need_devices() -> None:
    opencl, scipy, gpu = (choose([name])[0] for name in ("1d-no", "scipy", "gpu-frames"))
    none = replace(MACHINE, opencl=None)
    assert [none.can(case) for case in (opencl, scipy, gpu)] == [False, True, False]
    assert [MACHINE.can(case) for case in (opencl, scipy, gpu)] == [True, True, False]
    assert replace(MACHINE, gpu=True).can(gpu)
