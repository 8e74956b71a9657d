"""A window with the patterns of the scan that is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.backend_bases import CloseEvent, FigureCanvasBase, TimerBase
from numpy.typing import NDArray

from bluesky_azint.callbacks import live_pattern
from bluesky_azint.callbacks.live_pattern import LivePattern
from bluesky_azint.callbacks.pattern_panel import History, Panel
from tests.callbacks.inline_runs import AZIMUTHAL, RADIAL, InlineRun


class Clock(TimerBase):
    """The timer of a window: it ticks when the test says so."""

    running = False

    def _timer_start(self) -> None:
        self.running = True

    def _timer_stop(self) -> None:
        self.running = False

    def tick(self) -> None:
        if self.running:
            self._on_timer()  # type: ignore[attr-defined]


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> list[Clock]:
    """The timers of the windows that are opened."""
    made: list[Clock] = []

    def new_timer(_: object, interval: int, callbacks: Any) -> Clock:
        made.append(Clock(interval, callbacks))
        return made[-1]

    monkeypatch.setattr(FigureCanvasBase, "new_timer", new_timer)
    return made


@pytest.fixture
def make_live(clocks: list[Clock]) -> Iterator[Callable[..., LivePattern]]:
    with mpl.rc_context(rc={"backend": "Agg", "figure.dpi": 40}):
        plt.switch_backend("Agg")
        yield LivePattern
        plt.close("all")


@pytest.fixture
def live(make_live: Callable[..., LivePattern]) -> LivePattern:
    return make_live()


@pytest.fixture
def drawn(live: LivePattern) -> list[int]:
    """The thread of each time that something was drawn."""
    threads: list[int] = []
    live.figure.canvas.mpl_connect("draw_event", lambda _: threads.append(threading.get_ident()))
    return threads


def curve(seq_num: float) -> NDArray[np.float64]:
    return 100.0 * seq_num + np.arange(30.0)


def axes(live: LivePattern) -> NDArray[Any]:
    return np.array(live.figure.axes).reshape(-1, 2)


def waterfall(live: LivePattern, row: int = 0) -> NDArray[Any]:
    values = axes(live)[row, 1].images[0].get_array()
    return np.ma.filled(values.astype(np.float64), np.nan)


def title(live: LivePattern) -> str:
    return live.figure.get_suptitle()


def test_the_last_pattern_and_the_scan_are_shown(live: LivePattern, tmp_path: Path) -> None:
    take = InlineRun(live, "0123456789").describe()
    for number in (1, 2, 3):
        take(number, curve(number))
    live.draw()
    ((left, right),) = axes(live)
    (line,) = left.lines
    assert np.array_equal(line.get_xydata(), np.column_stack([RADIAL, curve(3)]))
    (band,) = left.collections
    ends = band.get_paths()[0].vertices
    assert ends[:, 1].max() == curve(3)[-1] + np.sqrt(curve(3)[-1])
    assert np.array_equal(waterfall(live), [curve(number) for number in (1, 2, 3)])
    step = RADIAL[1] - RADIAL[0]
    extent = right.images[0].get_extent()
    assert extent == pytest.approx((1.0 - step / 2, 4.0 + step / 2, 3.5, 0.5))
    assert "q" in left.get_xlabel()
    assert "det, primary, event 3" in left.get_title()
    assert title(live) == "Scan 7, run 01234567"
    live.figure.savefig(tmp_path / "live.png")
    seen = plt.imread(tmp_path / "live.png")[..., :3]
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 50  # of many colours


def test_it_goes_on_with_the_axes_that_are_there(live: LivePattern) -> None:
    take = InlineRun(live, "raw").describe()
    take(1, curve(1))
    live.draw()
    before = live.figure.axes
    axes(live)[0, 0].set_xlim(2.0, 3.0)  # the user zooms
    for number in (2, 3):
        take(number, curve(number))
        live.draw()
    assert live.figure.axes == before
    left, right = axes(live)[0]
    assert (len(left.lines), len(left.collections), len(right.images)) == (1, 1, 1)
    assert left.get_xlim() == (2.0, 3.0)
    assert left.get_ylim()[1] > 320.0  # where nobody zoomed, all can be seen
    assert len(waterfall(live)) == 3


def test_cakes_are_images(live: LivePattern) -> None:
    take = InlineRun(live, "raw").describe(azimuthal=AZIMUTHAL, errors=False)
    cake = np.arange(1.0, 181.0).reshape(6, 30)
    cake[2, 5] = 0.0  # no pixel is there
    take(1, cake)
    live.draw()
    (image,) = axes(live)[0, 0].images
    assert np.array_equal(np.ma.filled(image.get_array(), 0.0), cake)
    assert image.get_extent()[2:] == pytest.approx([-180.0, 180.0])
    expected = cake.mean(axis=0)
    expected[5] = cake[[0, 1, 3, 4, 5], 5].mean()
    assert waterfall(live)[0] == pytest.approx(expected)


def test_each_detector_and_stream_has_its_own(live: LivePattern) -> None:
    one = InlineRun(live, "raw", "one")
    one.describe()(1, curve(1))
    live.draw()
    one.describe("monitor")(1, curve(2))
    InlineRun(live, "raw", "two").describe()(1, curve(3))
    live.draw()
    names = [left.get_title().partition(", event")[0] for left, _ in axes(live)]
    assert names == ["one, primary", "one, monitor", "two, primary"]
    assert [waterfall(live, row)[0, 0] for row in range(3)] == [100.0, 200.0, 300.0]


def test_only_chosen_detectors(make_live: Callable[..., LivePattern]) -> None:
    live = make_live(data_keys=["two"])
    for key in ("one", "two"):
        InlineRun(live, "raw", key).describe()(1, curve(1))
    live.draw()
    assert [left.get_title() for left, _ in axes(live)] == ["two, primary, event 1"]


def test_the_next_run_starts_afresh_in_the_same_window(live: LivePattern) -> None:
    figure = live.figure
    InlineRun(live, "raw 1", "one").describe()(1, curve(1))
    live.draw()
    run = InlineRun(live, "raw 2", "two")
    live.draw()
    assert live.figure.axes == []
    assert title(live) == "Scan 7, run raw 2 (two): no pattern so far"
    run.describe()(1, curve(5))
    live.draw()
    assert live.figure is figure
    assert [left.get_title() for left, _ in axes(live)] == ["two, primary, event 1"]
    assert np.array_equal(waterfall(live), [curve(5)])


def test_what_comes_late_of_another_run_is_not_shown(live: LivePattern) -> None:
    late = InlineRun(live, "late").describe()
    newest = InlineRun(live, "newest").describe()
    newest(1, curve(1))
    late(5, curve(5))
    live.draw()
    assert "newest" in title(live)
    np.testing.assert_array_equal(waterfall(live)[0], curve(1))


def test_a_run_that_goes_on_replaces_rows(live: LivePattern) -> None:
    run = InlineRun(live, "raw")
    run.describe()(1, curve(1))
    run.stop("fail")
    live("start", run.run.start_doc)
    take = run.describe()
    take(1, curve(8))
    take(2, curve(2))
    live.draw()
    assert np.array_equal(waterfall(live), [curve(8), curve(2)])


def test_frames_without_a_pattern_are_gaps(live: LivePattern) -> None:
    take = InlineRun(live, "raw").describe()
    take(1, curve(1))
    take(2, curve(np.nan))
    live.draw()
    assert np.array_equal(waterfall(live), [curve(1), curve(np.nan)], equal_nan=True)
    assert "event 1; event 2 has no pattern" in axes(live)[0, 0].get_title()
    take(4, curve(4))
    live.draw()
    assert np.isnan(waterfall(live)).all(axis=1).tolist() == [False, True, True, False]
    assert "has no pattern" not in axes(live)[0, 0].get_title()


def test_a_run_that_fails_says_why(live: LivePattern) -> None:
    run = InlineRun(live, "raw")
    run.stop("fail", "There is no calibration of the detector 'det'.")
    live.draw()
    assert title(live) == (
        "Scan 7, run raw (det): fail. There is no calibration of the detector 'det'."
    )
    (text,) = live.figure.texts
    assert text.get_color() == "tab:red"


def test_memory_is_bounded(make_live: Callable[..., LivePattern]) -> None:
    live = make_live(rows=20)
    run = InlineRun(live, "raw")
    take = run.describe()
    for number in range(1, 101):
        take(number, curve(number))
    for stream in range(12):
        run.describe(f"stream {stream}")(1, curve(1))
    assert len(live._histories) == 6
    take(101, curve(101))
    take(150, curve(150))
    live.draw()
    image = waterfall(live, row=5)
    assert len(image) == 20
    assert np.array_equal(image[-1], curve(150))
    assert axes(live)[5, 1].images[0].get_extent()[2:] == [150.5, 130.5]
    assert len(live._histories["det", "primary"]._rows) == 1


def test_it_is_drawn_when_the_window_has_time_and_there_is_news(
    live: LivePattern, clocks: list[Clock], drawn: list[int]
) -> None:
    (clock,) = clocks
    assert clock.interval == 200

    def run(number: int) -> None:
        take = InlineRun(live, f"raw {number}").describe()
        for event in range(1, 101):
            take(event, curve(event))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert drawn == []
    clock.tick()
    number = len(drawn)
    assert number > 0
    assert set(drawn) == {threading.get_ident()}
    clock.tick()
    assert len(drawn) == number


def test_slow_drawing_leaves_time_for_others(
    live: LivePattern, clocks: list[Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, drawn = [100.0], []
    monkeypatch.setattr(live_pattern, "monotonic", lambda: now[0])

    def slowly(*_: object) -> None:
        now[0] += 0.5
        drawn.append(now[0])

    monkeypatch.setattr(Panel, "draw", slowly)
    take = InlineRun(live, "raw").describe()
    for number in range(1, 51):  # ten seconds
        take(number, curve(number))
        now[0] += 0.2
        clocks[0].tick()
    assert len(drawn) == pytest.approx(now[0] / 0.5 / 4 - 100.0 / 0.5 / 4, abs=2)
    live.figure.canvas.draw()  # as when a window is resized, long after
    now[0] += 0.2
    take(51, curve(51))
    before = len(drawn)
    now[0] += 1.5
    clocks[0].tick()
    assert len(drawn) == before + 1


def test_nothing_is_ever_raised(
    live: LivePattern,
    clocks: list[Clock],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    live("start", {"analysis_stage": "azint1d", "raw_uid": "x"})
    assert "KeyError" in caplog.text
    take = InlineRun(live, "raw").describe()
    take(1, curve(1))

    def fail(*_: object) -> None:
        raise RuntimeError("The display is gone.")

    with monkeypatch.context() as patch:
        patch.setattr(Panel, "draw", fail)
        clocks[0].tick()
        assert "The display is gone." in caplog.text
        caplog.clear()
        clocks[0].tick()
        assert caplog.text == ""  # once for what is new
    take(2, curve(2))
    clocks[0].tick()
    assert len(waterfall(live)) == 2


def test_a_window_that_was_closed_can_be_opened_again(
    live: LivePattern, clocks: list[Clock], drawn: list[int]
) -> None:
    first = live.figure
    take = InlineRun(live, "raw").describe()
    take(1, curve(1))
    live.figure.canvas.callbacks.process("close_event", CloseEvent("close_event", first.canvas))
    assert not clocks[0].running
    take(2, curve(2))
    clocks[0].tick()
    assert drawn == []
    live.show()
    live.show()
    assert len(clocks) == 2
    clocks[1].tick()
    assert live.figure is not first
    assert len(waterfall(live)) == 2


def test_one_bin_and_no_pattern(live: LivePattern) -> None:
    run = InlineRun(live, "raw")
    take = run.describe(radial=np.array([2.0]))
    take(1, np.array([np.nan]))
    live.draw()
    assert "no pattern so far" in axes(live)[0, 0].get_title()
    take(2, np.array([5.0]))
    live.draw()
    assert np.array_equal(waterfall(live), [[np.nan], [5.0]], equal_nan=True)
    history: History = live._histories["det", "primary"]
    assert history.image[1].shape == (2, 1)
