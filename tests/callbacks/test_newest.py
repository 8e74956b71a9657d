"""The newest patterns, as documents tell them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from event_model import pack_event_page

from bluesky_azint.callbacks.newest import NewestPatterns
from tests.epics.documents import TIME, pattern, reduced_run


def newest(*runs: Any) -> NewestPatterns:
    """What is newest after some runs."""
    patterns = NewestPatterns()
    for run in runs:
        for name, doc in run:
            set(patterns.take(name, doc))
    return patterns


def test_the_last_pattern_and_how_the_run_went_on() -> None:
    patterns = NewestPatterns()
    changes = [list(patterns.take(*named)) for named in reduced_run("img", patterns=3, npt=5)]
    assert changes == [["img"], [], ["img"], ["img"], ["img"], ["img"]]
    shown, progress = patterns["img"].pattern, patterns["img"].progress
    assert shown.intensity == pattern(3, 5)
    assert shown.sigma == pattern(-2, 5)
    assert (shown.seq_num, shown.raw_uid, shown.time) == (3, "uid of the raw run", TIME + 2)
    assert (shown.total, shown.peak, shown.valid) == (102.0, 2.0, True)
    assert shown.axes.centres == ([1.0, 1.25, 1.5, 1.75, 2.0],)
    assert (shown.axes.unit, shown.axes.units) == ("q_A^-1", "1/angstrom")
    assert (progress.frames_done, progress.state, progress.message) == (3, "idle", "")


def test_a_run_that_goes_on() -> None:
    *documents, _ = reduced_run("img", patterns=2, npt=5)
    progress = newest(documents)["img"].progress
    assert (progress.frames_done, progress.state) == (2, "reducing")
    following = reduced_run("img", patterns=0, npt=5)
    after = newest(documents, [next(following)])["img"]
    assert (after.progress.frames_done, after.progress.state) == (0, "reducing")
    assert after.pattern.seq_num == 2  # shown until there is another


def test_pages_of_events() -> None:
    documents = list(reduced_run("img", patterns=4, npt=5))
    events = [doc for name, doc in documents if name == "event"]
    page = pack_event_page(*events)  # type: ignore[arg-type]
    shown = newest([*documents[:2], ("event_page", page), documents[-1]])["img"]
    assert (shown.pattern.seq_num, shown.progress.frames_done) == (4, 4)
    assert shown.pattern.intensity == pattern(4, 5)


def test_each_recipe_has_a_place() -> None:
    shown = newest(
        reduced_run(
            "img",
            patterns=2,
            npt=5,
            streams=("primary", "primary_sectors", "other"),
            recipes=("pattern", "sectors"),
        )
    )
    assert shown.keys() == {"img", "img:sectors"}
    assert [shown[place].progress.frames_done for place in ("img", "img:sectors")] == [4, 2]
    assert {newest.progress.state for newest in shown.values()} == {"idle"}


def test_a_run_that_fails_without_a_pattern_shows_none() -> None:
    good = list(reduced_run("img", patterns=2, npt=5))
    refused = reduced_run("img", patterns=0, npt=5, exit_status="fail", reason="No calibration.")
    shown = newest(good, refused)["img"]
    assert (shown.progress.state, shown.progress.message) == ("failed", "No calibration.")
    assert not shown.pattern.valid


def test_a_run_that_fails_later_shows_its_last_pattern() -> None:
    shown = newest(reduced_run("img", patterns=2, npt=5, exit_status="fail"))["img"]
    assert shown.progress.state == "failed"
    assert shown.pattern.valid
    assert (
        newest(reduced_run("img", patterns=1, npt=5, exit_status="abort"))["img"].progress.state
        == "idle"
    )


def test_an_empty_pattern_is_none() -> None:
    shown = newest(reduced_run("img", patterns=1, npt=5, empty=True))["img"].pattern
    assert not shown.valid
    assert np.isnan(shown.intensity).all()


def test_a_run_that_ends_after_the_next_has_begun() -> None:
    first = list(reduced_run("img", patterns=1, npt=5, exit_status="fail"))
    second = list(reduced_run("img", patterns=2, npt=5))
    progress = newest(first[:-1], second[:-1], first[-1:])["img"].progress
    assert (progress.frames_done, progress.state) == (2, "reducing")


def test_a_pattern_that_comes_late_is_not_the_newest() -> None:
    begin, describe, (name, late), _ = reduced_run("img", patterns=1, npt=5)
    late = {**late, "data": {**late["data"], "total": -1.0}}
    other = reduced_run("img", patterns=1, npt=5)
    assert newest([begin, describe, (name, late)])["img"].pattern.total == -1.0
    assert newest([begin, describe], other, [(name, late)])["img"].pattern.total > 0


def test_what_is_over_is_forgotten() -> None:
    patterns = newest(*(reduced_run("img", patterns=1, npt=5) for _ in range(3)))
    assert (patterns._runs, patterns._streams) == ({}, {})


def test_other_documents_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    (_, start), (_, descriptor), (_, event), (_, stop) = reduced_run("img", patterns=1, npt=5)
    raw = {"uid": "raw", "time": 0.0}
    assert newest([("start", raw), ("event", event), ("stop", stop)]) == {}
    key = descriptor["data_keys"]["intensity"] | {"external": "STREAM:"}
    in_files = descriptor | {"data_keys": {"intensity": key}}
    shown = newest([("start", start), ("descriptor", in_files), ("event", event)])["img"]
    assert shown.progress.frames_done == 0
    assert "needs the inline documents" in caplog.text
