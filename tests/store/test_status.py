"""What every store promises of the status of a calibration, and of what belongs to it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.errors import StoreError
from bluesky_azint.parallax import Sensor
from bluesky_azint.pixels import Corners, Cylinder, Pixels, Shifted
from bluesky_azint.store import CalibrationRecord, CalibrationStore, DirectoryStore, TiledStore

Make = Callable[..., CalibrationRecord]
NIGHT = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NIGHT + timedelta(days=1)


@pytest.fixture
def make_record(make_record: Make) -> Make:
    """Make a calibration without masks, which are written anew each time."""
    plain = ba.Geometry(detector=ba.Detector(1e-4, 1e-4, (3, 4)), dist=0.1, wavelength=1e-10)
    return lambda **changes: make_record(**{"geometry": plain, "mask": None, **changes})


def used(store: CalibrationStore) -> str | None:
    """The uid of what is used later."""
    record = store.latest("eiger", LATER)
    return record.uid if record else None


def test_a_candidate_is_used_when_it_is_accepted(
    store: CalibrationStore, make_record: Make
) -> None:
    store.save(saved := make_record(uid="new", status="candidate"))
    assert used(store) is None
    before = datetime.now(UTC)
    accepted = store.accept("new", who="ada", why="it looks right")
    assert accepted.status == "accepted"
    assert used(store) == "new"
    (change,) = accepted.history
    assert (change.number, change.status, change.who, change.why) == (
        1, "accepted", "ada", "it looks right",
    )  # fmt: skip
    assert before <= change.at <= datetime.now(UTC)
    assert replace(accepted, status="candidate", history=()) == saved  # nothing else has changed
    assert accepted.geometry == saved.geometry


def test_the_history_is_kept(store: CalibrationStore, make_record: Make) -> None:
    store.save(make_record(uid="one", status="candidate"))
    store.save(make_record(uid="other"))
    store.accept("one")
    store.reject("one", why="the beam was off")
    store.reject("other", why="so it was")
    store.accept("one", who="bob")
    record = store.get("one")
    assert record.history == store.records(status="accepted")[0].history
    assert [(change.number, change.status) for change in record.history] == [
        (1, "accepted"),
        (2, "rejected"),
        (3, "accepted"),
    ]
    assert [change.why for change in record.history] == ["", "the beam was off", ""]
    assert record.history[0].who  # the user of this process
    assert record.history[2].who == "bob"
    assert store.get("other").status == "rejected"


def test_a_rejected_record_is_not_used(store: CalibrationStore, make_record: Make) -> None:
    store.save(make_record(uid="older", valid_from=NIGHT))
    store.save(make_record(uid="newer", valid_from=NIGHT + timedelta(hours=1)))
    assert used(store) == "newer"
    store.reject("newer", why="wrong")
    assert used(store) == "older"


def test_the_one_accepted_last_supersedes_the_others_of_its_moment(
    store: CalibrationStore, make_record: Make
) -> None:
    future = datetime.now(UTC) + timedelta(hours=1)  # the clock of another machine
    store.save(make_record(uid="a", created=future))
    store.save(make_record(uid="b", created=future - timedelta(hours=2), status="candidate"))
    store.save(make_record(uid="c", created=future - timedelta(hours=3)))
    store.save(make_record(uid="before", valid_from=NIGHT - timedelta(days=1)))

    def statuses() -> dict[str, str]:
        return {record.uid: record.status for record in store.records()}

    assert statuses() == {
        "a": "accepted", "b": "candidate", "c": "superseded", "before": "accepted",
    }  # fmt: skip
    assert store.get("c").status == "superseded"
    store.accept("b")
    assert (statuses()["a"], statuses()["b"], used(store)) == ("superseded", "accepted", "b")
    store.accept("a", why="b was worse")
    assert (statuses()["a"], statuses()["b"], used(store)) == ("accepted", "superseded", "a")
    store.reject("a", why="no, it was not")
    assert (statuses()["a"], statuses()["b"], used(store)) == ("rejected", "accepted", "b")
    assert statuses()["before"] == "accepted"  # scans of that day need it


def test_changes_that_are_refused(store: CalibrationStore, make_record: Make) -> None:
    store.save(make_record(uid="new"))
    with pytest.raises(StoreError, match="new is accepted already"):
        store.accept("new")
    with pytest.raises(StoreError, match="Tell why"):
        store.reject("new", why=" ")
    with pytest.raises(StoreError, match="no calibration 'old'"):
        store.accept("old")
    assert store.get("new").history == ()


def test_of_two_changes_the_second_is_refused(
    store: CalibrationStore, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(make_record(uid="new", status="candidate"))
    group = store._group("new")  # type: ignore[attr-defined] # what the second one has seen
    store.reject("new", why="I saw the rings")
    monkeypatch.setattr(store, "_group", lambda uid: group)
    with pytest.raises(StoreError, match="just changed the status of calibration new"):
        store.accept("new")
    monkeypatch.undo()
    assert store.get("new").status == "rejected"


@pytest.mark.parametrize("damage", ["garbage", "gone"])
def test_a_damaged_change_is_never_passed_over(
    store: CalibrationStore, make_record: Make, damage: str
) -> None:
    store.save(make_record(uid="older", valid_from=NIGHT))
    store.save(make_record(uid="newer", valid_from=LATER))
    store.reject("newer", why="wrong")
    store.accept("newer")
    first = "newer.0001"
    if isinstance(store, DirectoryStore):
        (path,) = store.path.rglob(f"{first}.json")
        path.write_text('{"status": "good"}') if damage == "garbage" else path.unlink()
    elif isinstance(store, TiledStore):
        if damage == "garbage":
            store.client["_changes", first].update_metadata({"at": "yesterday"})
        else:
            store.client["_changes"].delete_contents(first)
    for read in (
        lambda: store.latest("eiger", LATER),
        lambda: store.get("newer"),
        lambda: store.accept("newer"),
        store.records,
    ):
        with pytest.raises(StoreError, match=r"cannot be read|one is missing"):
            read()
    assert store.latest("eiger", NIGHT) == store.get("older")  # it does not matter there


def test_records_of_a_time_and_a_status(store: CalibrationStore, make_record: Make) -> None:
    hours = [NIGHT + timedelta(hours=hour) for hour in range(4)]
    for number, hour in enumerate(hours):
        store.save(make_record(uid=f"at-{number}", valid_from=hour, status="candidate"))
    store.save(make_record(uid="other", detector="pilatus", valid_from=hours[2]))
    store.accept("at-2")

    def uids(*detectors: str, **asked: object) -> list[str]:
        return [record.uid for record in store.records(*detectors, **asked)]  # type: ignore[arg-type]

    assert uids("eiger", since=hours[1], until=hours[2]) == ["at-1", "at-2"]
    assert uids(since=hours[2]) == ["at-2", "other", "at-3"]
    assert uids(until=hours[0]) == ["at-0"]
    assert uids(status="accepted") == ["at-2", "other"]
    assert uids("eiger", status="candidate", since=hours[3]) == ["at-3"]


def test_a_uid_may_be_abbreviated(store: CalibrationStore, make_record: Make) -> None:
    for uid in ("6f1c2a", "6f1c2a-long", "6f99"):
        store.save(make_record(uid=uid, mask=None))
    assert store.find("6f9").uid == "6f99"
    assert store.find("6f1c2a").uid == "6f1c2a"
    with pytest.raises(StoreError, match=r"Several .* begin with '6f1': 6f1c2a, 6f1c2a-long\."):
        store.find("6f1")
    for nothing in ("7", ""):
        with pytest.raises(StoreError, match="no calibration"):
            store.find(nothing)


def test_files_come_back(store: CalibrationStore, make_record: Make) -> None:
    files = {"report.html": b"<p>&#956;</p>", "rings.png": bytes(range(256)), "same.png": b"\x00"}
    store.save(make_record(uid="one", files=files))
    store.save(make_record(uid="two", files={"report.html": files["report.html"]}))
    found = store.latest("eiger", LATER)
    assert found is not None
    assert dict(store.get("one").files) == files
    assert dict(found.files) == {"report.html": files["report.html"]}
    assert store.get("one") == make_record(
        uid="one", files=files, created=store.get("one").created, status="superseded"
    )


def test_a_damaged_file_is_never_shown(store: CalibrationStore, make_record: Make) -> None:
    store.save(make_record(uid="one", files={"report.html": b"good"}))
    record = store.get("one")
    digest = next(iter(record.contents))
    if isinstance(store, DirectoryStore):
        (path,) = store.path.rglob(digest)
        path.write_bytes(b"evil")
    elif isinstance(store, TiledStore):
        store.client["_files", digest].write(np.frombuffer(b"evil", np.uint8))
    with pytest.raises(StoreError, match=f"{digest} is damaged"):
        store.get("one").files["report.html"]
    assert store.latest("eiger", LATER) == record  # the reduction does not need it
    store.save(make_record(uid="two", files={"report.html": b"good"}))  # which mends it
    assert store.get("one").files["report.html"] == b"good"


@pytest.mark.parametrize(
    "pixels",
    [
        Cylinder((3, 4), 1e-4, 2e-4, 0.3),
        Shifted(1e-4, 1e-4, np.full((3, 4), 0.1), np.eye(3, 4)),
        Corners(np.arange(3 * 4 * 4 * 3, dtype=np.float32).reshape(3, 4, 4, 3)),
    ],
    ids=["cylinder", "shifted", "corners"],
)
def test_pixels_and_a_sensor_come_back(
    store: CalibrationStore, make_record: Make, pixels: Pixels
) -> None:
    detector = ba.Detector(1e-4, 1e-4, pixels=pixels, sensor=Sensor("Si", 450e-6))
    record = make_record(geometry=replace(make_record().geometry, detector=detector), mask=None)
    store.save(record)
    assert store.get(record.uid).geometry == record.geometry


def test_parallax_and_the_file_of_a_detector_come_back(
    store: CalibrationStore, make_record: Make
) -> None:
    detector = ba.Detector(
        1e-4, 1e-4, (3, 4), sensor=Sensor("CdTe"), described_in=(("filename", "gone.h5"),)
    )
    geometry = ba.Geometry(detector=detector, wavelength=1e-10, parallax=True)
    store.save(record := make_record(geometry=geometry, mask=None))
    found = store.get(record.uid).geometry
    assert found == geometry
    assert found.detector.described_in == detector.described_in
