"""Where tasks run: on the cores of this machine, or on a dask.distributed cluster."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from bluesky_azint.errors import EngineError

CONNECT_SECONDS = 10.0


@contextmanager
def local_pool(workers: int | None = None) -> Iterator[tuple[Executor, int]]:
    """Processes on this machine, and how many; they end with the context.

    Parameters
    ----------
    workers
        How many; None for as many as there are cores that this process may use.
    """
    workers = workers or _cores()
    # Fresh ones: a process with threads, as HDF5 and OpenCL have, cannot be copied.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield pool, workers
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def dask_pool(address: str) -> Iterator[tuple[Executor, int]]:
    """The workers of a dask scheduler, and how many tasks they run at once.

    Parameters
    ----------
    address
        Of the scheduler: ``"tcp://host:8786"``.

    Raises
    ------
    EngineError
        If dask is not installed, no scheduler answers, or it has no workers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise EngineError(
            "dask.distributed is not installed; install it with the extra bluesky-azint[dask]."
        ) from error
    connect: Any = Client  # without types
    try:
        client = connect(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"No dask scheduler answers at {address}: {error}. Start one with `dask scheduler`, and "
            "workers with `dask worker ADDRESS`, or leave --scheduler away to use this machine."
        ) from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise EngineError(
                f"The dask scheduler at {address} has no workers. Start some with `dask worker "
                f"{address}`, where bluesky-azint is installed and the raw files can be seen."
            )
        yield client.get_executor(pure=False), threads


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _begin() -> None:
    """What a process on this machine does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that gives out tasks
    # What goes wrong is sent back, and told once.
    logging.getLogger("bluesky_azint").addHandler(logging.NullHandler())
