"""Fly scans, and whether plan servers can offer them."""

from __future__ import annotations

import ast
import inspect
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from bluesky import RunEngine
from bluesky.run_engine import RunEngineResult
from bluesky.utils import MsgGenerator
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimBlobDetector

from bluesky_azint.detectors import Detector
from bluesky_azint.devices import SimulatedDiffractionDetector
from bluesky_azint.errors import RecipeError
from bluesky_azint.geometry import Geometry
from bluesky_azint.plans import fly_frames

GEOMETRY = Geometry(
    dist=0.1, poni1=0.01, poni2=0.01, wavelength=4e-11,
    detector=Detector(pixel1=172e-6, pixel2=172e-6, shape=(100, 120)),
)  # fmt: skip


@pytest.fixture
def sim(run_engine: RunEngine, tmp_path: Path) -> SimulatedDiffractionDetector:
    """A detector."""
    with init_devices():
        sim = SimulatedDiffractionDetector(
            StaticPathProvider(UUIDFilenameProvider(), tmp_path), GEOMETRY
        )
    return sim


@pytest.fixture
def blob(run_engine: RunEngine, tmp_path: Path) -> SimBlobDetector:
    """Another one."""
    with init_devices():
        blob = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), tmp_path))
    return blob


def test_frames_arrive_complete_and_in_time(
    run_engine: RunEngine, sim: SimulatedDiffractionDetector
) -> None:
    documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
    start = time.monotonic()
    result = run_engine(
        fly_frames([sim], 200, rate=100.0, md={"sample": "CeO2"}),
        lambda name, document: documents[name].append(document),
    )
    assert 2.0 <= time.monotonic() - start < 4.0
    (run,) = documents["start"]
    assert isinstance(result, RunEngineResult)
    assert result.plan_result == run["uid"]
    assert run["sample"] == "CeO2"
    assert (run["plan_name"], run["detectors"], run["num_points"]) == ("fly_frames", ["sim"], 200)
    assert documents["stream_datum"][-1]["indices"]["stop"] == 200
    assert 3 <= len(documents["stream_datum"]) <= 6  # one per half second
    (descriptor,) = documents["descriptor"]
    exposure = descriptor["configuration"]["sim"]["data"]["sim-exposure_time"]
    assert exposure == pytest.approx(0.009)
    assert documents["stop"][0]["exit_status"] == "success"


def test_several_detectors_fly_together(
    run_engine: RunEngine, sim: SimulatedDiffractionDetector, blob: SimBlobDetector
) -> None:
    documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
    run_engine(
        fly_frames([sim, blob], 12, rate=40.0, flush_period=0.1),
        lambda name, document: documents[name].append(document),
    )
    (descriptor,) = documents["descriptor"]
    assert set(descriptor["data_keys"]) == {"sim", "blob", "blob-sum"}
    for resource in documents["stream_resource"]:
        stops = [
            datum["indices"]["stop"]
            for datum in documents["stream_datum"]
            if datum["stream_resource"] == resource["uid"]
        ]
        assert stops[-1] == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num": 0}, "0 frames at 10 per second"),
        ({"num": 5, "rate": 0.0}, "5 frames at 0 per second"),
        ({"num": 5, "rate": float("nan")}, "both numbers must be positive"),
        ({"num": 5, "rate": 2000.0}, "ask for less than 1000 per second"),
    ],
)
def test_what_cannot_be_taken(
    run_engine: RunEngine,
    sim: SimulatedDiffractionDetector,
    arguments: dict[str, Any],
    message: str,
) -> None:
    started: list[str] = []
    with pytest.raises(RecipeError, match=message):
        run_engine(fly_frames([sim], **arguments), lambda name, _: started.append(name))
    assert started == []  # refused before there is a run


def test_plan_servers_can_offer_it() -> None:
    """Everything is annotated, and every default is a literal: they refuse anything else."""
    hints = get_type_hints(fly_frames)
    parameters = inspect.signature(fly_frames).parameters
    assert set(hints) == {*parameters, "return"}
    assert hints["return"] == MsgGenerator[str]
    for parameter in parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            assert ast.literal_eval(repr(parameter.default)) == parameter.default
    assert list(parameters)[-1] == "md"
