"""An IOC that plays a detector, a motor, a monochromator and the geometry: ``PREFIX`` is given.

python -m tests.epics.detector_ioc XRD:
"""

from __future__ import annotations

import sys
from math import prod
from typing import Any

import numpy as np
from caproto import ChannelData, ChannelDouble, ChannelInteger
from caproto.asyncio.server import run

from bluesky_azint.devices.geometry_ioc import geometry_channels
from tests.epics.frames import SHAPE, frame


class Acquire(ChannelInteger):  # type: ignore[misc]
    """Written to take a frame; the write is completed when the frame is there."""

    def __init__(self, image: ChannelData, number: ChannelData, motor: ChannelData) -> None:
        super().__init__(value=0)
        self.image, self.number, self.motor = image, number, motor

    async def verify_value(self, data: Any) -> Any:
        number = self.number.value + 1
        await self.image.write(frame(number, self.motor.value).ravel())
        await self.number.write(number)
        return data


def channels(prefix: str) -> dict[str, ChannelData]:
    """The channels by the names of their PVs."""
    image = ChannelInteger(value=np.zeros(prod(SHAPE), np.int32))
    number, motor = ChannelInteger(value=0), ChannelDouble(value=0.0, units="mm")
    return {
        f"{prefix}Image": image,
        f"{prefix}Number": number,
        f"{prefix}Motor": motor,
        f"{prefix}Energy": ChannelDouble(value=17.712, units="keV"),
        f"{prefix}Acquire": Acquire(image, number, motor),
        **geometry_channels(f"{prefix}Geometry:"),
    }


if __name__ == "__main__":
    run(channels(sys.argv[1]), interfaces=["127.0.0.1"])
