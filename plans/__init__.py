"""Plans: what a RunEngine does with the devices."""

from bluesky_azint.plans.fly import fly_frames

__all__ = ["fly_frames"]
