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


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("%s%s_%6.6d.tif", "/a/b/x_000012.tif"),
        ("%s%s%%_%+5d.tif", "/a/b/x%_  +12.tif"),
        ("%s%s_{}_%-4d.tif", "/a/b/x_{}_12  .tif"),
    ],
)
def test_templates_in_c(template: str, name: str) -> None:
    kwargs = {"template": template, "filename": "x"}
    assert made(resource("AD_TIFF", resource_path="b", resource_kwargs=kwargs)).file_of(12) == name


@pytest.mark.parametrize(
    ("template", "name"),
    [("{}.tif", "12.tif"), ("{:d}", "12"), ("{0:05d}", "00012"), ("{:0>6}{{}}", "000012{}"),
     ("5%_{:>4d}", "5%_  12")],
)  # fmt: skip
def test_templates_in_braces(template: str, name: str) -> None:
    document = stream_resource(mimetype=TIFF, parameters={"template": f"_{template}"})
    assert made(document).file_of(12) == f"/a/f.h5_{name}"


@pytest.mark.parametrize(
    "template",
    ["x.tif", "", "%d_%d", "%06d%s", "%s", "%n%d", "%0999999999d", "%.999999999d", "%(a)d", "%*d",
     "%c", "{0.__class__}", "{0.__init__.__globals__}", "{0[0]}", "{1}", "{a}", "{0!r}", "{}{}",
     "{:999999999d}", "{:.9f}", "{:{}}", "{:%Y}", "{", "}", "{{}}", "{:d}}", "{:,d}", "%d{", 7, [],
     {"a": 1}, b"%d"],
)  # fmt: skip
def test_other_templates_are_refused(template: object) -> None:
    """Nothing is formatted but one number, and no file is read again and again for a series."""
    kwargs = {"template": template, "filename": "x"}
    parameters = {"template": template}
    if template not in ("%d{", "%06d%s"):
        with pytest.raises(FrameError, match="template"):
            made(resource("AD_TIFF", resource_kwargs=kwargs))
    if template not in ("", [], "%d{"):
        with pytest.raises(FrameError, match="template"):
            made(stream_resource(mimetype=TIFF, parameters=parameters))


HUGE: tuple[object, ...] = (-1, 10**30, 0.5, float("nan"), "7", [7], {"a": 7}, True)


@pytest.mark.parametrize("value", HUGE)
def test_numbers_that_make_no_sense(value: object) -> None:
    for name in ("multiplier", "frame_per_point"):
        with pytest.raises(FrameError, match=r"Frames per event of s is .* from 1 to 1000000"):
            made(stream_resource(parameters={name: value}))
    with pytest.raises(FrameError, match=r"files_per_datum is .* from 1"):
        made(stream_resource(parameters={"files_per_datum": value}))
    for chunk in ([value, 6, 8], value if value != [7] else [0, 6, 8]):
        with pytest.raises(FrameError, match="chunk_shape"):
            made(stream_resource(parameters={"chunk_shape": chunk}))
    kwargs = {"template": "%s%s_%d.tif", "initial_number": value}
    with pytest.raises(FrameError, match=r"initial_number is .* from 0"):
        made(resource("AD_TIFF", resource_kwargs=kwargs))
    with pytest.raises(FrameError, match="point_number of datum r/0 is"):
        row_of_datum({"datum_id": "r/0", "datum_kwargs": {"point_number": value}})


@pytest.mark.parametrize("value", [7, None, ["a"], {"a": "b"}, b"/a/f.h5"])
def test_texts_that_are_none(value: object) -> None:
    for name in ("uid", "uri", "mimetype"):
        with pytest.raises(FrameError, match=f"where its '{name}' should be a text"):
            made(stream_resource(**{name: value}))  # type: ignore[arg-type]
    for name in ("uid", "spec", "resource_path"):
        with pytest.raises(FrameError, match=f"where its '{name}' should be a text"):
            made({**resource("AD_HDF5"), name: value})
    if value is not None:
        with pytest.raises(FrameError, match="where its 'dataset' should be a text"):
            made(stream_resource(parameters={"dataset": value}))
    if not isinstance(value, dict | None):
        with pytest.raises(FrameError, match="which are no table"):
            made(stream_resource(parameters=value))


