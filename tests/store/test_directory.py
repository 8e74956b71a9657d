"""The store in a folder: what stands there, and what happens when it is damaged."""

import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from bluesky_azint.errors import StoreError
from bluesky_azint.geometry import Geometry
from bluesky_azint.store import CalibrationRecord, DirectoryStore

Make = Callable[..., CalibrationRecord]
MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
EVENING = MORNING + timedelta(hours=10)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    """An empty store."""
    return DirectoryStore(tmp_path / "calibrations")


def only(store: DirectoryStore, pattern: str) -> Path:
    """The one file of that name."""
    (path,) = store.path.rglob(pattern)
    return path


def test_what_stands_in_the_folder(store: DirectoryStore, make_record: Make) -> None:
    store.save(record := make_record(uid="abc"))
    store.save(make_record(uid="def", valid_from=EVENING))
    files = sorted(str(p.relative_to(store.path)) for p in store.path.rglob("*") if p.is_file())
    assert files == [
        "eiger/2026-03-01T08-00-00.000000Z_abc.json",
        "eiger/2026-03-01T08-00-00.000000Z_abc.poni",
        "eiger/2026-03-01T18-00-00.000000Z_def.json",
        "eiger/2026-03-01T18-00-00.000000Z_def.poni",
        *sorted(f"eiger/masks/{digest}.npz" for digest in record.masks),  # each only once
    ]
    poni = Geometry.from_poni(only(store, "*abc.poni"))
    assert (poni.dist, poni.poni2, poni.wavelength) == (
        record.geometry.dist,
        record.geometry.poni2,
        record.geometry.wavelength,
    )


def test_a_session_may_change_folders(
    make_record: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = DirectoryStore("calibrations")
    store.save(record := make_record())
    monkeypatch.chdir("calibrations")
    assert store.get(record.uid) == record


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe"])
def test_a_damaged_record_is_never_passed_over(
    store: DirectoryStore, make_record: Make, content: bytes
) -> None:
    store.save(older := make_record(valid_from=MORNING))
    store.save(newer := make_record(valid_from=EVENING))
    path = only(store, f"*{newer.uid}.json")
    path.write_bytes(content)
    for read in (
        lambda: store.get(newer.uid),
        lambda: store.latest("eiger", EVENING),
        store.records,
    ):
        with pytest.raises(StoreError, match=f"{newer.uid}.json cannot be read"):
            read()
    assert store.latest("eiger", MORNING) == older  # the damaged one does not matter there
    path.unlink()  # the cure that the error names
    assert store.latest("eiger", EVENING) == older


@pytest.mark.parametrize("damage", ["another", "truncated", "garbage", "gone"])
def test_a_damaged_mask_is_never_used(
    store: DirectoryStore, make_record: Make, damage: str
) -> None:
    store.save(record := make_record())
    path = max(store.path.rglob("*.npz"))
    if damage == "another":
        np.savez_compressed(path, mask=np.zeros((31, 47), bool))
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-30])
    elif damage == "garbage":
        path.write_bytes(b"\x80\x04garbage")
    else:
        path.unlink()
    with pytest.raises(StoreError, match=path.name):
        store.latest("eiger", EVENING)
    store.save(make_record(valid_from=EVENING))  # with the same masks, which mends the file
    assert store.get(record.uid) == record


def test_a_record_under_a_wrong_name_is_refused(store: DirectoryStore, make_record: Make) -> None:
    store.save(make_record(uid="abc"))
    path = only(store, "*.json")
    later = path.rename(path.with_name("2026-03-02T08-00-00.000000Z_abc.json"))
    with pytest.raises(StoreError, match=r"belongs in eiger/2026-03-01T08-00-00\.000000Z_abc"):
        store.latest("eiger", EVENING + timedelta(days=2))
    later.rename(path.with_name("copy of abc.json"))
    with pytest.raises(StoreError, match="not named like a calibration record"):
        store.latest("eiger", EVENING)


def test_a_record_in_the_folder_of_another_detector_is_refused(
    store: DirectoryStore, make_record: Make
) -> None:
    store.save(make_record(uid="abc"))
    only(store, "eiger").rename(store.path / "pilatus")
    with pytest.raises(StoreError, match="belongs in eiger/"):
        store.latest("pilatus", EVENING)


def test_a_detector_cannot_leave_the_folder(store: DirectoryStore, make_record: Make) -> None:
    for name in ("../outside", "/tmp/outside", "..", "a\\b", "C:x"):
        store.save(make_record(detector=name))
    assert [path.name for path in store.path.parent.iterdir()] == [store.path.name]
    assert len(list(store.path.iterdir())) == 5


def test_a_writer_that_dies_leaves_nothing_to_read(
    store: DirectoryStore, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(record := make_record())

    def die(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "hardlink_to", die)
        with pytest.raises(OSError, match="No space left"):
            store.save(make_record(valid_from=EVENING))
    assert store.latest("eiger", EVENING) == record
    assert list(store.path.rglob("*.tmp")) == []


def save_in_process(
    store: DirectoryStore, record: CalibrationRecord, start: object, wins: object
) -> None:
    """Save at the same moment as others, and tell whether it was accepted."""
    start.wait()  # type: ignore[attr-defined]
    try:
        store.save(record)
    except StoreError:
        return
    with wins.get_lock():  # type: ignore[attr-defined]
        wins.value += 1  # type: ignore[attr-defined]


def test_of_several_writers_one_wins(store: DirectoryStore, make_record: Make) -> None:
    records = [make_record(uid="same", metadata={"writer": n}) for n in range(3)]
    context = multiprocessing.get_context("spawn")
    start, wins = context.Barrier(3), context.Value("i", 0)
    processes = [
        context.Process(target=save_in_process, args=(store, record, start, wins))
        for record in records
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        process.close()
    assert wins.value == 1
    assert store.get("same") in records
