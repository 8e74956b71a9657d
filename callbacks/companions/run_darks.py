"""The darks of one run: which frames are averaged together, and which dark others are given.

Dark frames that follow each other make one dark. Documents of frames with beam, or another exposure,
end it; so where darks are taken again and again in a run, frames get those that were taken last
before them. Which these are is noted when frames are announced, so that frames that are read again
later are given the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.companions.columns import Column
from bluesky_azint.callbacks.companions.config import DarkConfig
from bluesky_azint.callbacks.companions.darks import Dark, DarkLabel, DarkMean, choose
from bluesky_azint.callbacks.companions.shelf import DarkShelf
from bluesky_azint.callbacks.frames import FrameBatch
from bluesky_azint.errors import FrameError

Floats = NDArray[np.float64]


@dataclass(eq=False)
class RunDarks:
    """The darks of one run, of the images of one data key.

    Parameters
    ----------
    data_key, raw_uid, time
        The images, and the run and when it started.
    config
        Which darks may be used.
    shelf
        Where darks are kept.
    """

    data_key: str
    raw_uid: str
    time: float
    config: DarkConfig
    shelf: DarkShelf
    _own: list[DarkLabel] = field(default_factory=list)
    _open: DarkMean | None = None
    _label: DarkLabel | None = None
    _seen: set[tuple[str, int]] = field(default_factory=set)
    _scaled: dict[object, Dark] = field(default_factory=dict)
    _before: dict[str, Column] = field(default_factory=dict)  # how many darks, by descriptor

    def take(self, batch: FrameBatch, exposure: float | None) -> None:
        """Take dark frames of one exposure; the same frame twice counts once."""
        shape = (int(batch.frames.shape[1]), int(batch.frames.shape[2]))
        for one in batch.each():
            known_as = one.descriptor, int(one.indices[0])
            if known_as in self._seen:
                continue
            self._seen.add(known_as)
            frame = np.asarray(one.frames)[0]
            if self._label is None or (self._label.shape, self._label.exposure) != (
                shape,
                exposure,
            ):
                self.end()
                self._open, self._label = DarkMean(), self._new_label(shape, exposure)
            if self._open is not None:
                self._open.add(frame)

    def end(self) -> None:
        """No more frames belong to the dark that is under way: keep it."""
        if self._open is not None and self._label is not None:
            dark = self._open.dark(self._label)
            self._open = self._label = None
            self._own.append(dark.label)
            self.shelf.put(dark)

    def announce(self, descriptor: str, seq_nums: Sequence[int], mark: int) -> None:
        """Note which darks come before frames of some events; `mark` tells their document."""
        self.end()
        column = self._before.setdefault(descriptor, Column())
        new = column.note(seq_nums, mark)
        column.put(new, np.full((len(new), 1), float(len(self._own))))

    def before(self, descriptor: str, seq_nums: NDArray[np.int64]) -> Floats:
        """How many darks of the run come before the frames of some events."""
        column = self._before.get(descriptor, Column())
        return np.nan_to_num(column.numbers(seq_nums.tolist())[:, 0])

    def dark(self, shape: tuple[int, int], exposure: float | None, before: int) -> Dark:
        """The dark for frames of that shape and exposure, scaled to it.

        Parameters
        ----------
        shape, exposure
            Of the frames.
        before
            How many darks of the run come before them.

        Raises
        ------
        FrameError
            If there is none that may be used.
        FormatError
            If it was kept, and cannot be read.
        """
        kept = self.shelf.labels(self.data_key, shape)
        own = [label for label in self._own[:before] if label in kept]
        earlier = [
            label
            for label in kept
            if label.raw_uid != self.raw_uid
            and self.time - self.config.max_age <= label.time <= self.time
        ]
        # Taken after the frames, and seen when these are reduced again: the last resort, so that
        # frames that found a dark at first find the same one then.
        later = [label for label in kept if label.raw_uid == self.raw_uid]
        chosen = choose((own, earlier, later), exposure, self.config)
        if chosen is None:
            raise FrameError(self._refusal(kept, exposure))
        label, factor = chosen
        if (label, factor) not in self._scaled:
            self._scaled.clear()  # one at a time: they are as large as frames
            self._scaled[label, factor] = self.shelf.get(label).scaled(factor)
        return self._scaled[label, factor]

    def _new_label(self, shape: tuple[int, int], exposure: float | None) -> DarkLabel:
        return DarkLabel(
            data_key=self.data_key,
            shape=shape,
            raw_uid=self.raw_uid,
            number=len(self._own) + 1,
            time=self.time,
            frames=0,
            exposure=exposure,
        )

    def _refusal(self, kept: list[DarkLabel], exposure: float | None) -> str:
        wanted = "" if exposure is None else f" for an exposure of {exposure:g} s"
        there_is = "; ".join(
            f"{'unknown exposure' if one.exposure is None else f'{one.exposure:g} s'}, "
            f"{(self.time - one.time) / 3600:.1f} h before (run {one.raw_uid[:8]})"
            for one in kept[-3:]
        )
        return (
            f"There is no dark of {self.data_key!r}{wanted} that is younger than "
            f"{self.config.max_age / 3600:g} h; "
            f"{f'the last that were kept are: {there_is}' if kept else 'none were kept'}. Take "
            f"darks in the stream {self.config.stream!r}, or allow others with dark.max_age or "
            "dark.scale."
        )
