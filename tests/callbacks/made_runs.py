"""Raw runs made document by document, with their files, as detectors would announce them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from event_model import ComposeDescriptorBundle, compose_run
from numpy.typing import NDArray

from bluesky_azint import Detector, Geometry

ROWS, COLUMNS = 30, 40
GEOMETRY = Geometry(
    detector=Detector(1e-4, 1e-4, shape=(ROWS, COLUMNS)), dist=0.1, poni1=0.001, wavelength=1e-10
)
DATASET = "/entry/data/data"
HDF5 = "application/x-hdf5"

Document = dict[str, Any]
Frames = NDArray[np.uint16]


def made_frames(count: int, seed: int = 1) -> Frames:
    """Frames of Poisson noise."""
    frames = np.random.default_rng(seed).poisson(80, (count, ROWS, COLUMNS))
    return frames.astype(np.uint16)


class MadeRun:
    """A raw run of the images ``det`` of ``camera``; keeps its documents, and hands them on.

    Times count on by a second with each document.
    """

    def __init__(self, *consumers: Callable[[str, Document], object], **metadata: Any) -> None:
        self.documents: list[tuple[str, Document]] = []
        self.consumers = consumers
        self.time = 1_780_000_000.0
        self.indices: dict[str, int] = {}  # where the next row of each resource is
        self.run = compose_run(time=self.time, metadata={"scan_id": 7, **metadata})
        self.uid = self.run.start_doc["uid"]
        self.take("start", self.run.start_doc)

    def take(self, name: str, doc: Any) -> None:
        """Hand a document on."""
        self.documents.append((name, doc))
        for consumer in self.consumers:
            consumer(name, doc)

    def tick(self) -> float:
        """The next second."""
        self.time += 1.0
        return self.time

    def describe(
        self,
        stream: str = "primary",
        *,
        external: str | None = "STREAM:",
        shape: Sequence[int] = (1, ROWS, COLUMNS),
        keys: dict[str, Any] | None = None,
        **configuration: float | str,
    ) -> ComposeDescriptorBundle:
        """Describe the images, and begin a stream or change its configuration."""
        image: Any = {"source": "made", "dtype": "array", "shape": [*shape], "dtype_numpy": "<u2"}
        if external is not None:
            image["external"] = external
        number: Any = {"source": "made", "dtype": "number", "shape": []}
        settings: Any = {
            "data": configuration,
            "timestamps": dict.fromkeys(configuration, self.time),
            "data_keys": dict.fromkeys(configuration, number),
        }
        data_keys = {"det": image, **(keys or {})}
        bundle = self.run.compose_descriptor(
            stream,
            data_keys,
            time=self.tick(),
            object_keys={"camera": [*data_keys]},
            configuration={"camera": settings},
            validate=False,
        )
        self.take("descriptor", bundle.descriptor_doc)
        return bundle

    def file(self, path: Path, frames: Frames, **parameters: Any) -> Document:
        """Write frames into an HDF5 file, and announce it."""
        with h5py.File(path, "w") as file:
            file.create_dataset(DATASET, data=frames, chunks=(1, ROWS, COLUMNS))
        return self.resource(f"file://localhost{path}", HDF5, dataset=DATASET, **parameters)

    def resource(self, uri: str, mimetype: str, **parameters: Any) -> Document:
        """Announce files."""
        make: Any = self.run.compose_stream_resource
        bundle = make(mimetype=mimetype, uri=uri, data_key="det", parameters=parameters)
        resource: Document = bundle.stream_resource_doc
        self.take("stream_resource", resource)
        return resource

    def rows(
        self,
        bundle: ComposeDescriptorBundle,
        resource: Document,
        seq_nums: range,
        *,
        start: int | None = None,
        events: bool = True,
    ) -> None:
        """Announce rows of a file, each with its event, or all at once without any."""
        first = self.indices.get(resource["uid"], 0) if start is None else start
        for seq_num in seq_nums if events else seq_nums[:1]:
            count = 1 if events else len(seq_nums)
            datum = {
                "uid": f"{resource['uid']}/{first}",
                "stream_resource": resource["uid"],
                "descriptor": bundle.descriptor_doc["uid"],
                "indices": {"start": first, "stop": first + count},
                "seq_nums": {"start": seq_num, "stop": seq_num + count},
            }
            self.take("stream_datum", datum)
            first += count
            if events:
                self.event(bundle, seq_num)
        self.indices[resource["uid"]] = first
        if not events:
            self.run.compose_stop.event_counters[bundle.descriptor_doc["name"]] = seq_nums.stop

    def event(self, bundle: ComposeDescriptorBundle, seq_num: int, **data: Any) -> None:
        """Emit an event."""
        event = bundle.compose_event(
            data=data,
            timestamps=dict.fromkeys(data, self.time),
            seq_num=seq_num,
            time=self.tick(),
            filled={key: False for key, value in data.items() if isinstance(value, str)},
            validate=False,
        )
        self.run.compose_stop.event_counters[bundle.descriptor_doc["name"]] = seq_num + 1
        self.take("event", event)

    def stop(self, **options: Any) -> None:
        """End the run."""
        self.take("stop", self.run.compose_stop(time=self.tick(), **options))
