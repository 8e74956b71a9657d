"""The darks of one run: which frames are averaged together, and which dark others are given.

Dark frames that follow each other make one dark. Frames with beam, or another exposure, end it; so
where darks are taken again and again in a run, frames get those that were taken last before them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bluesky_azint.callbacks.companions.config import DarkConfig
from bluesky_azint.callbacks.companions.darks import Dark, DarkLabel, DarkMean, choose
from bluesky_azint.callbacks.companions.shelf import DarkShelf
from bluesky_azint.callbacks.frames import FrameBatch
from bluesky_azint.errors import FrameError


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

    def dark(self, shape: tuple[int, int], exposure: float | None) -> Dark:
        """The dark for frames of that shape and exposure, scaled to it.

        Raises
        ------
        FrameError
            If there is none that may be used.
        FormatError
            If it was kept, and cannot be read.
        """
        self.end()
        kept = self.shelf.labels(self.data_key, shape)
        own = [label for label in self._own if label.shape == shape]
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
