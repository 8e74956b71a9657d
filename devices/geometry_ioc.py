"""An IOC that serves the geometry of a detector as PVs, where the beamline has none.

::

    python -m bluesky_azint.devices.geometry_ioc XRD:Geometry:

The PVs are those of `bluesky_azint.devices.geometry_signals`. They are not set at first, NaN and "",
so that frames are reduced with what the calibration store has; a plan sets them, or anybody else.
The port is that of EPICS_CAS_SERVER_PORT or EPICS_CA_SERVER_PORT, or 5064. It ends with Ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from math import nan

from caproto import ChannelData, ChannelDouble, ChannelString
from caproto.asyncio.server import run

from bluesky_azint.devices.geometry_signals import NAMES, UNITS, pv_suffix


def geometry_channels(prefix: str) -> dict[str, ChannelData]:
    """The channels of a geometry, by the names of their PVs."""
    channels: dict[str, ChannelData] = {
        prefix + pv_suffix(key): ChannelDouble(value=nan, units=units, precision=9)
        for key, units in UNITS.items()
    }
    return channels | {prefix + pv_suffix(key): ChannelString(value="") for key in NAMES}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until somebody ends it."""
    parser = argparse.ArgumentParser(
        prog="python -m bluesky_azint.devices.geometry_ioc",
        description="Serve the geometry of a detector as PVs, over Channel Access.",
    )
    parser.add_argument("prefix", help="what the names of the PVs begin with: XRD:Geometry:")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="where to serve: 127.0.0.1 for this machine alone (default), 0.0.0.0 for all",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run(geometry_channels(options.prefix), interfaces=[options.host], log_pv_names=True)


if __name__ == "__main__":
    main()
