"""A reducer that knows of all frames of a run, and reads none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bluesky_azint.callbacks.reducer import Reducer


class UnreadFrames(Reducer):
    """Asks of each frame that is announced whether it is needed, and reads none.

    What belongs to frames is not collected; but it is known which frames are dark, and what the
    uids of reduced runs follow from.
    """

    def _take_frames(self, name: str, doc: Mapping[str, Any]) -> None:
        if doc.get("descriptor") in self._skipped:
            return
        with self._noted(doc):
            list(self._source(name, doc))
