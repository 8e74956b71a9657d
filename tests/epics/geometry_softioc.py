"""A geometry in the records of EPICS base itself: ``python -m tests.epics.geometry_softioc XRD:``."""

from __future__ import annotations

import sys
import threading
from math import nan

from softioc import asyncio_dispatcher, builder, softioc

from bluesky_azint.devices.geometry_signals import NAMES, UNITS, pv_suffix


def main(prefix: str) -> None:
    """Serve until somebody ends it."""
    for key, units in UNITS.items():
        builder.aOut(f"{prefix}{pv_suffix(key)}", initial_value=nan, EGU=units, PREC=9)
    for key in NAMES:
        builder.stringOut(f"{prefix}{pv_suffix(key)}", initial_value="")
    builder.LoadDatabase()
    softioc.iocInit(asyncio_dispatcher.AsyncioDispatcher(), enable_pva=False)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
