"""Where documents say that frames are; Bluesky's plug-ins for Tiled are the oracle."""

from __future__ import annotations

from typing import Any

import pytest

from bluesky_azint.callbacks.assets import (
    Asset,
    StreamRows,
    asset_from_document,
    row_of_datum,
)
from bluesky_azint.errors import FrameError

TIFF = "multipart/related;type=image/tiff"


def stream_resource(uri: str = "file://localhost/a/f.h5", **fields: Any) -> dict[str, Any]:
    parameters = {"dataset": "/entry/data/data", "chunk_shape": [1, 6, 8]}
    document = {"uid": "s", "data_key": "x", "mimetype": "application/x-hdf5", "uri": uri}
    return {**document, "parameters": parameters} | fields


def resource(spec: str, **fields: Any) -> dict[str, Any]:
    document = {"uid": "r", "spec": spec, "root": "/a", "resource_path": "b/f.h5"}
    return {**document, "resource_kwargs": {}, "path_semantics": "posix"} | fields


def made(document: dict[str, Any], frames_per_event: int = 1, **root_map: str) -> Asset:
    return asset_from_document(document, frames_per_event=frames_per_event, root_map=root_map)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file://localhost/data/2026/f.h5", "/data/2026/f.h5"),
        ("file:///data/f.h5", "/data/f.h5"),
        ("/data/f.h5", "/data/f.h5"),
        ("file://beamline-1/data/f.h5", "/data/f.h5"),
        ("file://localhost/data/a%20b/100%25/%C3%A9.h5", "/data/a b/100%/é.h5"),
        ("file://localhost/data/a%23b%3Fc.h5", "/data/a#b?c.h5"),
        ("file://localhost/C:/data/f.h5", "C:/data/f.h5"),
    ],
)
def test_paths_of_uris(uri: str, path: str) -> None:
    assert made(stream_resource(uri)).path == path


def test_other_uris_are_refused() -> None:
    with pytest.raises(FrameError, match=r"at s3://bucket/f.h5; only files"):
        made(stream_resource("s3://bucket/f.h5"))


@pytest.mark.parametrize(
    ("root_map", "path"),
    [
        ({}, "/data/2026/f.h5"),
        ({"/data": "/mnt"}, "/mnt/2026/f.h5"),
        ({"/data/": "/mnt/"}, "/mnt/2026/f.h5"),
        ({"/": "/mnt/all"}, "/mnt/all/data/2026/f.h5"),
        ({"/data": "/mnt", "/data/2026": "/this year"}, "/this year/f.h5"),
        ({"/dat": "/mnt", "/data/20": "/mnt"}, "/data/2026/f.h5"),  # whole names alone
        ({"/data/2026/f.h5": "/g.h5"}, "/g.h5"),
    ],
)
def test_other_roots(root_map: dict[str, str], path: str) -> None:
    streamed = stream_resource("file://localhost/data/2026/f.h5")
    classic = resource("AD_HDF5", root="/data", resource_path="2026/f.h5")
    for document in (streamed, classic):
        assert asset_from_document(document, frames_per_event=1, root_map=root_map).path == path


def test_paths_of_windows() -> None:
    document = resource(
        "AD_HDF5", root="C:\\", resource_path="data\\f.h5", path_semantics="windows"
    )
    assert made(document).path == "C:/data/f.h5"
    mapped = asset_from_document(document, frames_per_event=1, root_map={"C:\\data": "/mnt"})
    assert mapped.path == "/mnt/f.h5"


@pytest.mark.parametrize(
    ("root", "path"), [("/", "/a/f.h5"), ("", "/a/f.h5"), ("/x", "/x/a/f.h5"), ("/x/", "/x/a/f.h5")]
)
def test_roots_of_resources(root: str, path: str) -> None:
    for resource_path in ("a/f.h5", "/a/f.h5"):
        assert made(resource("AD_HDF5", root=root, resource_path=resource_path)).path == path


