"""Which calibration the frames of a descriptor get: what is nearest to them, and never a guess."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bluesky_azint import Detector, Geometry, detector
from bluesky_azint.callbacks.resolve import ResolvedCalibration, resolve_calibration
from bluesky_azint.errors import AzintError, GeometryError, StoreError
from bluesky_azint.store import CalibrationRecord, DirectoryStore

NAN = float("nan")
SPECIAL = Detector(1e-4, 1e-4, shape=(30, 40), name="special")
MASK = np.zeros((30, 40), dtype=bool)
MASK[:3] = True

Resolve = Callable[..., ResolvedCalibration]


def geometry(dist: float) -> Geometry:
    return Geometry(detector=SPECIAL, dist=dist, poni1=0.01, poni2=0.02, wavelength=1e-10)


def record(name: str = "eiger", dist: float = 0.1, **changes: Any) -> CalibrationRecord:
    changes = {"valid_from": datetime(2026, 3, 1, tzinfo=UTC), **changes}
    return CalibrationRecord(detector=name, geometry=geometry(dist), mask=MASK, **changes)


def signals(prefix: str = "geometry-", **changes: Any) -> dict[str, Any]:
    values = {
        "dist": 0.5, "poni1": 0.01, "poni2": 0.02, "rot1": 0.1, "rot2": NAN, "rot3": 0.0,
        "wavelength": 2e-10, "detector": "Pilatus1M", "calibration_uid": "", **changes,
    }  # fmt: skip
    return {f"{prefix}{name}": value for name, value in values.items()}


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


@pytest.fixture
def resolve(store: DirectoryStore) -> Resolve:
    """``resolve(configuration of devices)`` for the images of the detector ``eiger``."""

    def resolve(
        start: dict[str, Any] | None = None, data_key: str = "image", **configuration: Any
    ) -> ResolvedCalibration:
        options: dict[str, Any] = {"store": store}
        if "default" in (start or {}):
            options["default"] = (start or {}).pop("default")
        if "store" in (start or {}):
            options["store"] = (start or {}).pop("store")
        image = {"source": "test", "dtype": "array", "shape": [1, 30, 40]}
        descriptor: Any = {
            "data_keys": {"image": image, "other_image": image, "motor": {"shape": []}},
            "object_keys": {"eiger": ["image"], "other": ["other_image"], "motor": ["motor"]},
            "configuration": {name: {"data": data} for name, data in configuration.items()},
        }
        raw_start: Any = {"uid": "raw", "time": datetime(2026, 6, 1, tzinfo=UTC).timestamp()}
        return resolve_calibration(descriptor, raw_start | (start or {}), data_key, **options)

    return resolve


@pytest.mark.parametrize("prefix", ["geometry-", "geometry_", "eiger-geometry-", ""])
@pytest.mark.parametrize("device", ["eiger", "geometry"])
def test_signals_come_first(
    resolve: Resolve, store: DirectoryStore, prefix: str, device: str
) -> None:
    store.save(record())
    found = resolve({"default": geometry(9.0)}, **{device: signals(prefix)})
    assert found.geometry == Geometry(
        detector=detector("Pilatus1M"),
        dist=0.5, poni1=0.01, poni2=0.02, rot1=0.1, wavelength=2e-10,
    )  # fmt: skip
    assert "signals" in found.origin
    assert found.detector == "eiger"
    assert (found.mask, found.calibration_uid) == (None, None)


def test_signals_with_a_calibration_bring_its_mask_and_its_detector(
    resolve: Resolve, store: DirectoryStore
) -> None:
    store.save(record(uid="c1"))
    found = resolve(eiger=signals(calibration_uid="c1", detector=""))
    assert found.geometry.dist == 0.5
    assert found.geometry.detector == SPECIAL
    assert np.array_equal(found.mask, MASK)  # type: ignore[arg-type]
    assert found.calibration_uid == "c1"


def test_signals_of_another_detector_are_not_taken(resolve: Resolve, store: DirectoryStore) -> None:
    store.save(record(dist=0.7))
    assert resolve(other=signals()).geometry.dist == 0.7
    assert resolve(data_key="other_image", other=signals()).geometry.dist == 0.5


def test_signals_that_were_never_set_leave_it_to_the_store(
    resolve: Resolve, store: DirectoryStore
) -> None:
    store.save(record(dist=0.7))
    unset = signals(dist=NAN, poni1=NAN, poni2=NAN, wavelength=NAN, detector="")
    assert resolve(eiger=unset).geometry.dist == 0.7
    assert resolve(eiger={"eiger-wavelength": 1e-10, "eiger-dist": 3.0}).geometry.dist == 0.7


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"eiger": signals(poni2=NAN)}, "no poni2"),
        ({"eiger": signals(detector="")}, "which model"),
        ({"eiger": signals(detector="Pilatus1N")}, "catalogue"),
        ({"eiger": signals() | signals("old_")}, r"2 geometries.*geometry-\*, old-\*"),
        ({"a": signals(), "b": signals("b-")}, "2 geometries"),
    ],
)
def test_half_a_geometry_is_refused(
    resolve: Resolve, store: DirectoryStore, configuration: dict[str, Any], message: str
) -> None:
    store.save(record())
    with pytest.raises(GeometryError, match=message):
        resolve(**configuration)


def test_a_calibration_that_the_documents_name_comes_before_the_latest(
    resolve: Resolve, store: DirectoryStore
) -> None:
    store.save(record(uid="old", dist=0.3, status="superseded"))
    store.save(record(uid="new", dist=0.4, valid_from=datetime(2026, 4, 1, tzinfo=UTC)))
    for found in (
        resolve({"calibration_uid": "old"}),
        resolve({"calibration_uid": {"eiger": "old", "other": "new"}}),
        resolve(eiger={"geometry-calibration_uid": "old"}),
        resolve(eiger=signals(dist=NAN, calibration_uid="old")),
        resolve({"calibration_uid": "new"}, eiger={"calibration_uid": "old"}),
    ):
        assert found.geometry.dist == 0.3
        assert found.calibration_uid == "old"
        assert "calibration_uid" in found.origin
        assert np.array_equal(found.mask, MASK)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("uid", "message"),
    [
        ("gone", "holds no calibration 'gone'"),
        ("bad", "was rejected"),
        ("pilatus", "for the detector 'pilatus', not for 'eiger'"),
    ],
)
def test_a_named_calibration_that_cannot_be_had_is_not_replaced(
    resolve: Resolve, store: DirectoryStore, uid: str, message: str
) -> None:
    store.save(record())
    store.save(record(uid="bad", status="rejected"))
    store.save(record("pilatus", uid="pilatus"))
    with pytest.raises(StoreError, match=message):
        resolve({"calibration_uid": uid, "default": geometry(1.0)})


def test_a_named_calibration_needs_a_store(resolve: Resolve) -> None:
    with pytest.raises(StoreError, match="no calibration store"):
        resolve({"calibration_uid": "c1", "store": None, "default": geometry(1.0)})


def test_the_store_gives_what_was_valid_when_the_run_started(
    resolve: Resolve, store: DirectoryStore
) -> None:
    for month, dist in ((1, 0.1), (5, 0.5), (7, 0.7)):
        store.save(record(dist=dist, valid_from=datetime(2026, month, 1, tzinfo=UTC)))
    store.save(record("other", dist=0.9))
    found = resolve({"default": geometry(1.0)})
    assert found.geometry.dist == 0.5  # of June 1st
    assert "2026-06-01" in found.origin


def test_a_store_that_fails_does_not_yield_to_the_default(
    resolve: Resolve, store: DirectoryStore
) -> None:
    store.save(record(uid="torn"))
    (path,) = store.path.glob("eiger/*.json")
    path.write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        resolve({"default": geometry(1.0)})


def test_the_default_is_last(resolve: Resolve) -> None:
    assert resolve({"default": geometry(0.6)}).geometry.dist == 0.6
    found = resolve({"default": record(uid="d", dist=0.8)})
    assert (found.geometry.dist, found.calibration_uid) == (0.8, "d")
    assert found.origin == "the default of the reducer"


def test_without_any_it_is_refused_with_a_cure(resolve: Resolve, store: DirectoryStore) -> None:
    store.save(record("pilatus"))
    store.save(record(valid_from=datetime(2026, 6, 2, tzinfo=UTC)))
    for options in ({}, {"store": None}):
        with pytest.raises(AzintError, match=r"'eiger'.*2026-06-01.*Calibrate the detector"):
            resolve(dict(options))


def test_the_mask_of_the_detector_and_the_added_one_count_together() -> None:
    masked = Detector(1e-4, 1e-4, mask=MASK.copy())
    more = MASK.copy()
    more[-1] = True
    both, own, none = (
        ResolvedCalibration(
            detector="d",
            geometry=Geometry(detector=of, dist=1.0),
            mask=added,
            origin="here",
        )
        for of, added in ((masked, more), (masked, None), (SPECIAL, None))
    )
    plain = ResolvedCalibration(
        detector="d", geometry=Geometry(detector=SPECIAL, dist=1.0), mask=more, origin="here"
    )
    assert both.mask_sha256 == plain.mask_sha256
    assert own.mask_sha256 not in (None, both.mask_sha256)
    assert none.mask_sha256 is None
    assert plain.key != none.key
