"""Packed frames: the sums of the frames that are in them, or an error where they are damaged."""

import struct
from dataclasses import replace
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.engines import BadValues, FrameSums, Spread, Wanted
from bluesky_azint.engines.opencl import device
from bluesky_azint.engines.opencl.chunks import Chunks
from bluesky_azint.engines.opencl.stream import Stream
from bluesky_azint.engines.rest import Rest
from bluesky_azint.errors import ChunkError
from bluesky_azint.io.chunks import unpack
from bluesky_azint.lookup import Entries, Lookup
from bluesky_azint.lookup.table import pointer
from bluesky_azint.packed import PackedFrames

RTOL = 1e-12
N_BINS = 50

# Fewer than eight pixels, eights, one block and a bit more, blocks and what is left over.
SHAPES = [(1, 3), (4, 8), (13, 11), (63, 65), (60, 101)]


def lookup_of(n_pixels: int, columns: int, offsets: tuple[int, ...] = ()) -> Lookup:
    rng = np.random.default_rng(2)
    offsets = offsets or tuple(range(columns))
    first = rng.integers(0, N_BINS - offsets[-1], n_pixels).astype(np.uint16)
    first[rng.random(n_pixels) < 0.1] = N_BINS
    if columns == 1:
        return Lookup(N_BINS, first)
    shares = rng.random((n_pixels, columns - 1)) / (columns - 1)
    return Lookup(N_BINS, first, shares.astype(np.float32), offsets)


def with_rest(lookup: Lookup, number: int) -> Lookup:
    """Some pixels told entry by entry, others moved there."""
    rng = np.random.default_rng(3)
    pixels = np.sort(rng.choice(lookup.n_pixels, number, replace=False)).astype(np.int32)
    first = lookup.first.copy()
    first[pixels] = N_BINS
    entries = Entries(
        pixels,
        pointer(np.full(number, 3)),
        (rng.integers(0, N_BINS - 20, (number, 1)) + np.array([0, 7, 19])).astype(np.int32).ravel(),
        rng.random(3 * number).astype(np.float32),
    )
    return replace(lookup, first=first, rest=entries)


