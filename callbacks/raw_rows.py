"""In which file the rows of a raw run lie, and at which place: what Tiled does not tell.

Tiled knows the files of each stream in their order, and how many rows there are in all. Rows are
given out one after the other in the order of their events, to the first file that has room: so two
streams can share a file, and a detector may go over to another one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from bluesky_azint.callbacks.assets import asset_from_document
from bluesky_azint.callbacks.raw_streams import RawFiles, RawStream
from bluesky_azint.errors import FormatError, FrameError
from bluesky_azint.io.images import open_frames

logger = logging.getLogger(__name__)

Document = dict[str, Any]

_NUMBER = re.compile(r"\d+")


@dataclass(eq=False)
class _Part:
    """A file, or a series of files with consecutive numbers, and the rows of it that are given out.

    Parameters
    ----------
    document
        Its stream resource.
    room
        How many rows it has; None where that need not be known, for it is the last.
    first_index
        The index, as stream datums count, of its first row; None until it is announced.
    """

    document: Document
    room: int | None
    first_index: int | None = None
    used: int = 0


@dataclass(eq=False)
class RowFinder:
    """Announces rows of one run: stream resources, each before its first row, and stream datums.

    Parameters
    ----------
    run
        Uid of the run.
    root_map
        Beginnings of paths in documents, and what they are called on this machine.
    """

    run: str
    root_map: Mapping[str, str]
    _parts: dict[tuple[object, ...], _Part] = field(default_factory=dict)  # by key and place
    _of_stream: dict[tuple[str, str], list[_Part]] = field(default_factory=dict)
    _ends: dict[str, int] = field(default_factory=dict)  # of the indices, by data key
    _datums: int = 0

    def announce(self, stream: RawStream, rows: range) -> Iterator[tuple[str, Document]]:
        """The documents that announce some rows, of one descriptor, in all files of a stream."""
        if rows and not stream.event_times and len(stream.descriptors) > 1:
            logger.error(
                "Run %s: the frames of the stream %r are left out. Its configuration changed on the "
                "way, and it has no events that would tell which frame belongs to which.",
                self.run,
                stream.name,
            )
            return
        for files in stream.files:
            wanted = range(rows.start, min(rows.stop, files.rows))
            # A run that was rewound has sequence numbers twice.
            for _, group in groupby(wanted, key=lambda row: stream.seq_nums[row] - row):
                numbers = list(group)
                yield from self._announce(stream, files, numbers[0], len(numbers))

    def _announce(
        self, stream: RawStream, files: RawFiles, row: int, count: int
    ) -> Iterator[tuple[str, Document]]:
        descriptor = stream.descriptors[stream.descriptor_of(row)]["uid"]
        while count:
            part = self._with_room(stream.name, files)
            if part.first_index is None:
                part.first_index = self._ends.get(files.data_key, 0)
                yield "stream_resource", part.document
            taken = count if part.room is None else min(count, part.room - part.used)
            index, seq_num = part.first_index + part.used, stream.seq_nums[row]
            self._datums += 1
            yield (
                "stream_datum",
                {
                    "uid": f"{part.document['uid']}/{self._datums}",
                    "stream_resource": part.document["uid"],
                    "descriptor": descriptor,
                    "indices": {"start": index, "stop": index + taken},
                    "seq_nums": {"start": seq_num, "stop": seq_num + taken},
                },
            )
            self._ends[files.data_key] = index + taken
            part.used += taken
            row, count = row + taken, count - taken

    def _with_room(self, stream: str, files: RawFiles) -> _Part:
        """The first part that has a row which was not given out."""
        key = stream, files.data_key
        if key not in self._of_stream:
            self._of_stream[key] = list(self._parts_of(files))
        parts = self._of_stream[key]
        while len(parts) > 1 and parts[0].room is not None and parts[0].used >= parts[0].room:
            del parts[0]
        return parts[0]

    def _parts_of(self, files: RawFiles) -> Iterator[_Part]:
        pieces = list(_pieces(files))
        for place, (uri, parameters, room) in enumerate(pieces):
            last = place == len(pieces) - 1
            # Streams that share a series of files each have numbers of their own.
            key = files.data_key, uri, parameters.get("template"), parameters.get("initial_number")
            if key not in self._parts:
                document = self._document(files, uri, parameters)
                self._parts[key] = _Part(document, None if last else room)
            part = self._parts[key]
            if not last and part.room is None:  # nobody asked before
                part.room = room if room is not None else self._rows_in(part.document, files)
            yield part

    def _document(self, files: RawFiles, uri: str, parameters: Document) -> Document:
        return {
            "uid": f"{self.run}-{files.data_key}-{len(self._parts)}",
            "run_start": self.run,
            "data_key": files.data_key,
            "mimetype": files.mimetype,
            "uri": uri,
            "parameters": {"multiplier": files.frames_per_row, **parameters},
        }

    def _rows_in(self, document: Document, files: RawFiles) -> int | None:
        """How many rows a file holds, from itself; None if it cannot be read."""
        try:
            asset = asset_from_document(
                document, frames_per_event=files.frames_per_row, root_map=self.root_map
            )
            with open_frames(asset.name_of(0)) as frames:
                return len(frames) // files.frames_per_row
        except (FormatError, FrameError, OSError) as error:
            logger.error(
                "Run %s: %s has to be read to know where the frames %r go on, and cannot be: %s",
                self.run,
                document["uri"],
                files.data_key,
                error,
            )
            return None


def _pieces(files: RawFiles) -> Iterator[tuple[str, Document, int | None]]:
    """Each file, or each series of consecutive files: uri, parameters, rows if that is known."""
    if files.files_per_row is None:
        for uri in files.uris:
            yield uri, {"dataset": files.dataset}, None
        return
    place = {} if files.dataset is None else {"dataset": files.dataset}
    for uri, template, first, count in _series(files.uris):
        parameters = {"template": template, "initial_number": first, **place}
        parameters["files_per_datum"] = files.files_per_row
        yield uri, parameters, count // files.files_per_row


def _series(uris: Sequence[str]) -> Iterator[tuple[str, str, int, int]]:
    """Files whose names count on: folder, template of the names, first number, how many."""
    names = [_numbered(uri) for uri in uris]

    def kind(place: int) -> tuple[str, str, int]:
        folder, template, number = names[place]
        return folder, template, number - place

    for (folder, template, _), group in groupby(range(len(uris)), key=kind):
        places = list(group)
        yield folder, template, names[places[0]][2], len(places)


def _numbered(uri: str) -> tuple[str, str, int]:
    """The folder of a file, a template for its name, and the last number in the name."""
    folder, slash, name = uri.rpartition("/")
    path = PurePosixPath(unquote(name))
    stem, suffix = path.stem, path.suffix
    *_, number = [None, *_NUMBER.finditer(stem)]
    if number is None:
        return uri, "", 0
    before, after = stem[: number.start()], stem[number.end() :] + suffix
    template = f"{before.replace('%', '%%')}%0{len(number[0])}d{after.replace('%', '%%')}"
    return folder + slash, template, int(number[0])
