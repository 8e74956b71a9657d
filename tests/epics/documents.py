"""Documents of reduced runs in the inline flavour, as `EventOutput` makes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from event_model import compose_run

Named = tuple[str, dict[str, Any]]

TIME = 1.7e9  # of the first frame


def pattern(number: int, npt: int, rows: int = 0) -> list[Any]:
    """The pattern of a frame, which no other one has; with rows, a cake."""
    values = number + np.linspace(0.0, 1.0, max(rows, 1) * npt)
    nested: list[Any] = (values.reshape(rows, npt) if rows else values).tolist()
    return nested


def reduced_run(
    data_key: str,
    *,
    patterns: int,
    npt: int,
    rows: int = 0,
    streams: tuple[str, ...] = ("primary",),
    recipes: tuple[str, ...] = (),
    sigma: bool = True,
    empty: bool = False,
    exit_status: Any = "success",
    reason: str = "",
) -> Iterator[Named]:
    """The documents of a run; its frames are numbered from 1."""
    metadata = {"raw_uid": "uid of the raw run", "raw_data_key": data_key}
    run = compose_run(metadata=metadata | ({"recipes": dict.fromkeys(recipes)} if recipes else {}))
    yield "start", dict(run.start_doc)
    axes = {"q": np.linspace(1.0, 2.0, npt)} | ({"chi": np.arange(rows) * 10.0} if rows else {})
    values: dict[str, Any] = {name: axis.tolist() for name, axis in axes.items()}
    key: Any = {
        "source": "test",
        "dtype": "array",
        "shape": [rows, npt] if rows else [npt],
        "dims": ["chi", "q"] if rows else ["q"],
    }
    number: Any = {"source": "test", "dtype": "number", "shape": []}
    keys = {"intensity": key, **({"sigma": key} if sigma else {})}
    keys |= dict.fromkeys(("total", "peak", "raw_seq_num"), number)
    units = {"q": "1/angstrom", "chi": "deg"}
    bundles = [
        run.compose_descriptor(
            stream,
            keys,
            configuration={
                "azint": {
                    "data": values | {"unit": "q_A^-1"},
                    "timestamps": {},
                    "data_keys": {
                        name: {**number, "shape": [axis.size], "units": units[name]}
                        for name, axis in axes.items()
                    },
                }
            },
            validate=False,
        )
        for stream in streams
    ]
    for bundle in bundles:
        yield "descriptor", dict(bundle.descriptor_doc)
    for index in range(patterns):
        for bundle in bundles:
            data: dict[str, Any] = {
                "intensity": np.full((npt,), np.nan).tolist()
                if empty
                else pattern(index + 1, npt, rows),
                "total": 100.0 + index,
                "peak": np.nan if empty else 2.0,
                "raw_seq_num": index + 1,
            }
            if sigma:
                data["sigma"] = pattern(-index, npt, rows)
            yield (
                "event",
                dict(
                    bundle.compose_event(
                        data=data,
                        timestamps=dict.fromkeys(data, TIME + index),
                        time=TIME + index,
                        validate=False,
                    )
                ),
            )
    yield "stop", dict(run.compose_stop(exit_status=exit_status, reason=reason))
