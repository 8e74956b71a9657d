"""A window with the patterns of the scan that is under way.

::

    live_pattern = LivePattern()
    LiveReduction(..., listeners=[live_pattern])

Documents come from any thread, and only GUI threads may draw. So the documents are only noted, and
a timer of the window, which runs in the GUI thread, draws what is new: five times a second at most,
however fast they come, and in a quarter of the time at most, however slow the drawing is.
"""

from __future__ import annotations

import logging
import textwrap
import threading
from collections.abc import Collection, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from bluesky.callbacks.core import make_class_safe

from bluesky_azint.callbacks.pattern_panel import History, Panel
from bluesky_azint.callbacks.pattern_reader import (
    FrameReduced,
    News,
    PatternReader,
    RunBegun,
    RunEnded,
)

if TYPE_CHECKING:
    from matplotlib.backend_bases import TimerBase
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

_INTERVAL_MS = 200
_SHARE = 0.25  # of the time that drawing may take: the session has more to do
_MOST_PANELS = 6
_WIDTH, _HEIGHT, _HEAD = 11.0, 3.5, 0.7  # of a panel, and of what stands above, in inches


@make_class_safe(to_wrap=["__call__", "draw"], logger=logger)  # type: ignore[no-untyped-call]
class LivePattern:
    """Shows the last pattern of each detector, with its errors, and the waterfall of the scan.

    A callable for the documents of reduced runs that have their patterns inside of events,
    ``live_pattern(name, doc)``: from any thread, returning at once, and never raising. Cakes are
    shown as images. The next run takes the place of the last one, in the same window. Make it in
    the thread of the GUI, which is the main one; where there is no window, call `draw`.

    Parameters
    ----------
    data_keys
        Which images to show; None for all.
    rows
        How many patterns the waterfall shows, the last ones.

    Attributes
    ----------
    figure
        What it draws in.
    """

    figure: Figure

    def __init__(self, *, data_keys: Collection[str] | None = None, rows: int = 500) -> None:
        self._data_keys = data_keys
        self._rows = rows
        self._lock = threading.Lock()
        self._read = PatternReader()
        self._raw_uid = ""
        self._title, self._failed = "No run so far", False
        self._histories: dict[tuple[str, str], History] = {}
        self._changed = True
        self._panels: list[Panel] = []
        self._timer: TimerBase | None = None
        self._begun: float | None = None  # when drawing began
        self._next = 0.0  # when it may begin again
        self.show()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take note of a document."""
        with self._lock:
            for news in self._read(name, doc):
                run = news if isinstance(news, RunBegun) else news.run
                if self._data_keys is None or run.data_key in self._data_keys:
                    self._note(news)
                    self._changed = True

    def show(self) -> None:
        """Open the window; again, where somebody has closed it."""
        from matplotlib import pyplot as plt

        if self._timer is not None:
            return
        self.figure = plt.figure(figsize=(_WIDTH, _HEIGHT))
        self.figure.canvas.mpl_connect("close_event", self._close)
        self.figure.canvas.mpl_connect("draw_event", self._rest)
        self._timer = self.figure.canvas.new_timer(_INTERVAL_MS, [(self._tick, (), {})])
        self._panels, self._changed = [], True
        self._timer.start()
        self.figure.show(warn=False)

    def draw(self) -> None:
        """Draw what is new; in the thread of the GUI."""
        self._begun = monotonic()
        with self._lock:
            self._changed = False
            title, failed = self._title, self._failed
            shown = [(one, one.last, *one.image) for one in self._histories.values()]
        histories = [history for history, *_ in shown]
        anew = [panel.history for panel in self._panels] != histories
        if anew:
            self._lay_out(histories)
        for panel, (_, last, first, image) in zip(self._panels, shown, strict=True):
            panel.draw(last, first, image)
        colour = "tab:red" if failed else "black"
        self.figure.suptitle(title, color=colour, fontsize="medium").set_in_layout(False)
        if anew and histories:
            self._arrange()
        self.figure.canvas.draw_idle()

    def _tick(self) -> None:
        if self._changed and monotonic() >= self._next:
            self.draw()

    def _rest(self, _event: object) -> None:
        """Draw no more for a while, which is longer if it took long."""
        if self._begun is not None:
            now = monotonic()
            self._next = now + (now - self._begun) * (1 / _SHARE - 1)
            self._begun = None

    def _close(self, _event: object) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _note(self, news: News) -> None:
        if not isinstance(news, RunBegun) and news.run.raw_uid != self._raw_uid:
            return  # it comes late, and is of a run that another one has replaced
        match news:
            case RunBegun():
                if news.raw_uid != self._raw_uid:
                    self._raw_uid = news.raw_uid
                    self._histories.clear()
                self._say(news, "no pattern so far" if not self._histories else "")
            case FrameReduced():
                self._history(news).add(news)
                self._say(news.run)
            case RunEnded():
                failed = news.exit_status != "success"
                self._say(news.run, f"{news.exit_status}. {news.reason}".strip(), failed=failed)

    def _say(self, run: RunBegun, what: str = "", *, failed: bool = False) -> None:
        scan = "" if run.scan_id is None else f"Scan {run.scan_id}, "
        end = f" ({run.data_key}): {what}" if what else ""
        self._title = textwrap.shorten(f"{scan}run {run.raw_uid[:8]}{end}", 240)
        self._title = "\n".join(textwrap.wrap(self._title, 120))
        self._failed = failed

    def _history(self, frame: FrameReduced) -> History:
        """The history that a pattern belongs to."""
        key = (frame.run.data_key, frame.stream)
        history = self._histories.get(key)
        if history is None or history.run.uid != frame.run.uid:
            history = self._histories[key] = History(frame.run, frame.stream, self._rows)
        while len(self._histories) > _MOST_PANELS:
            del self._histories[next(iter(self._histories))]
        return history

    def _lay_out(self, histories: list[History]) -> None:
        """Have axes for each history, and no others."""
        self.figure.clear()
        self._panels = []
        if not histories:
            return
        number = len(histories)
        height = _HEAD + _HEIGHT * min(number, 3)
        if self.figure.get_figheight() < height:
            self.figure.set_figheight(height)
        axes = self.figure.subplots(number, 2, squeeze=False)
        self._panels = [
            Panel(history, left, right)
            for history, (left, right) in zip(histories, axes, strict=True)
        ]

    def _arrange(self) -> None:
        """Give all axes their places; once, for it takes as long as all the rest."""
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        top = 1 - _HEAD / self.figure.get_figheight()
        self.figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1, top)))
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
