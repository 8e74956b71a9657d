"""A fly scan as ophyd-async has them, and a bus that loses documents.

An HDF5 file grows in SWMR mode, and stream documents announce its frames, some at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
from event_model import ComposeStreamResource, compose_run

from tests.measures.beamline import DATASET, SHAPE, images

Publish = Callable[[str, Any], object]


@dataclass(kw_only=True)
class FlyScan:
    """A fly scan: its documents, and its file that grows.

    Parameters
    ----------
    path
        The file.
    frames
        How many.
    seconds
        How long it takes.
    publish
        Takes the documents.
    seed
        Of its chances.
    delay
        By how many seconds each frame is later in the file than its announcement.
    hidden
        By how many seconds the file appears later than the run ends.
    cut
        How many frames are taken, where it is broken off; None for all.
    exit_status
        How it ends.
    """

    path: Path
    frames: int
    seconds: float
    publish: Publish
    seed: int = 1
    delay: float = 0.0
    hidden: float = 0.0
    cut: int | None = None
    exit_status: str = "success"
    documents: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    uid: str = ""

    def run(self) -> None:
        """Take all frames, at the pace of the detector."""
        dice = random.Random(self.seed)
        written = self.path.with_suffix(".hidden") if self.hidden else self.path
        run = compose_run(metadata={"scan_id": self.seed, "plan_name": "fly"})
        self.uid = run.start_doc["uid"]
        self._tell("start", run.start_doc)
        key = {
            "source": "sim",
            "dtype": "array",
            "dtype_numpy": "<u2",
            "shape": [1, *SHAPE],
            "external": "STREAM:",
        }
        descriptor: Any = run.compose_descriptor(
            "primary",
            {"det": key},
            object_keys={"det": ["det"]},
        )
        self._tell("descriptor", descriptor.descriptor_doc)
        resource, compose_datum = ComposeStreamResource(run.start_doc)(
            mimetype="application/x-hdf5",
            uri=f"file://localhost{self.path}",
            data_key="det",
            parameters={"dataset": DATASET, "chunk_shape": [1, *SHAPE]},
        )
        self._tell("stream_resource", resource)
        total = self.frames if self.cut is None else self.cut
        told = taken = 0
        begin = time.monotonic()
        with h5py.File(written, "w", libver="latest") as file:
            data = file.create_dataset(
                DATASET, (0, *SHAPE), "<u2", maxshape=(None, *SHAPE), chunks=(1, *SHAPE)
            )
            file.swmr_mode = True
            while taken < total:
                now = time.monotonic() - begin
                due = min(int(self.frames * now / max(self.seconds, 1e-6)), total)
                in_file = min(int(self.frames * (now - self.delay) / self.seconds), due)
                if in_file > taken:
                    data.resize(in_file, axis=0)
                    data[taken:in_file] = images(taken, in_file, self.seed)
                    file.flush()
                    taken = in_file
                end = due if self.delay else taken
                if end > told:
                    self._tell(
                        "stream_datum",
                        compose_datum(
                            indices={"start": told, "stop": end},
                            seq_nums={"start": told + 1, "stop": end + 1},
                            descriptor=descriptor.descriptor_doc,
                            validate=False,
                        ),
                    )
                    told = end
                    if told == total:
                        run.compose_stop.event_counters["primary"] = told + 1
                        reason = "" if self.exit_status == "success" else "Somebody broke it off."
                        stop = run.compose_stop(exit_status=self.exit_status, reason=reason)  # type: ignore[arg-type]
                        self._tell("stop", stop)
                time.sleep(dice.uniform(0.02, 0.3) if told < total else 0.02)
        if self.hidden:
            time.sleep(self.hidden)
            written.rename(self.path)

    def _tell(self, name: str, doc: Any) -> None:
        self.documents.append((name, dict(doc)))
        self.publish(name, dict(doc))


class Lossy:
    """Drops documents on their way.

    Parameters
    ----------
    publish
        Takes the others.
    share
        How many are dropped.
    seed
        Of its chances.
    always
        Which kinds are always dropped.
    """

    def __init__(
        self, publish: Publish, share: float, seed: int, always: tuple[str, ...] = ()
    ) -> None:
        self._publish, self._share, self._always = publish, share, always
        self._dice = random.Random(seed)
        self.passed: list[str] = []
        self.dropped: list[str] = []

    def __call__(self, name: str, doc: Any) -> None:
        if name in self._always or self._dice.random() < self._share:
            self.dropped.append(name)
        else:
            self.passed.append(name)
            self._publish(name, doc)
