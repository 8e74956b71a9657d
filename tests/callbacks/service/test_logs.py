"""The log of the service: what a line holds, what cannot be forged, and what is not repeated."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from bluesky_azint.callbacks.service import logs
from bluesky_azint.callbacks.service.logs import about_run, log_to

logger = logging.getLogger("bluesky_azint.somewhere")

Open = Callable[..., io.StringIO]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a log, and puts everything back afterwards."""
    ours, root = logging.getLogger("bluesky_azint"), logging.getLogger()
    before = ours.level, root.level, root.handlers[:]
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(root, "handlers", [])

    def opened(**options: str) -> io.StringIO:
        stream = io.StringIO()
        log_to(stream, **options)
        return stream

    yield opened
    logging.captureWarnings(False)
    ours.setLevel(before[0])
    root.setLevel(before[1])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the time is, which can be set."""
    now = [1e9]
    monkeypatch.setattr(logging.time, "time", lambda: now[0])  # type: ignore[attr-defined]
    return now


def entries(stream: io.StringIO) -> list[dict[str, str]]:
    """The objects of a log, one a line."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_text(opened: Open, clock: list[float]) -> None:
    log = opened()
    with about_run("0f3a", "det_image"):
        logger.warning("frame %d", 3)
    logger.info("done")

    assert log.getvalue() == (
        "2001-09-09T01:46:40.000Z WARNING bluesky_azint.somewhere: [0f3a det_image] frame 3\n"
        "2001-09-09T01:46:40.000Z INFO bluesky_azint.somewhere: done\n"
    )


def test_a_line_of_json(opened: Open, clock: list[float]) -> None:
    log = opened(form="json")
    with about_run("0f3a"):
        logger.warning("frame %d", 3)

    assert entries(log) == [
        {
            "time": "2001-09-09T01:46:40.000Z",
            "level": "warning",
            "logger": "bluesky_azint.somewhere",
            "message": "frame 3",
            "raw_uid": "0f3a",
        }
    ]


def test_time_is_now_in_utc(opened: Open) -> None:
    log = opened(form="json")
    logger.info("now")
    told = datetime.fromisoformat(entries(log)[0]["time"])

    assert abs((datetime.now(UTC) - told).total_seconds()) < 10


def test_runs_are_those_of_the_thread_and_end(opened: Open) -> None:
    log = opened(form="json")
    with about_run("outer"):
        thread = threading.Thread(target=lambda: logger.info("from another thread"))
        thread.start()
        thread.join()
        with about_run("inner", "key"):
            logger.info("in")
        logger.info("out")
        with pytest.raises(RuntimeError), about_run("failing"):
            raise RuntimeError
        logger.info("after")
    logger.info("without")

    found = {entry["message"]: entry.get("raw_uid") for entry in entries(log)}
    assert found == {
        "from another thread": None,
        "in": "inner",
        "out": "outer",
        "after": "outer",
        "without": None,
    }


HOSTILE = "a\n2026-01-01T00:00:00.000Z INFO x: forged\r\x1b[2J\x85\u2028b\ud800"


def test_no_line_is_forged_in_text(opened: Open) -> None:
    log = opened()
    with about_run("uid\nforged"):
        logger.error("bad: %s", HOSTILE)
    lines = log.getvalue().splitlines()

    assert len(lines) == 1
    assert r"[uid\nforged] bad: a\n2026-01-01T" in lines[0]
    assert r"forged\r\x1b[2J\x85\u2028b" in lines[0]


def test_no_line_is_forged_in_json(opened: Open) -> None:
    log = opened(form="json")
    with about_run("uid\nforged"):
        logger.error("bad: %s", HOSTILE)

    assert [entry["message"] for entry in entries(log)] == [f"bad: {HOSTILE}"]
    assert log.getvalue().isascii()


