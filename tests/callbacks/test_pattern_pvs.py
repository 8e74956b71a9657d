"""Patterns as PVs, read by a client of Channel Access."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from caproto import AlarmSeverity, CaprotoError, bcast_socket
from caproto.sync import client

from bluesky_azint.callbacks import PatternPVs, channel_server
from bluesky_azint.errors import AddressError
from tests.epics.conftest import environment, free_port
from tests.epics.documents import TIME, pattern, reduced_run

FINE, MAJOR, INVALID = (
    AlarmSeverity.NO_ALARM,
    AlarmSeverity.MAJOR_ALARM,
    AlarmSeverity.INVALID_ALARM,
)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that servers use and clients ask; all that serves there ends with the test."""
    number = free_port()
    for name, value in environment(number).items():
        monkeypatch.setenv(name, value)
    yield number
    assert [t.name for t in threading.enumerate() if "channel-access" in t.name] == []


@pytest.fixture
def pvs(port: int) -> Iterator[PatternPVs]:
    """Patterns are shown, with room for 100 bins."""
    with PatternPVs("XRD:", npt=100) as shown:
        yield shown


def look(pv: str, data_type: str = "time") -> Any:
    """What a client sees."""
    return client.read(pv, data_type=data_type, repeater=False, timeout=30)


def value(pv: str) -> Any:
    """The only value of a PV; or its text."""
    (only,) = look(pv).data
    return only.decode() if isinstance(only, bytes) else only


def severities(*pvs: str) -> list[int]:
    """Of the alarms of some PVs."""
    return [look(pv).metadata.severity for pv in pvs]


@contextmanager
def watching(pv: str) -> Iterator[Callable[[], bool]]:
    """A client that watches a PV, but takes nothing until it is asked whether it was cut off."""
    udp = bcast_socket()
    channel = client.make_channel(pv, udp, 1, 30)
    connection = client.sockets[channel.circuit]
    client.send(channel.circuit, channel.subscribe(data_type=6, data_count=0, mask=1))

    def cut_off() -> bool:
        connection.settimeout(30)
        try:
            while connection.recv(2**20):
                pass
        except ConnectionResetError:
            pass
        return True  # or there was a timeout

    try:
        yield cut_off
    finally:
        client.sockets.pop(channel.circuit).close()
        del client.global_circuits[channel.circuit.address, 1]
        udp.close()


def feed(pvs: PatternPVs, data_key: str = "img", **run: Any) -> None:
    """A run is reduced, and shown."""
    for name, doc in reduced_run(data_key, **run):
        pvs(name, doc)
    assert pvs.flush(60)


def test_a_pattern_is_shown(pvs: PatternPVs) -> None:
    feed(pvs, patterns=3, npt=40)
    intensity = look("XRD:img:Intensity")
    assert intensity.data.tolist() == pattern(3, 40)  # as many as there are, not all that would fit
    assert (intensity.metadata.timestamp, intensity.metadata.severity) == (TIME + 2, FINE)
    assert look("XRD:img:Sigma").data.tolist() == pattern(-2, 40)
    radial = look("XRD:img:Radial", "control")
    assert radial.data.tolist() == np.linspace(1.0, 2.0, 40).tolist()
    assert radial.metadata.units == b"1/A"
    texts = {name: value(f"XRD:img:{name}") for name in ("RawUid", "Time", "Unit")}
    assert texts == {
        "RawUid": "uid of the raw run",
        "Time": "2023-11-14T22:13:22+00:00",
        "Unit": "q_A^-1",
    }
    numbers = [value(f"XRD:img:{name}") for name in ("SeqNum", "Total", "Peak", "FramesDone")]
    assert numbers == [3, 102.0, 2.0, 3]
    assert client.read("XRD:img:State", data_type=0, repeater=False).data == [b"idle"]


def test_there_are_pvs_before_the_first_run(port: int) -> None:
    with PatternPVs("XRD:", data_keys=["img"]) as pvs:
        assert pvs.flush(60)
        assert look("XRD:img:Intensity").data.size == 0
        assert severities("XRD:img:Intensity", "XRD:img:SeqNum") == [INVALID, INVALID]
        assert value("XRD:img:State") == 0


def test_a_pattern_that_has_no_room_gets_it(pvs: PatternPVs) -> None:
    feed(pvs, patterns=1, npt=40)
    with watching("XRD:img:Intensity") as cut_off:
        feed(pvs, patterns=2, npt=250)
        assert cut_off()  # to come again, and find the larger one
    assert look("XRD:img:Intensity").data.tolist() == pattern(2, 250)
    feed(pvs, patterns=1, npt=30)
    assert look("XRD:img:Intensity").data.tolist() == pattern(1, 30)


def test_a_cake_takes_the_place_of_a_pattern(pvs: PatternPVs) -> None:
    feed(pvs, patterns=1, npt=40)
    feed(pvs, patterns=2, npt=40, rows=6)
    assert look("XRD:img:CakeShape").data.tolist() == [6, 40]
    assert look("XRD:img:Cake").data.reshape(6, 40).tolist() == pattern(2, 40, rows=6)
    assert look("XRD:img:CakeSigma").data.reshape(6, 40).tolist() == pattern(-1, 40, rows=6)
    assert look("XRD:img:Azimuthal").data.tolist() == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    assert look("XRD:img:Radial").data.size == 40
    assert severities("XRD:img:Cake", "XRD:img:Intensity") == [FINE, INVALID]
    assert look("XRD:img:Intensity").data.size == 0
    feed(pvs, patterns=1, npt=40, sigma=False)
    pvs_shown = ("XRD:img:Intensity", "XRD:img:Sigma", "XRD:img:Cake")
    assert severities(*pvs_shown) == [FINE, INVALID, INVALID]


