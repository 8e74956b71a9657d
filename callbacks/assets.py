"""Where frames lie, from the documents that announce files.

There are two generations of such documents: ``resource`` with ``datum``, from ophyd and
areaDetector, and ``stream_resource`` with ``stream_datum``, from ophyd-async. Both say the same:
which file, or which numbered series of files, holds the frames of a detector one after the other.
That is an `Asset`, and a document then announces a range of its events.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from bluesky_azint.callbacks.fields import short, text, whole
from bluesky_azint.errors import FrameError

Document = Mapping[str, Any]

# Where areaDetector's HDF5 plugin writes, and what its documents therefore do not say.
USUAL_DATASET = "/entry/data/data"

# A number in the name of a file, in either style of Python, or what else has a meaning there. Names
# are made from these alone: all else that formats can do is not for those who write documents.
_IN_C = re.compile(r"%%|%(?P<form>[-+ #0]*\d{0,2}(?:\.\d{1,2})?)d|%")
_IN_BRACES = re.compile(r"{{|}}|{0?(?::(?P<form>(?:[^{}]?[<>=^])?0?\d{0,2})d?)?}|[{}]")

# More frames to an event than any detector takes.
_MOST_FRAMES = 10**6


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
        name = _numbered(self.template, self.first_file + frame // self.frames_per_file)
        return re.sub("//+", "/", self.path + name)

    def end_of_file(self, frame: int) -> int:
        """The first frame of the file after the one that a frame is in."""
        if self.template is None:
            return sys.maxsize
        return frame - frame % self.frames_per_file + self.frames_per_file

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
        If that kind of resource is not known, or says what makes no sense.
    """
    uid = text(document, "uid")
    parameters = document.get("parameters", document.get("resource_kwargs")) or {}
    if not isinstance(parameters, Mapping):
        raise FrameError(
            f"Resource {uid} has the parameters {short(parameters)}, which are no table."
        )
    said = parameters.get("multiplier") or parameters.get("frame_per_point")
    frames_per_event = whole(
        said or frames_per_event, f"Frames per event of {uid}", 1, _MOST_FRAMES
    )
    make = _from_stream_resource if "mimetype" in document else _from_resource
    place = make(document, parameters)
    asset = Asset(
        uid=uid,
        path=_on_this_machine(place.pop("path"), root_map),
        frames_per_event=frames_per_event,
        frames_per_file=_frames_per_file(parameters, frames_per_event),
        **place,
    )
    asset.file_of(0)
    return asset


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
            return whole(arguments[name], f"{name} of datum {datum['datum_id']}")
    raise FrameError(
        f"Datum {datum['datum_id']} says where its frames are by {short(sorted(arguments))}; only "
        "'point_number' and 'index' are understood. Announce the frames with stream documents."
    )


@dataclass(frozen=True)
class _Last:
    """The last rows that were announced: where, and which index and seq_num come next."""

    asset: Asset
    stop: int
    stop_event: int


class StreamRows:
    """Turns the indices of stream datums into rows of their assets.

    Indices count on where a detector goes over from one file to the next, and the rows of that
    begin at 0. Where a detector is staged again within a run the indices begin at 0, too.
    """

    def __init__(self) -> None:
        self._first_indices: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str], _Last] = {}  # by run and data key

    def row(
        self, start: int, stop: int, *, first_event: int, asset: Asset, run: str, data_key: str
    ) -> int:
        """The row of the index `start` of a stream datum that ends before the index `stop`.

        Parameters
        ----------
        start, stop
            The indices.
        first_event
            The seq_num that belongs to `start`.
        asset, run, data_key
            Where the rows are, and whose they are.

        Raises
        ------
        FrameError
            If that is before the first row; or if documents are missing that would tell.
        """
        last = self._last.get((run, data_key))
        known = (run, asset.uid) in self._first_indices
        if last is not None and last.asset.uid != asset.uid and start == last.stop:
            same_files = replace(last.asset, uid=asset.uid) == asset
            first = self._first_indices[run, last.asset.uid] if same_files else start
            self._first_indices[run, asset.uid] = first
        elif not known:
            if start and last is not None and first_event > last.stop_event:
                raise FrameError(
                    f"Documents of {data_key!r} before the index {start} were lost, and with them "
                    f"which row of {asset.path} that is. Reduce the run again when it is complete."
                )
            self._first_indices[run, asset.uid] = 0
        self._last[run, data_key] = _Last(asset, stop, first_event + stop - start)
        row = start - self._first_indices[run, asset.uid]
        if row < 0:
            raise FrameError(f"Index {start} of {data_key!r} is before the first one of its file.")
        return row

    def forget(self, run: str) -> None:
        """Drop what is known of a run."""
        self._first_indices = {k: v for k, v in self._first_indices.items() if k[0] != run}
        self._last = {k: v for k, v in self._last.items() if k[0] != run}


