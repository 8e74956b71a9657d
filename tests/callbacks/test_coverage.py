"""What is missing is known to the event."""

from __future__ import annotations

import numpy as np

from bluesky_azint.callbacks.coverage import NOWHERE, Coverage, in_words


def test_events_without_a_frame_are_missing() -> None:
    coverage = Coverage()
    assert coverage.missing_events(3) == [1, 2, 3]
    coverage.mark(np.array([0, 1]), np.array([1, 2]), np.array([7, 8]))
    coverage.mark(np.array([4]), np.array([5]), np.array([9]))
    assert coverage.missing_events(6) == [3, 4, 6]
    assert coverage.missing_events(2) == []


def test_events_have_as_many_frames_as_others() -> None:
    coverage = Coverage()
    seq_nums = np.arange(1, 7)
    coverage.mark((seq_nums - 1) * 3, seq_nums, seq_nums)  # the first of three
    assert coverage.frames_per_event == 3
    assert coverage.missing_events(6) == [1, 2, 3, 4, 5, 6]
    for place in (1, 2):
        coverage.mark((seq_nums[:5] - 1) * 3 + place, seq_nums[:5], seq_nums[:5])
    assert coverage.missing_events(6) == [6]


def test_a_frame_can_be_taken_back() -> None:
    coverage = Coverage()
    coverage.mark(np.array([0, 1]), np.array([1, 2]), np.array([7, 8]))
    coverage.mark(np.array([1]), np.array([2]), np.array([NOWHERE]))
    assert coverage.missing_events(2) == [2]


def test_a_frame_from_elsewhere_is_another_one() -> None:
    coverage = Coverage()
    coverage.mark(np.array([0, 100]), np.array([1, 101]), np.array([7, 8]))
    asked = np.array([0, 0, 1, 100, 1000])
    assert coverage.has(asked, np.array([7, 6, 7, 8, 8])).tolist() == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert not coverage.has(np.array([1]), np.array([NOWHERE])).any()


def test_what_is_refused_is_not_needed_again() -> None:
    coverage = Coverage()
    indices, places = np.array([0, 1, 2]), np.array([7, 8, 9])
    coverage.mark(indices[:1], indices[:1] + 1, places[:1])
    coverage.refuse(indices[1:2], places[1:2])
    assert coverage.needs(indices, places).tolist() == [False, False, True]
    assert coverage.needs(indices, places + 1).tolist() == [True, True, True]
    assert coverage.missing_events(3) == [2, 3]
    assert coverage.missing_events(3, refused=False) == [3]


def test_long_lists_are_cut() -> None:
    assert in_words([]) == ""
    assert in_words(range(1, 100)) == "1-99"
    assert in_words(range(1, 100, 2), most=3) == "1, 3, 5 ..."
