"""Where frames lie, from the documents that announce files.

There are two generations of such documents: ``resource`` with ``datum``, from ophyd and
areaDetector, and ``stream_resource`` with ``stream_datum``, from ophyd-async. Both say the same:
which file, or which numbered series of files, holds the frames of a detector one after the other.
That is an `Asset`, and a document then announces a range of its events.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from bluesky_azint.errors import FrameError

Document = Mapping[str, Any]

# Where areaDetector's HDF5 plugin writes, and what its documents therefore do not say.
_USUAL_DATASET = "/entry/data/data"

_NUMBER_IN_C = re.compile(r"%[-+ #0]*\d*(\.\d+)?d")


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file, or a numbered series of files, with the frames of one detector in order.

    Parameters
    ----------
    uid
        Of the document that announced it.
    path
        The file; of a series, what the names of all its files begin with.
    frames_per_event
        How many frames belong to one event.
    dataset
        Place of the frames in an HDF5 file; None in any other file.
    template
        Of a series: what follows `path`, with the place of the number in either style of Python,
        ``"_%06d.tif"`` or ``"_{:06d}.tif"``. None for a single file.
    frames_per_file
        Of a series: how many frames each file holds.
    first_file
        Of a series: the number of the first file.
    """

    uid: str
    path: str
    frames_per_event: int = 1
    dataset: str | None = None
    template: str | None = None
    frames_per_file: int = 1
    first_file: int = 0

    def file_of(self, frame: int) -> str:
        """Path of the file that holds a frame, counted from 0."""
        if self.template is None:
            return self.path
        number = self.first_file + frame // self.frames_per_file
        in_c = _NUMBER_IN_C.search(self.template)
        name = self.template % number if in_c else self.template.format(number)
        return re.sub("//+", "/", self.path + name)

    def name_of(self, frame: int) -> str:
        """The file, and the place in it, as errors call it."""
        file = self.file_of(frame)
        return f"{file}::{self.dataset}" if self.dataset else file


def asset_from_document(
    document: Document, *, frames_per_event: int, root_map: Mapping[str, str]
) -> Asset:
    """The asset that a ``resource`` or a ``stream_resource`` announces.

    Parameters
    ----------
    document
        The document; stream resources as they were before event-model 1.20 too.
    frames_per_event
        What the data key says; the resource knows better where it says something itself.
    root_map
        Beginnings of paths in the documents, and what they are called on this machine.

    Raises
    ------
    FrameError
        If that kind of resource is not known.
    """
    parameters = document.get("parameters", document.get("resource_kwargs", {}))
    frames_per_event = int(
        parameters.get("multiplier") or parameters.get("frame_per_point") or frames_per_event
    )
    make = _from_stream_resource if "mimetype" in document else _from_resource
    place = make(document, parameters)
    return Asset(
        uid=document["uid"],
        path=_on_this_machine(place.pop("path"), root_map),
        frames_per_event=frames_per_event,
        frames_per_file=_frames_per_file(parameters, frames_per_event),
        **place,
    )


def row_of_datum(datum: Document) -> int:
    """Which event of its resource, counted from 0, a ``datum`` stands for.

    Raises
    ------
    FrameError
        If it does not say so in a way that is known.
    """
    arguments = datum["datum_kwargs"]
    for name in ("point_number", "index"):
        if name in arguments:
            return int(arguments[name])
    raise FrameError(
        f"Datum {datum['datum_id']} says where its frames are by {sorted(arguments)}; only "
        "'point_number' and 'index' are understood. Announce the frames with stream documents."
    )