@pytest.mark.parametrize("spec", ["AD_HDF5", "AD_HDF5_SWMR", "AD_HDF5_GROW"])
def test_hdf5_resources(spec: str) -> None:
    document = resource(spec, resource_kwargs={"frame_per_point": 4})
    assert made(document, 1) == Asset(
        uid="r", path="/a/b/f.h5", dataset="/entry/data/data", frames_per_event=4, frames_per_file=1
    )
    elsewhere = resource(spec, resource_kwargs={"key": "/entry/images"})
    assert made(elsewhere, 3).dataset == "/entry/images"
    assert made(elsewhere, 3).frames_per_event == 3


def test_stream_resources_before_event_model_1_20() -> None:
    document = resource("AD_HDF5_SWMR_STREAM", data_key="x", resource_kwargs={"path": "/images"})
    assert made(document).path == "/a/b/f.h5"


@pytest.mark.parametrize("name", ["image", "100%", "a{0}b"])
@pytest.mark.parametrize("path", ["b", "b/"])
def test_areadetector_series(name: str, path: str) -> None:
    """areaDetector's own plug-in fills its template by the rules of C."""
    template = "%s%s_%6.6d.tiff"
    kwargs = {"template": template, "filename": name, "frame_per_point": 2}
    asset = made(resource("AD_TIFF", resource_path=path, resource_kwargs=kwargs))
    assert [asset.file_of(frame) for frame in (0, 1, 123)] == [
        template % ("/a/b/", name, number) for number in (0, 1, 123)
    ]
    assert asset.frames_per_event == 2
    assert asset.dataset is None


def test_other_series() -> None:
    kwargs = {"template": "%s%s_%05d.cbf", "filename": "x", "initial_number": 1}
    asset = made(resource("AD_CBF", resource_path="b", resource_kwargs=kwargs))
    assert asset.file_of(0) == "/a/b/x_00001.cbf"

    single = {"template": "%s%s_%6.6d.h5", "filename": "x", "frame_per_point": 2}
    asset = made(resource("AD_HDF5_SINGLE", resource_path="b", resource_kwargs=single))
    assert asset.name_of(3) == "/a/b/x_000003.h5::/entry/data/data"

    numpy = made(resource("NPY_SEQ", resource_path="92c6c8"), 5)
    assert (numpy.file_of(4), numpy.file_of(5)) == ("/a/92c6c8_0.npy", "/a/92c6c8_1.npy")


def test_unknown_resources_are_refused() -> None:
    with pytest.raises(FrameError, match="Resource r is of the kind 'AD_SPE'"):
        made(resource("AD_SPE"))
    with pytest.raises(FrameError, match="part"):
        made(stream_resource(parameters={"slice": ":,0,:"}))


@pytest.mark.parametrize("kwargs", [{"point_number": 3}, {"index": 3}])
def test_datums(kwargs: dict[str, int]) -> None:
    assert row_of_datum({"datum_id": "r/3", "resource": "r", "datum_kwargs": kwargs}) == 3


def test_other_datums_are_refused() -> None:
    with pytest.raises(FrameError, match=r"Datum r/0 .* by \['seq_id'\]"):
        row_of_datum({"datum_id": "r/0", "datum_kwargs": {"seq_id": 1}})