@pytest.mark.parametrize("uri", ["http://[", "//[::1", "ftp://a/b", "hdf5:///a", "/a\0"])
def test_uris_that_are_none(uri: str) -> None:
    if uri == "/a\0":
        assert made(stream_resource(uri)).path == uri  # refused when it is opened
    else:
        with pytest.raises(FrameError, match=r"The frames are at "):
            made(stream_resource(uri))


def test_messages_are_short() -> None:
    with pytest.raises(FrameError) as error:
        made(stream_resource(mimetype=TIFF, parameters={"template": "%s" * 10**5}))
    assert len(str(error.value)) < 300


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
    assert rows.row(0, 3, first_event=1, asset=first, **place) == 0
    assert rows.row(3, 10, first_event=4, asset=first, **place) == 3
    assert rows.row(10, 12, first_event=11, asset=second, **place) == 0
    assert (
        rows.row(0, 5, first_event=1, asset=first, run="run", data_key="y") == 0
    )  # a detector of its own
    assert rows.row(12, 20, first_event=13, asset=second, **place) == 2
    assert rows.row(20, 21, first_event=21, asset=third, **place) == 0
    assert rows.row(21, 22, first_event=22, asset=third, **place) == 1


def test_rows_before_the_first() -> None:
    rows = StreamRows()
    assert (
        rows.row(5, 7, first_event=6, asset=Asset(uid="a", path="/f"), run="r", data_key="x") == 5
    )
    assert (
        rows.row(7, 9, first_event=8, asset=Asset(uid="b", path="/g"), run="r", data_key="x") == 0
    )
    for start in (6, -1):
        with pytest.raises(FrameError, match=f"Index {start} of 'x' is before the first"):
            rows.row(
                start,
                start + 1,
                first_event=start + 1,
                asset=Asset(uid="b", path="/g"),
                run="r",
                data_key="x",
            )


def test_rows_are_not_guessed_when_documents_are_lost() -> None:
    rows = StreamRows()
    first, second = (Asset(uid=u, path=f"/{u}.h5") for u in "ab")
    place = {"run": "run", "data_key": "x"}
    assert rows.row(0, 3, first_event=1, asset=first, **place) == 0
    # Is it the file that begins with index 3, 4 or 5?
    with pytest.raises(FrameError, match="before the index 5 were lost"):
        rows.row(5, 6, first_event=6, asset=second, **place)
    # Without a gap in the events the detector was staged again, and counts on.
    assert rows.row(3, 5, first_event=4, asset=first, **place) == 3
    assert rows.row(5, 6, first_event=6, asset=second, **place) == 0


def test_rows_are_found_when_the_lost_documents_come() -> None:
    rows = StreamRows()
    first, second = (Asset(uid=u, path=f"/{u}.h5") for u in "ab")
    place = {"run": "run", "data_key": "x"}
    assert rows.row(5, 6, first_event=6, asset=second, **place) == 5  # of a run without the first
    assert rows.row(0, 5, first_event=1, asset=first, **place) == 0
    assert rows.row(5, 6, first_event=6, asset=second, **place) == 0


def test_rows_go_on_in_the_same_file() -> None:
    """Announced a second time, by another resource."""
    rows = StreamRows()
    place = {"run": "run", "data_key": "x"}
    assert rows.row(0, 3, first_event=1, asset=Asset(uid="a", path="/f.h5"), **place) == 0
    assert rows.row(3, 5, first_event=4, asset=Asset(uid="b", path="/f.h5"), **place) == 3
    assert rows.row(5, 6, first_event=6, asset=Asset(uid="b", path="/f.h5"), **place) == 5


def test_rows_are_the_indices_of_a_detector_that_was_staged_again() -> None:
    rows = StreamRows()
    place = {"run": "run", "data_key": "x"}
    assert rows.row(0, 3, first_event=1, asset=Asset(uid="a", path="/a.h5"), **place) == 0
    assert rows.row(0, 2, first_event=1, asset=Asset(uid="b", path="/b.h5"), **place) == 0
    assert rows.row(2, 3, first_event=3, asset=Asset(uid="b", path="/b.h5"), **place) == 2
    rows.forget("run")
    assert not any(vars(rows).values())


def test_rows_of_a_file_whose_beginning_was_not_seen() -> None:
    """Without the first documents of a run the indices are believed, not counted anew."""
    rows = StreamRows()
    asset = Asset(uid="a", path="/a.h5")
    assert rows.row(7, 9, first_event=8, asset=asset, run="run", data_key="x") == 7