def _from_stream_resource(document: Document, parameters: Document) -> dict[str, Any]:
    if parameters.get("slice"):
        raise FrameError(
            f"Stream resource {document['uid']} wants the part {short(parameters['slice'])} of each "
            "frame, which is not supported; announce whole frames."
        )
    mimetype = text(document, "mimetype")
    hdf5 = "hdf5" in mimetype or "nexus" in mimetype
    dataset = text(parameters, "dataset", "") or text(parameters, "path", "") or USUAL_DATASET
    return {
        "path": _path_from_uri(text(document, "uri")),
        "dataset": dataset if hdf5 else None,
        "template": text(parameters, "template") if parameters.get("template") else None,
        "first_file": whole(parameters.get("initial_number") or 0, "initial_number"),
    }


def _from_resource(document: Document, parameters: Document) -> dict[str, Any]:
    spec = text(document, "spec")
    path = f"{text(document, 'root', '')}/{text(document, 'resource_path')}"
    if document.get("path_semantics") == "windows":
        path = path.replace("\\", "/")
    path = re.sub("//+", "/", path)
    path = path[1:] if re.match("/[A-Za-z]:/", path) else path
    place: dict[str, Any] = {"path": path}
    if "HDF5" in spec:
        dataset = text(parameters, "dataset", "") or text(parameters, "key", "")
        place["dataset"] = dataset or USUAL_DATASET
    if spec == "NPY_SEQ":
        place["template"] = "_%d.npy"
    elif "template" in parameters:
        # areaDetector fills in the directory, the name and the number.
        name = text(parameters, "filename", "").replace("%", "%%")
        template = text(parameters, "template").replace("%s", "/", 1).replace("%s", name, 1)
        first = whole(parameters.get("initial_number") or 0, "initial_number")
        place |= {"template": template, "first_file": first}
    elif "HDF5" not in spec:
        raise FrameError(
            f"Resource {document['uid']} is of the kind {short(spec)}; frames are read from resources "
            "of the kinds AD_HDF5, AD_HDF5_SWMR, NPY_SEQ and those with a 'template' of file "
            "names, such as AD_TIFF. Announce the frames with stream documents."
        )
    return place


def _frames_per_file(parameters: Document, frames_per_event: int) -> int:
    """Frames in each file of a series, by the same rules as Bluesky's Tiled plug-ins."""
    if files := parameters.get("files_per_datum"):
        return max(frames_per_event // whole(files, "files_per_datum", 1), 1)
    chunk = parameters.get("chunk_shape") or ()
    if not isinstance(chunk, Sequence) or isinstance(chunk, str):
        raise FrameError(f"The chunk_shape {short(chunk)} is no list of numbers.")
    if parameters.get("join_method") == "concat":
        return _of_chunk(chunk) if chunk else 1
    if parameters.get("multiplier") or parameters.get("frame_per_point"):
        return 1
    return _of_chunk(chunk) if len(chunk) == 3 else frames_per_event


def _of_chunk(chunk: Sequence[object]) -> int:
    return whole(chunk[0], "The first number of chunk_shape", 1, _MOST_FRAMES)


def _numbered(template: str, number: int) -> str:
    """The name of a file from its template, in which nothing but the number is filled in.

    Raises
    ------
    FrameError
        If there is not one number in it, or anything else to fill in.
    """
    numbers = []

    def fill(found: re.Match[str]) -> str:
        if found[0] in ("%%", "{{", "}}"):
            return found[0][0]
        if len(found[0]) > 1:
            form = found["form"] or ""
            numbers.append(f"%{form}d" % number if found[0][0] == "%" else f"{number:{form}d}")
            return numbers[-1]
        raise ValueError(found[0])

    in_c = any(found["form"] is not None for found in _IN_C.finditer(template))
    try:
        name = (_IN_C if in_c else _IN_BRACES).sub(fill, template)
    except ValueError:
        numbers.clear()
    if len(numbers) != 1:
        raise FrameError(
            f"The template {short(template)} names no series of files: there has to be one number "
            "in it, such as %06d or {:06d}, and nothing else to fill in."
        )
    return name


def _path_from_uri(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        scheme, path = parts.scheme, unquote(parts.path, errors="surrogateescape")
    except ValueError as error:
        raise FrameError(f"The frames are at {short(uri)}, which is no URI ({error}).") from error
    if scheme not in ("file", ""):
        raise FrameError(
            f"The frames are at {uri}; only files can be read. Announce them as file://localhost/..."
        )
    return path[1:] if re.match("/[A-Za-z]:/", path) else path


def _on_this_machine(path: str, root_map: Mapping[str, str]) -> str:
    for root in sorted(root_map, key=len, reverse=True):
        start = root.replace("\\", "/").rstrip("/")
        if path == start or path.startswith(f"{start}/"):
            return os.fspath(root_map[root]).rstrip("/") + path[len(start) :]
    return path
