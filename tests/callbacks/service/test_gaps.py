"""What was lost is told from what came, where there is no doubt, and doubt is told, too."""

from __future__ import annotations

from typing import Any

from bluesky_azint.callbacks.service.gaps import lost_announcements, rows_were_lost

Documents = list[tuple[str, dict[str, Any]]]


def announced(*spans: tuple[int, int, int], events: int, resource: str = "r") -> Documents:
    """Documents with datums: the first index, the one behind the last, and the first seq_num."""
    head: Documents = [
        ("descriptor", {"uid": "d", "name": "primary"}),
        ("stream_resource", {"uid": resource, "data_key": "det"}),
    ]
    datums: Documents = [
        (
            "stream_datum",
            {
                "stream_resource": resource,
                "descriptor": "d",
                "indices": {"start": start, "stop": stop},
                "seq_nums": {"start": event, "stop": event + stop - start},
            },
        )
        for start, stop, event in spans
    ]
    return [*head, *datums, ("stop", {"num_events": {"primary": events}})]


def found(documents: Documents) -> list[tuple[int, int, int]]:
    return [
        (doc["indices"]["start"], doc["indices"]["stop"], doc["seq_nums"]["start"])
        for doc in lost_announcements(documents)
    ]


def test_rows_before_between_and_behind() -> None:
    assert found(announced((2, 4, 3), (6, 7, 7), events=9)) == [(0, 2, 1), (4, 6, 5), (7, 9, 8)]
    assert found(announced((0, 9, 1), events=9)) == []


def test_nothing_is_told_where_indices_and_events_are_out_of_step() -> None:
    assert found(announced((0, 2, 1), (3, 4, 3), events=3)) == []  # an event was repeated


def test_of_two_files_only_what_lies_between_is_told() -> None:
    second = announced((5, 6, 6), (8, 9, 9), events=12, resource="s")
    first = announced((1, 3, 2), events=12)
    assert found([*first[:-1], *second[1:]]) == [(6, 8, 7)]


def test_a_repeated_event_that_was_lost_leaves_a_hole_in_the_rows() -> None:
    assert rows_were_lost(announced((0, 2, 1), (3, 4, 3), events=3))
    assert not rows_were_lost(announced((0, 2, 1), (2, 3, 2), (3, 4, 3), events=3))
    assert not rows_were_lost(announced((2, 4, 3), (0, 2, 1), (1, 3, 2), events=4))
    assert not rows_were_lost(announced((0, 2, 1), (3, 4, 4), events=4))  # no more than lost
