"""Reduced runs whose patterns are inside of events, made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from event_model import compose_run
from numpy.typing import NDArray

from bluesky_azint.callbacks.documents import DEVICE, STAGE

RADIAL = np.linspace(1.0, 4.0, 30)
AZIMUTHAL = np.linspace(-150.0, 150.0, 6)


class InlineRun:
    """A reduced run whose documents go to a callback."""

    def __init__(
        self,
        emit: Callable[[str, Any], object],
        raw_uid: str,
        data_key: str = "det",
        *,
        calibrated: bool = True,
        uid: str | None = None,
        time: float | None = None,
        **metadata: Any,
    ) -> None:
        self.emit = emit
        self.run = compose_run(
            uid=uid,
            time=time,
            metadata={
                "analysis_stage": STAGE,
                "raw_uid": raw_uid,
                "raw_data_key": data_key,
                "scan_id": 7,
                **({"geometry": {}} if calibrated else {}),
                **metadata,
            },
        )
        self.uid = self.run.start_doc["uid"]
        emit("start", self.run.start_doc)

    def describe(
        self,
        name: str = "primary",
        *,
        radial: NDArray[Any] = RADIAL,
        azimuthal: NDArray[Any] | None = None,
        errors: bool = True,
    ) -> Callable[..., None]:
        """Emit a descriptor; what is returned emits an event of it."""
        axes = {"q": radial} if azimuthal is None else {"chi": azimuthal, "q": radial}
        shape = [values.size for values in axes.values()]
        pattern: Any = {"source": "test", "dtype": "array", "shape": shape, "dims": list(axes)}
        number: Any = {"source": "test", "dtype": "number", "shape": []}
        keys = {"intensity": pattern, "total": number, "raw_seq_num": number}
        keys |= {"sigma": pattern} if errors else {}
        data = {axis: values.tolist() for axis, values in axes.items()} | {"unit": "q_A^-1"}
        configuration: Any = {DEVICE: {"data": data, "timestamps": {}, "data_keys": {}}}
        bundle = self.run.compose_descriptor(
            name, keys, object_keys={DEVICE: list(keys)}, configuration=configuration
        )
        self.emit("descriptor", bundle.descriptor_doc)

        def take(seq_num: int, intensity: NDArray[Any], row: int | None = None) -> None:
            values = {"intensity": intensity.tolist(), "total": intensity.sum()}
            values |= {"sigma": np.sqrt(abs(intensity)).tolist()} if errors else {}
            values |= {"raw_seq_num": seq_num}
            event = bundle.compose_event(
                data=values,
                timestamps=dict.fromkeys(values, 0.0),
                seq_num=row or seq_num,
                time=1000.0 + seq_num,
                validate=False,
            )
            self.emit("event", event)

        return take

    def stop(self, exit_status: Any = "success", reason: str = "") -> None:
        """Emit the stop document."""
        self.emit("stop", self.run.compose_stop(exit_status=exit_status, reason=reason))
