"""Files of frames, as Dectris detectors write them: bitshuffle and LZ4, a frame in a chunk."""

from __future__ import annotations

from pathlib import Path

from bluesky_azint.benchmark.scene import Frames

DATASET = "/entry/data/data"


def write_frames(path: Path, frames: Frames) -> int:
    """Write frames into a new file; returns the bytes that they take in it."""
    import h5py
    import hdf5plugin

    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            DATASET,
            data=frames,
            chunks=(1, *frames.shape[1:]),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        return int(dataset.id.get_storage_size())
