"""The machine that figures were measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bluesky_azint.benchmark.cases import Case
from bluesky_azint.benchmark.peers import installed
from bluesky_azint.errors import EngineError

# Of each core: above it something else is at work.
_IDLE = 0.25
_PACKAGES = ("bluesky-azint", "numpy", "scipy", "pyopencl", "h5py", "hdf5plugin", "pyFAI", "azint")


@dataclass(frozen=True)
class Machine:
    """What figures depend on.

    Parameters
    ----------
    cpu, cores
        Name of the processor, and how many cores this process may use.
    opencl, gpu
        The device that the engine ``"opencl"`` takes, and whether it is a GPU; None where there is
        no OpenCL.
    python, versions
        Versions of Python, and of the packages that are installed.
    peers
        Whether each is installed.
    threads
        Limit that OMP_NUM_THREADS sets to some of them; None for none.
    load
        Processes that ran in the last minute, on average; None where the system does not tell.
    """

    cpu: str
    cores: int
    opencl: str | None
    gpu: bool
    python: str
    versions: dict[str, str]
    peers: dict[str, str]
    threads: str | None
    load: float | None

    @property
    def warnings(self) -> list[str]:
        """What to keep in mind with the figures."""
        said = []
        if self.load is not None and self.load > _IDLE * self.cores:
            said.append(
                f"The load average is {self.load:.1f} on {self.cores} cores: something else is at "
                "work. Trust the CPU times and their ratios; wall times are too long."
            )
        if self.threads is not None and self.threads != str(self.cores):
            said.append(
                f"OMP_NUM_THREADS is {self.threads}: pyFAI may use no more threads, OpenCL may. "
                "Unset it to compare wall times."
            )
        if self.opencl is None:
            said.append(
                "There is no OpenCL here, and its cases are left out; install bluesky-azint[pocl]."
            )
        return said

    def can(self, case: Case) -> bool:
        """Whether there is what a case needs."""
        if case.device == "gpu":
            return self.gpu
        return case.engine != "opencl" or self.opencl is not None


def this_machine() -> Machine:
    """This one, now."""
    opencl, gpu = _opencl()
    return Machine(
        cpu=_cpu(),
        cores=_cores(),
        opencl=opencl,
        gpu=gpu,
        python=platform.python_version(),
        versions=_versions(),
        peers=installed(),
        threads=os.environ.get("OMP_NUM_THREADS"),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _opencl() -> tuple[str | None, bool]:
    try:
        from bluesky_azint.engines.opencl.device import default_device, is_cpu

        device = default_device()
    except (ImportError, EngineError):
        return None, False
    return f"{device.name.strip()} ({device.platform.version.strip()})", not is_cpu(device)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
