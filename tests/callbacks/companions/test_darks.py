"""Darks: averaged, kept, chosen by age and exposure, and scaled."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.companions.conditions import Conditions
from bluesky_azint.callbacks.companions.config import CompanionsConfig
from bluesky_azint.callbacks.companions.darks import DarkLabel, DarkMean
from bluesky_azint.callbacks.companions.shelf import DarkShelf
from bluesky_azint.errors import FormatError
from tests.callbacks.companions.raw_runs import NUMBER, SHAPE, RawRun, feed, only

LABEL = DarkLabel(data_key="det", shape=SHAPE, raw_uid="raw", number=1, time=1000.0, frames=1)
HOUR = 3600.0


def companions(directory: Path | None = None, **dark: Any) -> Companions:
    """Companions that want darks of the exposure of the frames."""
    config = CompanionsConfig.from_dict({"exposure": "seconds", "dark": dark})
    return Companions(config, directory=directory, timeout=0.0)


def flat_frames(*values: float) -> NDArray[np.uint16]:
    """Frames, each of one value."""
    return np.array([np.full(SHAPE, value) for value in values], dtype=np.uint16)


def begin(given: Companions, raw_run: RawRun, seconds: float, name: str = "primary") -> None:
    """Begin a stream of a run with frames of that exposure."""
    descriptor = raw_run.descriptor(name, configuration={"seconds": seconds})
    feed(given, ("start", raw_run.start), ("descriptor", descriptor))


def take(given: Companions, raw_run: RawRun, *values: float, seconds: float = 1.0) -> None:
    """Take dark frames into the stream ``dark``."""
    begin(given, raw_run, seconds, "dark")
    seq_nums = range(1, len(values) + 1)
    batch = raw_run.batch(*seq_nums, frames=flat_frames(*values), name="dark")
    assert given.is_dark(batch.descriptor)
    given.take_darks(batch)


def dark_run(given: Companions, directory: Path, uid: str, time: float, *values: float) -> None:
    """A run of nothing but dark frames of one second."""
    run = RawRun(directory, uid, time=time, purpose="dark")
    begin(given, run, 1.0)
    batch = run.batch(*range(1, len(values) + 1), frames=flat_frames(*values))
    assert given.is_dark(batch.descriptor)
    given.take_darks(batch)
    feed(given, ("stop", run.stop))


def conditions(
    given: Companions, raw_run: RawRun, seconds: float = 1.0, event: int = 1
) -> Conditions:
    """The conditions of a frame of that exposure in the stream ``primary``."""
    begin(given, raw_run, seconds)
    feed(given, ("stream_resource", raw_run.resource()), ("stream_datum", raw_run.datum(event)))
    batch = raw_run.batch(event)
    assert not given.is_dark(batch.descriptor)
    [(_, found)] = given.conditions(batch)
    return found


def mean_of(found: Conditions) -> float:
    """The value of a dark that is the same everywhere."""
    assert found.problem == ""
    assert found.dark is not None
    assert np.ptp(found.dark.mean) == 0
    return float(found.dark.mean[0, 0])


def test_the_mean_and_its_variance_are_those_of_numpy() -> None:
    frames = np.random.default_rng(0).poisson(4e9, (7, 5, 3)).astype(np.uint64)
    mean = DarkMean()
    for frame in frames:
        mean.add(frame)
    dark = mean.dark(LABEL)
    assert dark.label.frames == 7
    np.testing.assert_allclose(dark.mean, frames.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(dark.variance, frames.var(axis=0, ddof=1) / 7, rtol=1e-6)


def test_one_dark_frame_has_the_variance_of_counted_photons() -> None:
    mean = DarkMean()
    mean.add(np.array([[9, -4]], dtype=np.int32))
    dark = mean.dark(LABEL)
    assert dark.mean.tolist() == [[9.0, -4.0]]
    assert dark.variance.tolist() == [[9.0, 0.0]]


def test_bad_pixels_of_a_frame_are_left_out() -> None:
    mean = DarkMean()
    for row in ([65535, 65535, 3, 2], [10, 65535, 5, 2], [14, 65535, 65535, 2]):
        mean.add(np.array([row], dtype=np.uint16))
    dark = mean.dark(LABEL)
    np.testing.assert_array_equal(dark.mean, [[12.0, np.nan, 4.0, 2.0]])
    np.testing.assert_array_equal(dark.variance, [[4.0, np.nan, 1.0, 0.0]])
    floats = DarkMean()
    floats.add(np.array([[np.nan, np.inf, 1.5]]))
    np.testing.assert_array_equal(floats.dark(LABEL).mean, [[np.nan, np.nan, 1.5]])


def test_frames_get_the_dark_of_their_run(raw_run: RawRun) -> None:
    given = companions()
    take(given, raw_run, 10, 14)
    found = conditions(given, raw_run)
    assert mean_of(found) == 12.0
    assert found.maps["dark_variance"] is not None
    assert found.maps["dark_variance"][0, 0] == 4.0  # 8 / 2
    assert found.provenance["dark"]["raw_uid"] == "raw"
    assert found.provenance["dark"]["frames"] == 2


def test_the_same_dark_frame_twice_counts_once(raw_run: RawRun) -> None:
    given = companions()
    take(given, raw_run, 10, 14)
    take(given, raw_run, 10, 14)
    found = conditions(given, raw_run)
    assert found.dark is not None
    assert found.dark.label.frames == 2


def test_frames_get_the_darks_that_were_taken_last_before_them(raw_run: RawRun) -> None:
    given = companions()
    take(given, raw_run, 10, 14)
    first = conditions(given, raw_run)
    more = raw_run.batch(3, 4, frames=flat_frames(30, 32), name="dark")
    given.take_darks(more)
    second = conditions(given, raw_run, event=2)
    assert (mean_of(first), mean_of(second)) == (12.0, 31.0)
    assert first.key != second.key
    assert conditions(given, raw_run, event=1).key == first.key, "read again later"
    parts = given.conditions(raw_run.batch(1, 2))
    assert [found.key for _, found in parts] == [first.key, second.key]


def test_a_dark_of_another_exposure_is_scaled_where_that_is_allowed(raw_run: RawRun) -> None:
    given = companions(scale=True)
    take(given, raw_run, 10, 14)
    found = conditions(given, raw_run, 0.25)
    assert mean_of(found) == 3.0
    assert found.dark is not None
    assert found.dark.variance[0, 0] == 4.0 / 16
    assert found.provenance["dark"]["scale"] == 0.25
    assert mean_of(conditions(given, raw_run, 0.25)) == 3.0


def test_a_dark_of_another_exposure_is_refused_otherwise(raw_run: RawRun) -> None:
    given = companions(exposure_tolerance=0.02)
    take(given, raw_run, 10, 14)
    feed(given, ("stop", raw_run.stop))
    found = conditions(given, RawRun(raw_run.directory, "other"), 0.25)
    assert "no dark of 'det' for an exposure of 0.25 s" in found.problem
    assert "1 s, 0.0 h before (run raw)" in found.problem
    assert "dark.scale" in found.problem
    near = conditions(given, RawRun(raw_run.directory, "near"), 1.015)
    assert mean_of(near) == 12.0


def test_each_exposure_of_a_run_has_its_dark(raw_run: RawRun) -> None:
    given = companions()
    feed(given, ("start", raw_run.start))
    feed(given, ("descriptor", raw_run.descriptor("dark", seconds=NUMBER)))
    feed(given, ("descriptor", raw_run.descriptor(seconds=NUMBER)))
    for n, seconds in ((1, 1.0), (2, 1.0), (3, 5.0)):
        feed(given, ("event", raw_run.event(n, name="dark", seconds=seconds)))
    given.take_darks(raw_run.batch(1, 2, 3, frames=flat_frames(10, 14, 50), name="dark"))
    feed(given, *(("event", raw_run.event(n, seconds=s)) for n, s in ((1, 5.0), (2, 1.0))))
    feed(given, ("stream_datum", raw_run.datum(1, 2)))
    first, second = given.conditions(raw_run.batch(1, 2))
    assert [mean_of(found) for _, found in (first, second)] == [50.0, 12.0]


def test_the_last_dark_run_serves_later_runs_and_other_processes(
    raw_run: RawRun, tmp_path: Path
) -> None:
    shelf = tmp_path / "darks"
    given = companions(shelf)
    dark_run(given, tmp_path, "older", 1000.0 - 2 * HOUR, 1)
    dark_run(given, tmp_path, "old", 1000.0 - HOUR, 10, 14)
    dark_run(given, tmp_path, "future", 1000.0 + HOUR, 99)
    assert mean_of(conditions(given, raw_run)) == 12.0
    again = conditions(companions(shelf), raw_run)
    assert mean_of(again) == 12.0
    assert again.provenance["dark"]["raw_uid"] == "old"
    refused = conditions(companions(shelf, max_age=HOUR / 2), raw_run)
    assert "younger than 0.5 h" in refused.problem


def test_a_dark_that_is_taken_after_the_frames_is_the_last_resort(
    raw_run: RawRun, tmp_path: Path
) -> None:
    given = companions(tmp_path / "darks")
    assert "none were kept" in conditions(given, raw_run).problem
    take(given, raw_run, 10, 14)
    feed(given, ("stop", raw_run.stop))
    assert mean_of(conditions(given, raw_run)) == 12.0
    feed(given, ("stop", raw_run.stop))
    dark_run(given, tmp_path, "old", 1000.0 - HOUR, 7)
    assert mean_of(conditions(given, raw_run)) == 7.0


def test_a_dark_of_another_shape_is_none(raw_run: RawRun) -> None:
    given = companions()
    take(given, raw_run, 10, 14)
    begin(given, raw_run, 1.0)
    batch = replace(raw_run.batch(1), frames=np.ones((1, 2, 2), dtype=np.uint16))
    [(_, found)] = given.conditions(batch)
    assert "There is no dark of 'det'" in found.problem


def test_the_shelf_keeps_the_youngest(tmp_path: Path) -> None:
    shelf = DarkShelf(tmp_path, keep=2)
    mean = DarkMean()
    mean.add(np.full(SHAPE, 3.0))
    hostile = "../../etc/\u0000passwd"
    for label in (
        *(replace(LABEL, raw_uid=f"{n}", time=float(n)) for n in (5, 3, 9, 1)),
        replace(LABEL, data_key=hostile, raw_uid=hostile),
    ):
        shelf.put(mean.dark(label))
    files = sorted(tmp_path.rglob("*"))
    assert len(files) == 3
    assert all(file.parent == tmp_path and file.suffix == ".npz" for file in files)
    fresh = DarkShelf(tmp_path, keep=2)
    labels = fresh.labels("det", SHAPE)
    assert [label.time for label in labels] == [5.0, 9.0]
    assert fresh.get(labels[0]).mean.tolist() == np.full(SHAPE, 3.0).tolist()
    assert [label.raw_uid for label in fresh.labels(hostile, SHAPE)] == [hostile]


def test_a_damaged_file_is_left_alone_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = DarkShelf(tmp_path, keep=2)
    mean = DarkMean()
    mean.add(np.full(SHAPE, 3.0))
    shelf.put(mean.dark(LABEL))
    [file] = tmp_path.iterdir()
    whole = file.read_bytes()
    known = DarkShelf(tmp_path, keep=2)
    [label] = known.labels("det", SHAPE)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="cannot be read"):
        known.get(label)
    assert DarkShelf(tmp_path, keep=2).labels("det", SHAPE) == []
    assert "is no dark frame that can be used" in caplog.text


def test_where_no_file_can_be_written_the_dark_stays_in_memory(
    raw_run: RawRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    given = companions(blocked)
    with caplog.at_level(logging.ERROR):
        take(given, raw_run, 10, 14)
        assert mean_of(conditions(given, raw_run)) == 12.0
    assert "cannot be kept" in caplog.text


def test_darks_do_not_matter_where_none_are_wanted(raw_run: RawRun) -> None:
    given = Companions(CompanionsConfig())
    begin(given, raw_run, 1.0, "dark")
    assert not given.is_dark("raw/dark")
    begin(given, raw_run, 1.0)
    assert only(given.conditions(raw_run.batch(1))).dark is None
