"""The plans, each of which publishes its documents for the service that reduces them."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import bluesky.preprocessors as bpp
from bluesky import plans as bp
from bluesky.utils import MsgGenerator

from bluesky_azint import plans
from bluesky_azint.callbacks.transports.zmq import zmq_publisher

PROXY = "localhost:5577"  # where bluesky-0MQ-proxy takes documents in

_P = ParamSpec("_P")
_R = TypeVar("_R")

_publish = zmq_publisher(PROXY)


def _published(plan: Callable[_P, MsgGenerator[_R]]) -> Callable[_P, MsgGenerator[_R]]:
    """The plan, with all documents of its runs given to the proxy."""

    @functools.wraps(plan)
    def publishing(*args: _P.args, **kwargs: _P.kwargs) -> MsgGenerator[_R]:
        return (yield from bpp.subs_wrapper(plan(*args, **kwargs), _publish))

    return publishing


count = _published(bp.count)
calibrate_detector = _published(plans.calibrate_detector)
calibrate_energy = _published(plans.calibrate_energy)
calibrate_goniometer = _published(plans.calibrate_goniometer)
check_calibration = _published(plans.check_calibration)
fly_frames = _published(plans.fly_frames)

__all__ = [
    "calibrate_detector",
    "calibrate_energy",
    "calibrate_goniometer",
    "check_calibration",
    "count",
    "fly_frames",
]
