"""Documents in, documents out: what stands between Bluesky and the reduction."""

from bluesky_azint.callbacks.frames import FrameBatch, FrameSource, frames_per_event, image_keys

__all__ = ["FrameBatch", "FrameSource", "frames_per_event", "image_keys"]