class StreamRows:
    """Turns the indices of stream datums into rows of their assets.

    Indices count on where a detector goes over from one file to the next, and the rows of that
    begin at 0. Where a detector is staged again within a run the indices begin at 0, too.
    """

    def __init__(self) -> None:
        self._first_indices: dict[tuple[str, str], int] = {}
        self._ends: dict[tuple[str, str], tuple[Asset, int]] = {}

    def row(self, start: int, stop: int, *, asset: Asset, run: str, data_key: str) -> int:
        """The row of the index `start` of a stream datum that ends before the index `stop`."""
        if (run, asset.uid) not in self._first_indices:
            before, end = self._ends.get((run, data_key), (asset, -1))
            first = 0
            if start == end:
                same_files = replace(before, uid=asset.uid) == asset
                first = self._first_indices[run, before.uid] if same_files else start
            self._first_indices[run, asset.uid] = first
        self._ends[run, data_key] = asset, stop
        return start - self._first_indices[run, asset.uid]

    def forget(self, run: str) -> None:
        """Drop what is known of a run."""
        self._first_indices = {k: v for k, v in self._first_indices.items() if k[0] != run}
        self._ends = {k: v for k, v in self._ends.items() if k[0] != run}


def _from_stream_resource(document: Document, parameters: Document) -> dict[str, Any]:
    if parameters.get("slice"):
        raise FrameError(
            f"Stream resource {document['uid']} wants the part {parameters['slice']!r} of each "
            "frame, which is not supported; announce whole frames."
        )
    hdf5 = "hdf5" in document["mimetype"]
    dataset = parameters.get("dataset") or parameters.get("path") or _USUAL_DATASET
    return {
        "path": _path_from_uri(document["uri"]),
        "dataset": dataset if hdf5 else None,
        "template": parameters.get("template"),
    }


def _from_resource(document: Document, parameters: Document) -> dict[str, Any]:
    spec = document["spec"]
    path = f"{document.get('root') or ''}/{document['resource_path']}"
    if document.get("path_semantics") == "windows":
        path = path.replace("\\", "/")
    path = re.sub("//+", "/", path)
    path = path[1:] if re.match("/[A-Za-z]:/", path) else path
    place: dict[str, Any] = {"path": path}
    if "HDF5" in spec:
        place["dataset"] = parameters.get("dataset") or parameters.get("key") or _USUAL_DATASET
    if spec == "NPY_SEQ":
        place["template"] = "_%d.npy"
    elif "template" in parameters:
        # areaDetector fills in the directory, the name and the number.
        name = parameters.get("filename", "").replace("%", "%%")
        template = parameters["template"].replace("%s", "/", 1).replace("%s", name, 1)
        place |= {"template": template, "first_file": int(parameters.get("initial_number", 0))}
    elif "HDF5" not in spec:
        raise FrameError(
            f"Resource {document['uid']} is of the kind {spec!r}; frames are read from resources "
            "of the kinds AD_HDF5, AD_HDF5_SWMR, NPY_SEQ and those with a 'template' of file "
            "names, such as AD_TIFF. Announce the frames with stream documents."
        )
    return place


def _frames_per_file(parameters: Document, frames_per_event: int) -> int:
    """Frames in each file of a series, by the same rules as Bluesky's Tiled plug-ins."""
    if files := parameters.get("files_per_datum"):
        return max(frames_per_event // int(files), 1)
    chunk: Sequence[int] = parameters.get("chunk_shape") or ()
    if parameters.get("join_method") == "concat":
        return int(chunk[0]) if chunk else 1
    if parameters.get("multiplier") or parameters.get("frame_per_point"):
        return 1
    return int(chunk[0]) if len(chunk) == 3 else frames_per_event


def _path_from_uri(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme not in ("file", ""):
        raise FrameError(
            f"The frames are at {uri}; only files can be read. Announce them as file://localhost/..."
        )
    path = unquote(parts.path)
    return path[1:] if re.match("/[A-Za-z]:/", path) else path


def _on_this_machine(path: str, root_map: Mapping[str, str]) -> str:
    for root in sorted(root_map, key=len, reverse=True):
        start = root.replace("\\", "/").rstrip("/")
        if path == start or path.startswith(f"{start}/"):
            return os.fspath(root_map[root]).rstrip("/") + path[len(start) :]
    return path