def frames_of(
    shape: tuple[int, int], dtype: str = "u4", mean: float = 3.0, number: int = 5, seed: int = 4
) -> NDArray[Any]:
    """Counts, among them saturated ones, and some with the highest bit that are good."""
    rng = np.random.default_rng(seed)
    most = np.iinfo(dtype).max
    frames = np.minimum(rng.poisson(mean, (number, *shape)), most // 2).astype(dtype)
    rare = rng.random(frames.shape)
    frames[rare < 0.02] = most
    frames[(rare > 0.02) & (rare < 0.03)] = most // 2 + 7
    frames[:, 0] = most
    return frames


def pack(frames: NDArray[Any], elements: int = 0) -> PackedFrames:
    with h5py.File("pack", "w", driver="core", backing_store=False) as file:
        options = hdf5plugin.Bitshuffle(nelems=elements, cname="lz4")
        data = file.create_dataset("data", data=frames, chunks=(1, *frames.shape[1:]), **options)
        chunks = [data.id.read_direct_chunk((row, 0, 0))[1] for row in range(len(frames))]
    return PackedFrames(chunks, frames.shape[1:], frames.dtype, unpack, "a.h5::/data")


def chunks_of(
    lookup: Lookup,
    bad: BadValues = BadValues(),  # noqa: B008  frozen
    wanted: Wanted = Wanted(square=True),  # noqa: B008
) -> Chunks:
    queue = device.queue_of(device.default_device())
    rest = Rest(lookup.rest, N_BINS, bad, wanted) if lookup.rest is not None else None
    return Chunks(Stream(queue, lookup, bad, wanted), rest, bad, wanted)


def check(
    sums: FrameSums, frame: NDArray[Any], lookup: Lookup, bad: BadValues, *, square: bool = True
) -> None:
    values, used = frame.ravel(), lookup.used
    is_bad = bad(values) & used
    np.testing.assert_array_equal(sums.bad, np.flatnonzero(is_bad))
    good = np.where(is_bad | ~used, 0, values).astype(np.float64)
    signal = lookup.matrix @ good
    # The middles of boxes are differences of running sums.
    atol = 0 if lookup.spans is None else RTOL * signal.max()
    np.testing.assert_allclose(sums.signal, signal, 0 if lookup.whole else RTOL, atol)
    if square:
        assert sums.square is not None
        # Of differences of larger sums more is left by rounding.
        squares = lookup.matrix.power(2) @ good
        np.testing.assert_allclose(sums.square, squares, RTOL, atol=RTOL * signal.max())
    else:
        assert sums.square is None


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_those_of_the_frames(shape: tuple[int, int], dtype: str, columns: int) -> None:
    lookup = lookup_of(shape[0] * shape[1], columns)
    chunks, bad = chunks_of(lookup), BadValues()
    for mean in (0.1, 3.0, 100.0, 20_000.0):
        # Five are four at once and one; that takes two programs to compile.
        frames = frames_of(shape, dtype, mean, number=5 if dtype == "u4" else 4)
        packed = pack(frames)
        assert chunks.takes(packed)
        sums = chunks.sum_frames(packed)
        assert len(sums) == len(frames)
        for found, frame in zip(sums, frames, strict=True):
            check(found, frame, lookup, bad)


@pytest.mark.parametrize("elements", [0, 8])
@pytest.mark.parametrize(("shape", "number"), [((1, 3), 1), ((13, 11), 143), ((60, 101), 900)])
def test_pixels_of_many_bins(shape: tuple[int, int], number: int, elements: int) -> None:
    lookup = with_rest(lookup_of(shape[0] * shape[1], 2), number)
    frames = frames_of(shape, mean=1.0)
    packed = pack(frames, elements)
    for found, frame in zip(chunks_of(lookup).sum_frames(packed), frames, strict=True):
        check(found, frame, lookup, BadValues())


@pytest.mark.parametrize("elements", [8, 24, 264, 4096])
@pytest.mark.parametrize("columns", [1, 2])
def test_blocks_of_any_size(elements: int, columns: int) -> None:
    lookup = lookup_of(60 * 101, columns)
    frames = frames_of((60, 101), mean=1.0)
    for found, frame in zip(
        chunks_of(lookup).sum_frames(pack(frames, elements)), frames, strict=True
    ):
        check(found, frame, lookup, BadValues())


@pytest.mark.parametrize("square", [True, False])
@pytest.mark.parametrize("offsets", [(0, 9), (0, 1, 2, 3), (0, 1, 12, 13), tuple(range(8))])
def test_pixels_of_several_bins(offsets: tuple[int, ...], square: bool) -> None:
    lookup = lookup_of(63 * 65, len(offsets), offsets)
    chunks = chunks_of(lookup, wanted=Wanted(square=square))
    for number, mean in ((1, 3.0), (4, 0.3)):
        frames = frames_of((63, 65), mean=mean, number=number)
        packed = pack(frames)
        assert chunks.takes(packed)
        for found, frame in zip(chunks.sum_frames(packed), frames, strict=True):
            check(found, frame, lookup, BadValues(), square=square)


@pytest.mark.parametrize("square", [True, False])
def test_wide_boxes(square: bool) -> None:
    rng = np.random.default_rng(9)
    plain = lookup_of(63 * 65, 3)
    spans = np.minimum(rng.integers(0, 12, plain.n_pixels), N_BINS - 1 - plain.first.clip(0, 49))
    ends = rng.random((plain.n_pixels, 2)) * np.where(spans > 0, 0.1, 0)[:, np.newaxis]
    ends[spans == 0] = 1, 0
    ends[spans == 1, 0] = 1 - ends[spans == 1, 1].astype(np.float32)
    # Of unused pixels the table says nothing.
    unused = plain.first == N_BINS
    spans[unused], ends[unused] = 60_000, np.nan
    lookup = Lookup(N_BINS, plain.first, ends.astype(np.float32), spans=spans.astype(np.uint16))
    chunks = chunks_of(lookup, wanted=Wanted(square=square))
    for number, mean in ((1, 3.0), (4, 0.3)):
        frames = frames_of((63, 65), mean=mean, number=number)
        for found, frame in zip(chunks.sum_frames(pack(frames)), frames, strict=True):
            check(found, frame, lookup, BadValues(), square=square)


def test_blocks_that_differ_from_frame_to_frame() -> None:
    lookup = lookup_of(60 * 101, 1)
    frames = frames_of((60, 101))
    packed = pack(frames)
    mixed = [*packed.chunks[:2], *pack(frames, 64).chunks[2:4], packed.chunks[4]]
    packed = PackedFrames(mixed, packed.frame_shape, packed.dtype, unpack)
    for found, frame in zip(chunks_of(lookup).sum_frames(packed), frames, strict=True):
        check(found, frame, lookup, BadValues())


def test_runs_and_repetitions_of_any_length() -> None:
    rng = np.random.default_rng(6)
    shape = (64, 128)
    frames = np.zeros((24, *shape), np.uint32)
    for number, frame in enumerate(frames.reshape(24, -1)):
        pattern = rng.integers(0, 2 ** rng.integers(1, 31), number + 1)
        frame[:] = np.tile(pattern, frame.size // pattern.size + 1)[: frame.size]
        frame[:: rng.integers(1, 2000)] += 1
    lookup = lookup_of(frames[0].size, 1)
    for found, frame in zip(chunks_of(lookup).sum_frames(pack(frames)), frames, strict=True):
        check(found, frame, lookup, BadValues())


@pytest.mark.parametrize("columns", [1, 2])
def test_squares_only_where_wanted(columns: int) -> None:
    lookup = lookup_of(63 * 65, columns)
    frames = frames_of((63, 65), number=4)
    sums = chunks_of(lookup, wanted=Wanted()).sum_frames(pack(frames))
    for found, frame in zip(sums, frames, strict=True):
        check(found, frame, lookup, BadValues(), square=False)


@pytest.mark.parametrize(
    "bad", [BadValues(-2, 1), BadValues(2**32 - 9), BadValues(3e9, 1e8), BadValues(-1)]
)
def test_dummies(bad: BadValues) -> None:
    frames = frames_of((63, 65), number=1)
    frames[:, 7] = 2**32 - 9
    frames[:, 8, ::2] = 2**32 - 2
    frames[:, 9, ::3] = 3_050_000_000
    lookup = lookup_of(63 * 65, 1)
    for found, frame in zip(chunks_of(lookup, bad).sum_frames(pack(frames)), frames, strict=True):
        check(found, frame, lookup, bad)


def test_masked_pixels_do_not_matter() -> None:
    frames = frames_of((63, 65))
    lookup = lookup_of(63 * 65, 2)
    other = frames.copy()
    other.reshape(5, -1)[:, lookup.first == N_BINS] = 12345
    chunks = chunks_of(lookup)
    for one, two in zip(
        chunks.sum_frames(pack(frames)), chunks.sum_frames(pack(other)), strict=True
    ):
        np.testing.assert_array_equal(one.signal, two.signal)
        np.testing.assert_array_equal(one.bad, two.bad)


@pytest.mark.parametrize(
    ("dtype", "bad", "wanted"),
    [
        ("i4", BadValues(), Wanted(square=True)),
        ("u8", BadValues(), Wanted(square=True)),
        ("u4", BadValues(0), Wanted(square=True)),
        ("u4", BadValues(2.0**31 - 1, 1), Wanted(square=True)),
        ("u4", BadValues(), Wanted(square=True, spread=Spread(np.ones(4095, np.float32)))),
    ],
)
def test_what_is_left_to_others(dtype: str, bad: BadValues, wanted: Wanted) -> None:
    chunks = chunks_of(lookup_of(63 * 65, 1), bad, wanted)
    assert not chunks.takes(pack(np.zeros((1, 63, 65), dtype)))


def test_tables_that_are_left_to_others() -> None:
    lookup = lookup_of(63 * 65, 2)
    assert not chunks_of(lookup).takes(pack(np.zeros((1, 63, 65), np.uint32), 2**15))


def test_every_truncation_is_found() -> None:
    frames = frames_of((13, 11), number=4)
    packed = pack(frames, 64)
    chunks = chunks_of(lookup_of(143, 1))
    for length in range(len(packed.chunks[2])):
        cut = [*packed.chunks[:2], packed.chunks[2][:length], packed.chunks[3]]
        broken = PackedFrames(cut, packed.frame_shape, packed.dtype, unpack, "a.h5::/data", 10)
        with pytest.raises(ChunkError, match=r"Frame 12 of a.h5::/data is damaged: .* cut off"):
            chunks.sum_frames(broken)


@pytest.mark.parametrize("elements", [0, 64])
def test_damage_is_found_or_means_what_it_means_to_others(elements: int) -> None:
    lookup = lookup_of(143, 1)
    chunks = chunks_of(lookup)
    packed = pack(frames_of((13, 11), number=1), elements)
    refused = accepted = 0
    for place in range(len(packed.chunks[0])):
        for change in (0xFF, 0x01, 0x80):
            chunk = bytearray(packed.chunks[0])
            chunk[place] ^= change
            broken = PackedFrames([bytes(chunk)], packed.frame_shape, packed.dtype, unpack)
            try:
                if not chunks.takes(broken):
                    continue
                (found,) = chunks.sum_frames(broken)
            except ChunkError:
                refused += 1
                continue
            check(found, np.asarray(broken)[0], lookup, BadValues())
            accepted += 1
    assert refused > 50
    assert accepted > 100


def sequence(literals: bytes, offset: int = 0, match: int = 4) -> bytes:
    """Literals, and what is repeated behind them; the last sequence has nothing of that."""

    def more(length: int) -> bytes:
        return bytes([255] * (length // 255) + [length % 255]) if length >= 0 else b""

    many, far = len(literals), match - 4
    token = bytes([min(many, 15) << 4 | min(far, 15)])
    behind = struct.pack("<H", offset) + more(far - 15) if offset or far else b""
    return token + more(many - 15) + literals + behind


def chunk_of(block: bytes) -> PackedFrames:
    """One frame that is one block, of 64 bytes."""
    chunk = struct.pack(">QII", 64, 64, len(block)) + block
    return PackedFrames([chunk], (4, 4), np.dtype("u4"), unpack)


LITERALS = bytes(range(66))


@pytest.mark.parametrize(
    "block",
    [
        sequence(LITERALS[:64]),
        sequence(b"\7", 1, 50) + sequence(LITERALS[:13]),
        sequence(LITERALS[:3], 3, 4) + sequence(b"", 7, 45) + sequence(LITERALS[:12]),
        sequence(LITERALS[:18], 17, 40) + sequence(LITERALS[:6]),
    ],
)
def test_what_a_block_may_do(block: bytes) -> None:
    packed, lookup = chunk_of(block), lookup_of(16, 1)
    check(chunks_of(lookup).sum_frames(packed)[0], np.asarray(packed)[0], lookup, BadValues())


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (sequence(LITERALS[:60]), "is cut off"),
        (sequence(LITERALS[:64])[:-4], "is cut off"),
        (b"\xf0\xff\xff\xff", "is cut off"),
        (sequence(LITERALS[:40], 1, 19), "has more bytes than it may"),
        (sequence(LITERALS), "has more bytes than it may"),
        (sequence(LITERALS[:54], 1, 4) + sequence(LITERALS[:6]), "has more bytes than it may"),
        (sequence(b"\7", 2, 50) + sequence(LITERALS[:13]), "repeats what is not there"),
        (sequence(b"\7", 1, 60) + sequence(LITERALS[:12]), "repeats more than it may"),
        (sequence(b"\7", 1, 9999) + sequence(LITERALS[:13]), "repeats more than it may"),
        (bytes(90), "has a length that cannot be"),
    ],
)
def test_what_a_block_may_not_do(block: bytes, problem: str) -> None:
    packed = chunk_of(block)
    with pytest.raises(ChunkError, match=f"block 0 {problem}"):
        chunks_of(lookup_of(16, 1)).sum_frames(packed)
    with pytest.raises(ChunkError):
        unpack(packed)


def test_noise_is_survived() -> None:
    rng = np.random.default_rng(8)
    packed = pack(frames_of((63, 65), number=1))
    chunks = chunks_of(lookup_of(63 * 65, 2))
    chunk = np.frombuffer(packed.chunks[0], np.uint8)
    for share in np.repeat([0.001, 0.01, 0.1, 1.0], 50):
        noise = np.where(rng.random(chunk.size) < share, rng.integers(0, 256, chunk.size), chunk)
        noise[:16] = chunk[:16]
        broken = noise.astype(np.uint8).tobytes()
        packed = PackedFrames([broken], packed.frame_shape, packed.dtype, unpack)
        try:
            (found,) = chunks.sum_frames(packed)
        except ChunkError:
            continue
        check(found, np.asarray(packed)[0], lookup_of(63 * 65, 2), BadValues())


def test_a_frame_of_another_size() -> None:
    packed = pack(frames_of((13, 11)))
    other = PackedFrames(packed.chunks, (13, 12), packed.dtype, unpack)
    with pytest.raises(ChunkError, match="unpacks to 572 bytes, a frame has 624"):
        chunks_of(lookup_of(13 * 12, 1)).sum_frames(other)