@pytest.mark.parametrize(
    ("uri", "template", "parameters", "shape"),
    [
        ("file://localhost/a/", "x_{:06d}.tiff", {"chunk_shape": [1, 6, 8]}, [1, 6, 8]),
        ("file://localhost/a/", "x_{:06d}.tiff", {"chunk_shape": [1, 6, 8]}, [4, 6, 8]),
        ("file://localhost/a/", "x_{:06d}.tiff", {"chunk_shape": [2, 6, 8]}, [4, 6, 8]),
        ("file://localhost/a/", "x_{:06d}.tiff", {"chunk_shape": [1, 6, 8]}, [6, 8]),
        ("file://localhost/a/", "x_{:06d}.tiff", {}, [4, 6, 8]),
        ("file://localhost/a/", "x_{:06d}.tiff", {"files_per_datum": 2}, [4, 6, 8]),
        ("file://localhost/a/b", "_{:d}.tiff", {"multiplier": 4}, [4, 6, 8]),
        ("file://localhost/a/b", "/%05d.tiff", {"multiplier": 2}, [1, 6, 8]),
        ("file://localhost/a/", "/%6.6d.tiff", {"chunk_shape": [1]}, [1, 6, 8]),
        ("file://localhost/a/", "%4d.tiff", {"join_method": "stack"}, [3, 6, 8]),
    ],
)
def test_series_have_the_files_that_tiled_finds(
    uri: str, template: str, parameters: dict[str, Any], shape: list[int]
) -> None:
    consolidators = pytest.importorskip("bluesky_tiled_plugins.writing.consolidators")
    document = stream_resource(uri, mimetype=TIFF, parameters={"template": template, **parameters})
    data_key = {"shape": shape, "dtype_numpy": "<u2", "dtype": "array"}
    oracle = consolidators.TIFFConsolidator(document, {"data_keys": {"x": data_key}})
    ranges = {"indices": {"start": 0, "stop": 5}, "seq_nums": {"start": 1, "stop": 6}}
    oracle.consume_stream_datum(ranges)
    expected = [item.data_uri.removeprefix("file://localhost") for item in oracle.assets]

    asset = made(document, shape[0] if len(shape) == 3 else 1)
    files = [asset.file_of(frame) for frame in range(5 * asset.frames_per_event)]
    assert list(dict.fromkeys(files)) == expected


@pytest.mark.parametrize("chunk_shape", [[2], [2, 6, 8], []])
def test_joined_series(chunk_shape: list[int]) -> None:
    """By the deprecated join method, ``concat``, each file holds a chunk."""
    parameters = {"template": "{:d}.tiff", "chunk_shape": chunk_shape, "join_method": "concat"}
    asset = made(stream_resource(mimetype=TIFF, parameters=parameters), 4)
    assert asset.frames_per_file == (chunk_shape[0] if chunk_shape else 1)


def test_rows_begin_anew_where_indices_go_on_in_another_file() -> None:
    rows = StreamRows()
    first, second, third = (Asset(uid=u, path=f"/{u}.h5") for u in "abc")
    place = {"run": "run", "data_key": "x"}
    assert rows.row(0, 3, asset=first, **place) == 0
    assert rows.row(3, 10, asset=first, **place) == 3
    assert rows.row(10, 12, asset=second, **place) == 0
    assert rows.row(0, 5, asset=first, run="run", data_key="y") == 0  # a detector of its own
    assert rows.row(12, 20, asset=second, **place) == 2
    assert rows.row(20, 21, asset=third, **place) == 0
    assert rows.row(21, 22, asset=third, **place) == 1


def test_rows_go_on_in_the_same_file() -> None:
    """Announced a second time, by another resource."""
    rows = StreamRows()
    place = {"run": "run", "data_key": "x"}
    assert rows.row(0, 3, asset=Asset(uid="a", path="/f.h5"), **place) == 0
    assert rows.row(3, 5, asset=Asset(uid="b", path="/f.h5"), **place) == 3
    assert rows.row(5, 6, asset=Asset(uid="b", path="/f.h5"), **place) == 5


def test_rows_are_the_indices_of_a_detector_that_was_staged_again() -> None:
    rows = StreamRows()
    place = {"run": "run", "data_key": "x"}
    assert rows.row(0, 3, asset=Asset(uid="a", path="/a.h5"), **place) == 0
    assert rows.row(0, 2, asset=Asset(uid="b", path="/b.h5"), **place) == 0
    assert rows.row(2, 3, asset=Asset(uid="b", path="/b.h5"), **place) == 2
    rows.forget("run")
    assert not any(vars(rows).values())


def test_rows_of_a_file_whose_beginning_was_not_seen() -> None:
    """Without the first documents of a run the indices are believed, not counted anew."""
    rows = StreamRows()
    asset = Asset(uid="a", path="/a.h5")
    assert rows.row(7, 9, asset=asset, run="run", data_key="x") == 7
