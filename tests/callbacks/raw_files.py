"""Raw runs with frames in files, for tests that only need their documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
from event_model import ComposeStreamResource, compose_run
from numpy.typing import NDArray

Documents = list[tuple[str, dict[str, Any]]]


def announced_run(
    path: Path, frames: NDArray[Any], *, step: int, uid: str | None = None
) -> Documents:
    """The documents of a fly scan whose frames lie in a file, which is written."""
    with h5py.File(path, "w") as file:
        file["/entry/data/data"] = frames
    run = compose_run(uid=uid, metadata={"scan_id": 7})
    image = {
        "source": "test",
        "dtype": "array",
        "dtype_numpy": frames.dtype.str,
        "shape": list(frames.shape[1:]),
        "external": "STREAM:",
    }
    descriptor: Any = run.compose_descriptor(
        "primary",
        {"det": image},
        object_keys={"det": ["det"]},
    )
    resource, compose_datum = ComposeStreamResource(run.start_doc)(
        mimetype="application/x-hdf5",
        uri=f"file://localhost{path}",
        data_key="det",
        parameters={"dataset": "/entry/data/data", "chunk_shape": [1, *frames.shape[1:]]},
    )
    documents: Documents = [
        ("start", dict(run.start_doc)),
        ("descriptor", dict(descriptor.descriptor_doc)),
        ("stream_resource", dict(resource)),
    ]
    for start in range(0, len(frames), step):
        stop = min(start + step, len(frames))
        datum = compose_datum(
            indices={"start": start, "stop": stop},
            seq_nums={"start": start + 1, "stop": stop + 1},
            descriptor=descriptor.descriptor_doc,
            validate=False,
        )
        documents.append(("stream_datum", dict(datum)))
    run.compose_stop.event_counters["primary"] = len(frames) + 1
    documents.append(("stop", dict(run.compose_stop())))
    return documents
