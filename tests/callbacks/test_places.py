"""The same frame has the same place, whoever announces it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bluesky_azint.callbacks.assets import Asset
from bluesky_azint.callbacks.places import places_in_asset, places_of_values

FILE = Asset(uid="a", path="/data/a.h5", dataset="/entry/data")


def test_frames_of_a_file_are_told_apart() -> None:
    places = places_in_asset(FILE, 0, 1000)
    assert np.unique(places).size == 1000
    assert np.array_equal(places[100:110], places_in_asset(replace(FILE, uid="b"), 100, 110))
    for other in ({"path": "/data/b.h5"}, {"dataset": "/entry/other"}):
        assert not np.isin(places, places_in_asset(replace(FILE, **other), 0, 1000)).any()  # type: ignore[arg-type]


def test_a_series_is_its_files_whatever_its_template_is() -> None:
    series = Asset(uid="a", path="/data/x", template="_%04d.tif", frames_per_file=2)
    same = Asset(uid="b", path="/data/", template="x_{:04d}.tif", frames_per_file=2)
    places = places_in_asset(series, 0, 7)
    assert np.unique(places).size == 7
    assert np.array_equal(places, places_in_asset(same, 0, 7))
    single = Asset(uid="c", path="/data/x_0001.tif")
    assert np.array_equal(places[2:4], places_in_asset(single, 0, 2))


def test_frames_in_events_are_what_they_hold() -> None:
    frames = np.arange(24).reshape(2, 3, 4)
    places = places_of_values([frames[0], frames[1].tolist()], 1)
    assert places[0] != places[1]
    assert np.array_equal(places, places_of_values([frames[0].astype("u2"), frames[1]], 1))
    assert places_of_values(["x", [[1, 2], [3]]], 2).tolist() == [1] * 4
