"""Cache: look-ups that were needed before, in memory and on disk.

Whatever is in memory is there at once. Of a look-up on disk every byte has to be read and compared
with its checksum: of 27 MB, boxes in 4.5 million pixels, in 22 ms, if the system still has the file
in memory, and in more if it has not. A device builds them in about 30 ms on two cores, NumPy in
150 ms, and polygons in 360 ms. So a look-up is stored only if it took well longer to build than it
takes to read from a usual disk: what NumPy builds, as a rule, and what a device builds never.

The variable AZINT_CACHE names another folder than that of the user, or is "off" for none.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.corrections import Corrections
from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import Grid, Range
from bluesky_azint.lookup.builder import Builder
from bluesky_azint.lookup.disk import Disk, user_disk
from bluesky_azint.lookup.identity import identity
from bluesky_azint.lookup.table import Lookup
from bluesky_azint.units import Unit

Mask = NDArray[np.bool_]

MEMORY_LIMIT = 512 * 10**6
DISK_LIMIT = 2 * 10**9

# How long it takes to find a file on a disk that is far away, in seconds, and how fast it is read, in
# bytes a second; and how much longer than that it has to take to build what is worth its place.
FINDING, READ_SPEED = 0.03, 500e6
WORTH = 2.0


class Memory:
    """Look-ups by their hash; those not used for the longest time go first. For several threads.

    Parameters
    ----------
    limit
        In bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lookups: OrderedDict[str, Lookup] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Memory that the look-ups take."""
        return sum(lookup.nbytes for lookup in self._lookups.values())

    def get(self, key: str) -> Lookup | None:
        """The look-up of that hash, or None."""
        with self._lock:
            if key in self._lookups:
                self._lookups.move_to_end(key)
            return self._lookups.get(key)

    def put(self, key: str, lookup: Lookup) -> None:
        """Keep a look-up, unless it is larger than all may be together."""
        if lookup.nbytes > self._limit:
            return
        with self._lock:
            self._lookups[key] = lookup
            self._lookups.move_to_end(key)
            while self.nbytes > self._limit:
                self._lookups.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._lookups.clear()


MEMORY = Memory(MEMORY_LIMIT)


class CachedBuilder(Builder):
    """Builds what is not in the cache.

    Parameters
    ----------
    builder
        What builds it.
    memory
        What is in memory, which all builders of a process share.
    """

    def __init__(self, builder: Builder, memory: Memory = MEMORY) -> None:
        self._builder, self._memory = builder, memory
        self._writer: ThreadPoolExecutor | None = None
        self._written: Future[None] | None = None

    def extent(self, geometry: Geometry, unit: Unit, splitting: str) -> Range:
        """Smallest and largest finite value that the pixels cover."""
        return self._builder.extent(geometry, unit, splitting)

    def weights(self, geometry: Geometry, corrections: Corrections) -> NDArray[np.float32]:
        """Product of the corrections of every pixel, of detector shape."""
        return self._builder.weights(geometry, corrections)

    def lookup(self, geometry: Geometry, grid: Grid, mask: Mask | None) -> Lookup:
        """Which pixel goes into which bin."""
        key = identity(geometry, grid, mask)
        if key is None:
            return self._builder.lookup(geometry, grid, mask)
        # Builders round alike but for pixels whose centre lies on an edge.
        key = f"{key}-{type(self._builder).__name__}"
        lookup = self._memory.get(key)
        if lookup is not None:
            return lookup
        disk = user_disk(DISK_LIMIT)
        if disk is not None:
            n_pixels = geometry.shape[0] * geometry.shape[1]
            lookup = disk.read(key, n_pixels, grid.n_bins)
        if lookup is None:
            begin = time.perf_counter()
            lookup = self._builder.lookup(geometry, grid, mask)
            spent = time.perf_counter() - begin
            if disk is not None and spent > WORTH * (FINDING + lookup.nbytes / READ_SPEED):
                self._write(disk, key, lookup)
        self._memory.put(key, lookup)
        return lookup

    def _write(self, disk: Disk, key: str, lookup: Lookup) -> None:
        """Store a look-up while others go on: homes may be far away."""
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1)
        self._written = self._writer.submit(disk.write, key, lookup)

    def flush(self) -> None:
        """Wait until all is stored."""
        if self._written is not None:
            self._written.result()
