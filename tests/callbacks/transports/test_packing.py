"""Documents as bytes, and bytes that are none."""

from __future__ import annotations

import pickle
import uuid
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bluesky_azint.callbacks.transports import packing
from bluesky_azint.callbacks.transports.packing import pack, unpack, unpack_named
from bluesky_azint.errors import FormatError

EXAMPLE = pack(
    {
        "uid": "0f3a",
        "data": {"image": np.arange(6.0).reshape(2, 3), "rows": [1, 2.5, None, True, b"x"]},
        "n": np.float32(3),
    }
)


class Mode(StrEnum):
    FAST = "fast"


def dtypes() -> st.SearchStrategy[np.dtype[Any]]:
    return st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(endianness="?"),
        hnp.unsigned_integer_dtypes(endianness="?"),
        hnp.floating_dtypes(endianness="?"),
        hnp.complex_number_dtypes(endianness="?"),
        hnp.unicode_string_dtypes(endianness="?", min_len=1, max_len=5),
        hnp.byte_string_dtypes(min_len=1, max_len=5),
    )


def is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@settings(max_examples=60)
@given(hnp.arrays(dtypes(), hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)))
def test_an_array_comes_back_as_it_was(array: NDArray[Any]) -> None:
    back = unpack(pack({"plain": array, "turned": array.T, "thinned": array[::2]}))
    assert is_same(back["plain"], array)
    assert is_same(back["turned"], array.T)
    assert is_same(back["thinned"], array[::2])
    assert back["plain"].flags.writeable


@given(dtypes().filter(lambda dtype: dtype.kind not in "US"), st.data())
def test_a_scalar_comes_back_as_it_was(dtype: np.dtype[Any], data: st.DataObject) -> None:
    value: Any = data.draw(hnp.arrays(dtype, ()))[()]
    back = unpack(pack({"value": value}))["value"]
    assert np.asarray(back).tobytes() == np.asarray(value).tobytes()
    assert type(back) is (float if type(value) is np.float64 else type(value))


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False),
    st.text(max_size=5), st.binary(max_size=5),
)  # fmt: skip
KEYS = st.text(max_size=3)


@settings(max_examples=30)
@given(st.dictionaries(KEYS, st.lists(PLAIN | st.dictionaries(KEYS, PLAIN), max_size=4)))
def test_what_json_knows_comes_back_as_it_was(doc: dict[str, Any]) -> None:
    assert unpack(pack(doc)) == doc


@pytest.mark.parametrize("array", [np.array(3.0, ">f4"), np.zeros((0, 3)), np.array("text")])
def test_an_array_without_dimensions_or_elements_stays_one(array: NDArray[Any]) -> None:
    assert is_same(unpack(pack({"x": array}))["x"], array)


def test_what_is_almost_plain_becomes_plain() -> None:
    doc = {"shape": (2, 3), "mode": Mode.FAST, "keys": {2: "two"}, "inf": np.inf, "z": 1 - 1j}
    back = unpack(pack(MappingProxyType(doc)))
    assert back == doc | {"shape": [2, 3], "mode": "fast"}
    assert type(back["mode"]) is str
    assert np.isnan(unpack(pack({"nan": np.nan}))["nan"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2026, 1, 1), "datetime"),
        (uuid.UUID(int=1), "UUID"),
        ({1, 2}, "set"),
        (np.array([None]), "ndarray of object"),
        (np.zeros(2, [("x", "i4")]), "ndarray of"),
        (np.datetime64("2026-01-01"), "datetime64"),
        (2**64, "int"),
        ("\ud800", "surrogates"),
    ],
)
def test_what_no_message_can_carry_is_refused(value: object, shown: str) -> None:
    with pytest.raises(FormatError, match=shown):
        pack({"data": {"x": [value]}})


def test_a_document_in_itself_is_refused() -> None:
    doc: dict[str, Any] = {}
    doc["data"] = doc
    with pytest.raises(FormatError, match="cannot be written"):
        pack(doc)


def test_a_document_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_BYTES", 1000)
    message = pack({"x": b"1" * 900})
    with pytest.raises(FormatError, match="1000 are the most"):
        pack({"x": b"1" * 1000})
    monkeypatch.setattr(packing, "MAX_BYTES", 100)
    with pytest.raises(FormatError, match="100 are the most"):
        unpack(message)


@given(st.binary(max_size=200))
def test_rubbish_is_refused(message: bytes) -> None:
    try:
        doc = unpack(message)
    except FormatError:
        return
    assert all(type(key) is str for key in doc)


@given(st.lists(st.tuples(st.integers(0, len(EXAMPLE) - 1), st.binary(max_size=2)), max_size=4))
def test_a_damaged_message_is_refused_or_read(changes: list[tuple[int, bytes]]) -> None:
    message = EXAMPLE
    for place, bits in changes:
        message = message[:place] + bits + message[place + 1 :]
    with suppress(FormatError):
        unpack(message)


@pytest.mark.parametrize(
    "parts",
    [
        ("|O", (1,), b"12345678"),
        ("<f8", (-1, -1), b"12345678"),
        ("<f8", (2,), b"12345678"),
        ("<f8", (1,), b"12345678" * 2),
        ("<f8", (0, 2**63), b""),
        ("<f8", (1,) * 70, b"12345678"),
        ("<f8", 1, b"12345678"),
        ("<f8", (1.0,), b"12345678"),
        ("<f3", (1,), b"123"),
        ("<U0", (2**60,), b""),
        ("08,f8", (1,), b"12345678"),
        ("<f8", (1,)),
        {"dtype": "<f8"},
    ],
)
def test_a_hostile_array_is_refused(parts: object) -> None:
    extension = msgpack.ExtType(1, msgpack.packb(parts))
    with pytest.raises(FormatError):
        unpack(msgpack.packb({"x": extension}))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        msgpack.packb([1]),
        msgpack.packb({1: 2}),
        msgpack.packb({(1, 2): 3}),
        msgpack.packb({"x": msgpack.ExtType(7, b"")}),
        b"\x93" * 3000,
        b"\xdd\xff\xff\xff\xff" + b"x" * 20,
        b"\xdd\x00\x98\x96\x80" * 1000,
    ],
    ids=["empty", "list", "key", "list as key", "extension", "deep", "long", "deep and long"],
)
def test_what_is_no_document_is_refused(message: bytes) -> None:
    with pytest.raises(FormatError):
        unpack(message)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_refused_with_the_cure(protocol: int) -> None:
    with pytest.raises(FormatError, match=r"pickled.*serializer=pack"):
        unpack(pickle.dumps({"uid": "0f3a"}, protocol=protocol))


def test_names_are_those_of_documents() -> None:
    assert unpack_named(b"event", EXAMPLE)[0] == "event"
    for name in (b"", b"evnt", b"\xff", b"mro"):
        with pytest.raises(FormatError, match="as no document is"):
            unpack_named(name, EXAMPLE)