@pytest.mark.parametrize("form", ["text", "json"])
def test_tracebacks_are_in_the_log_and_forge_nothing(opened: Open, form: str) -> None:
    log = opened(form=form)
    try:
        raise ValueError("first\n2026-01-01 INFO x: forged\r\x1b[2Jforged")
    except ValueError:
        logger.exception("It failed.")

    if form == "json":
        assert "test_logs.py" in entries(log)[0]["exception"]
        assert len(entries(log)) == 1
    else:
        first, *others = log.getvalue().splitlines()
        assert first.endswith("ERROR bluesky_azint.somewhere: It failed.")
        assert "    ValueError: first" in others
        assert all(line.startswith("    ") for line in others)
        assert r"    2026-01-01 INFO x: forged\r\x1b[2Jforged" in others


def test_a_message_that_repeats_itself_is_counted(opened: Open, clock: list[float]) -> None:
    log = opened(form="json")
    for frame in range(1600):
        clock[0] += 0.0625  # 100 seconds in all
        logger.error("The frame does not fit.")
        if frame % 1000 == 0:
            logger.info("frame %d", frame)
    logging.getLogger().handlers[0].close()

    assert [entry["message"] for entry in entries(log)] == [
        "The frame does not fit.",
        "frame 0",
        "The frame does not fit. (959 times more)",
        "The frame does not fit.",
        "frame 1000",
        "The frame does not fit. (639 times more)",
    ]


def test_messages_of_several_runs_are_not_the_same(opened: Open) -> None:
    log = opened(form="json")
    for uid in ("a", "b", "a"):
        with about_run(uid):
            logger.error("The frame does not fit.")

    assert [entry["raw_uid"] for entry in entries(log)] == ["a", "b"]


def test_what_is_remembered_is_bounded(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_MESSAGES_KEPT", 10)
    log = opened(form="json")
    for number in range(50):
        logger.error("Frame %d does not fit.", number)
        logger.error("Frame %d does not fit.", number)
    (handler,) = logging.getLogger().handlers

    assert isinstance(handler, logs._Handler)
    assert len(handler._repeats._said) <= 10
    told = [entry["message"] for entry in entries(log)]
    assert told.count("Frame 3 does not fit.") == 1
    assert told.count("Frame 3 does not fit. (1 times more)") == 1


def test_a_long_message_is_cut(opened: Open) -> None:
    log = opened()
    logger.error("%s", "x" * 10**6)

    assert len(log.getvalue()) < 11_000
    assert "(1000000 characters)" in log.getvalue()


def test_no_frame_is_kept_for_the_sake_of_a_message(opened: Open) -> None:
    opened()
    try:
        raise ValueError
    except ValueError:
        logger.exception("It failed.")
    (handler,) = logging.getLogger().handlers

    assert isinstance(handler, logs._Handler)
    assert [said.record.exc_info for said in handler._repeats._said.values()] == [None]


@pytest.mark.parametrize(("level", "heard"), [("debug", "diwW"), ("info", "iwW"), ("error", "")])
def test_others_are_heard_from_warnings_on(opened: Open, level: str, heard: str) -> None:
    log = opened(form="json", level=level)
    for source, names in ((logger, "diw"), (logging.getLogger("httpx"), "DIW")):
        for number, name in zip((logging.DEBUG, logging.INFO, logging.WARNING), names, strict=True):
            source.log(number, name)

    assert "".join(entry["message"] for entry in entries(log)) == heard


def test_a_message_that_cannot_be_formatted_ends_nothing(
    opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    log = opened()
    logger.info("%d frames", "three")
    logger.info("on it goes")

    assert "on it goes" in log.getvalue()


def test_threads_that_end_and_warnings_are_told(opened: Open) -> None:
    log = opened(form="json")

    def fail() -> None:
        raise RuntimeError("lost")

    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", stacklevel=1)
    sys.excepthook(RuntimeError, RuntimeError("the end"), None)

    found = entries(log)
    assert found[0]["message"] == "The thread worker has ended with an error."
    assert "RuntimeError: lost" in found[0]["exception"]
    assert "old" in found[1]["message"]
    assert found[2]["level"] == "critical"
    assert "the end" in found[2]["exception"]