def test_a_failure_is_an_alarm(pvs: PatternPVs) -> None:
    of_pattern = ("XRD:img:Intensity", "XRD:img:RawUid")
    feed(pvs, patterns=2, npt=40, exit_status="fail")
    assert severities("XRD:img:State", *of_pattern) == [MAJOR, FINE, FINE]
    feed(pvs, patterns=0, npt=40, exit_status="fail", reason="No geometry: µ " + "x" * 2000)
    assert severities("XRD:img:State", *of_pattern) == [MAJOR, INVALID, INVALID]
    message = bytes(look("XRD:img:Message").data).decode()
    assert message.startswith("No geometry: ? xx")
    assert len(message) == 1000
    feed(pvs, patterns=1, npt=40, empty=True)
    assert severities("XRD:img:State", *of_pattern) == [FINE, INVALID, INVALID]


def test_names_that_are_not_allowed(port: int) -> None:
    with PatternPVs("beam line.") as pvs:
        feed(pvs, "det.image $1", patterns=1, npt=10, recipes=("a", "b c"), streams=("s_b c",))
        assert value("beam_line_det_image__1:b_c:SeqNum") == 1


def test_the_last_pattern_is_never_skipped(pvs: PatternPVs) -> None:
    written: list[Any] = []
    write = pvs._write

    async def noted(pv: str, suffix: str, reading: Any) -> None:
        if suffix == "SeqNum":
            written.append(reading.value)
        await write(pv, suffix, reading)

    pvs._write = noted  # type: ignore[method-assign]
    feed(pvs, patterns=500, npt=10)
    assert value("XRD:img:SeqNum") == value("XRD:img:FramesDone") == written[-1] == 500
    assert len(written) < 400


def test_clients_cannot_write(pvs: PatternPVs) -> None:
    feed(pvs, patterns=1, npt=10)
    with pytest.raises(CaprotoError):
        client.write("XRD:img:SeqNum", 7, notify=True, repeater=False, timeout=30)
    assert value("XRD:img:SeqNum") == 1


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0"])
def test_other_addresses(port: int, host: str) -> None:
    with PatternPVs("XRD:", host=host) as pvs:
        feed(pvs, patterns=1, npt=10)
        assert value("XRD:img:SeqNum") == 1


@pytest.mark.parametrize(
    ("name", "doc"),
    [
        ("start", {"raw_data_key": "img"}),
        ("event", {}),
        ("stop", {}),
        ("rubbish", {"descriptor": None}),
        ("descriptor", {"run_start": ["?"]}),
    ],
)
def test_rubbish_is_logged_at_most(pvs: PatternPVs, name: str, doc: dict[str, Any]) -> None:
    pvs(name, doc)
    feed(pvs, patterns=1, npt=10)
    assert value("XRD:img:SeqNum") == 1


def test_an_event_without_a_pattern(pvs: PatternPVs, caplog: pytest.LogCaptureFixture) -> None:
    start, descriptor, event, stop = reduced_run("img", patterns=1, npt=10)
    odd = {**event[1], "data": event[1]["data"] | {"intensity": ["?"]}}
    for name, doc in (start, descriptor, ("event", odd)):
        pvs(name, doc)
    assert pvs.flush(60)
    assert "do not show what is newest" in caplog.text
    for name, doc in (event, stop):
        pvs(name, doc)
    assert pvs.flush(60)
    assert look("XRD:img:Intensity").data.tolist() == pattern(1, 10)


def test_a_client_that_does_not_take_what_it_wants(
    pvs: PatternPVs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channel_server, "PATIENCE", 0.2)
    start, descriptor, event, _ = reduced_run("img", patterns=1, npt=10)
    huge: Sequence[float] = np.zeros(500_000)  # type: ignore[assignment]
    (_, large) = ("event", {**event[1], "data": event[1]["data"] | {"intensity": huge}})
    for name, doc in (start, descriptor, ("event", large)):
        pvs(name, doc)
    assert pvs.flush(60)
    with watching("XRD:img:Intensity") as cut_off:
        for _ in range(100):
            pvs("event", large)
            assert pvs.flush(60)
            if "is cut off" in caplog.text:
                break
        assert cut_off()
    assert value("XRD:img:FramesDone") > 1  # others are served


def test_two_prefixes_share_a_server_and_the_last_ends_it(port: int) -> None:
    first, second = PatternPVs("A:"), PatternPVs("B:")
    feed(first, patterns=1, npt=10)
    feed(second, patterns=2, npt=10)
    assert (value("A:img:SeqNum"), value("B:img:SeqNum")) == (1, 2)
    first.close()
    assert value("B:img:SeqNum") == 2
    with pytest.raises(CaprotoError):
        client.read("A:img:SeqNum", repeater=False, timeout=0.2)
    second.close()
    second.close()
    second("start", {"raw_data_key": "img", "uid": "late", "time": 0.0})
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as again:
            again.bind(("127.0.0.1", port))


def test_the_port_of_somebody_else(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        with pytest.raises(AddressError, match="Another CA server is there"):
            PatternPVs("A:")
    with pytest.raises(AddressError, match=r"'203\.0\.113\.1' is no address of this machine"):
        PatternPVs("A:", host="203.0.113.1")
    with pytest.raises(AddressError, match=r"nobody\.invalid"):
        PatternPVs("A:", host="nobody.invalid")
    with pytest.raises(AddressError, match="70000 no port"):
        PatternPVs("A:", port=70_000)
