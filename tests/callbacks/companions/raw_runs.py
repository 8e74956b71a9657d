"""Documents of a run, written by hand, and the frames that they announce."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.callbacks.assets import Document
from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.companions.conditions import Conditions
from bluesky_azint.callbacks.frames import FrameBatch

SHAPE = (4, 6)


class RawRun:
    """Makes the documents of a run with a detector ``det``, and a file for what it streams."""

    def __init__(self, directory: Path, uid: str = "raw", **start: Any) -> None:
        self.directory = directory
        self.uid = uid
        self.start: Document = {"uid": uid, "time": 1000.0, **start}

    def descriptor(
        self,
        name: str = "primary",
        *,
        uid: str = "",
        frames_per_event: int = 1,
        configuration: Document | None = None,
        **keys: Document,
    ) -> Document:
        """The descriptor of a stream; ``det`` is among its data keys unless it is the baseline."""
        image = {"dtype": "array", "shape": [frames_per_event, *SHAPE], "external": "STREAM:"}
        images = {} if name == "baseline" else {"det": image}
        device = {"data": configuration or {}, "timestamps": {}, "data_keys": {}}
        return {
            "uid": uid or f"{self.uid}/{name}",
            "run_start": self.uid,
            "name": name,
            "data_keys": {**images, **keys},
            "configuration": {"det": device},
        }

    def event(self, seq_num: int, *, name: str = "primary", uid: str = "", **data: Any) -> Document:
        """An event of a stream."""
        return {
            "uid": uid or f"{self.uid}/{name}/event{seq_num}",
            "descriptor": f"{self.uid}/{name}",
            "seq_num": seq_num,
            "time": 1000.0 + seq_num,
            "data": data,
        }

    def resource(self, data_key: str = "det", dataset: str = "/det") -> Document:
        """The stream resource of a data key."""
        return {
            "uid": f"{self.uid}/{data_key}",
            "run_start": self.uid,
            "data_key": data_key,
            "mimetype": "application/x-hdf5",
            "uri": (self.directory / f"{self.uid}.h5").as_uri(),
            "parameters": {"dataset": dataset},
        }

    def datum(
        self,
        first: int,
        last: int | None = None,
        *,
        data_key: str = "det",
        index: int | None = None,
        name: str = "primary",
    ) -> Document:
        """The stream datum of the events from `first` to `last`."""
        stop = (first if last is None else last) + 1
        index = first - 1 if index is None else index
        return {
            "uid": f"{self.uid}/{data_key}/{index}",
            "stream_resource": f"{self.uid}/{data_key}",
            "descriptor": f"{self.uid}/{name}",
            "seq_nums": {"start": first, "stop": stop},
            "indices": {"start": index, "stop": index + stop - first},
        }

    @property
    def stop(self) -> Document:
        """The stop document."""
        return {"uid": f"{self.uid}/stop", "run_start": self.uid, "exit_status": "success"}

    def write(self, **columns: ArrayLike) -> None:
        """Write data sets into the file."""
        with h5py.File(self.directory / f"{self.uid}.h5", "w") as file:
            for name, values in columns.items():
                file[name] = values

    def batch(
        self,
        *seq_nums: int,
        frames: NDArray[Any] | None = None,
        name: str = "primary",
        frames_per_event: int = 1,
    ) -> FrameBatch:
        """Frames of some events; of ones, if there are no others."""
        events = np.repeat(np.array(seq_nums, dtype=np.int64), frames_per_event)
        within = np.tile(np.arange(frames_per_event), len(seq_nums))
        indices = (events - 1) * frames_per_event + within
        if frames is None:
            frames = np.ones((len(events), *SHAPE), dtype=np.uint16)
        return FrameBatch(
            frames=frames,
            indices=indices,
            seq_nums=events,
            timestamps=np.add(events, 1000.0),
            places=indices + 1,
            descriptor=f"{self.uid}/{name}",
            data_key="det",
        )


NUMBER: Document = {"dtype": "number", "shape": []}
STREAMED: Document = {"dtype": "number", "shape": [1], "external": "STREAM:"}


def feed(companions: Companions, *named: tuple[str, Document]) -> list[Document]:
    """Give documents; what the gate lets through."""
    passed: list[Document] = []
    for name, doc in named:
        companions.take(name, doc)
        passed += [free for _, free in companions.gate(name, doc)]
    return passed


def only(parts: list[tuple[FrameBatch, Conditions]]) -> Conditions:
    """The conditions of a batch that is reduced as a whole."""
    assert len(parts) == 1
    assert parts[0][1].problem == ""
    return parts[0][1]
