"""Look-ups on disk."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.grid import make_grid
from bluesky_azint.lookup import Lookup, build_lookup
from bluesky_azint.lookup.disk import Disk, user_disk
from bluesky_azint.units import unit

GEOMETRY = ba.Geometry(detector=ba.Detector(1e-3, 0.9e-3, (30, 40)), dist=0.12, poni1=0.01)
KEY = "0123abcd"


def lookup_of(splitting: str, npt: int = 50) -> Lookup:
    grid = make_grid(GEOMETRY, unit("r_mm"), splitting, npt, (3.0, 20.0))
    return build_lookup(GEOMETRY, grid)


def read(disk: Disk, key: str = KEY, n_pixels: int = 1200, n_bins: int = 50) -> Lookup | None:
    return disk.read(key, n_pixels, n_bins)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "deep" / "folder", 10**6)


@pytest.mark.parametrize(
    ("splitting", "npt"), [("no", 50), ("bbox", 15), ("bbox", 200), ("full", 50)]
)
def test_what_is_stored_is_found(disk: Disk, splitting: str, npt: int) -> None:
    stored = lookup_of(splitting, npt)
    assert read(disk, n_bins=npt) is None
    disk.write(KEY, stored)
    found = read(disk, n_bins=npt)
    assert found is not None
    assert found.offsets == stored.offsets
    assert (found.spans is None) == (stored.spans is None)
    assert (found.rest is None) == (stored.rest is None) == (splitting == "no")
    np.testing.assert_array_equal(found.matrix.toarray(), stored.matrix.toarray())
    assert [path.name for path in disk.folder.iterdir()] == [f"{KEY}.npz"]


def test_damage_is_found_and_removed(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    stored = lookup_of("bbox")
    path = disk.folder / f"{KEY}.npz"
    disk.write(KEY, stored)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    cases = [good[: int(length)] for length in rng.integers(0, len(good), 10)]
    cases += [
        b"",
        b"no look-up at all",
        good[: len(good) // 2] + b"#" * 99 + good[len(good) // 2 :],
    ]
    start = good.index(stored.first.tobytes()[:64])
    cases.append(good[:start] + bytes([good[start] ^ 1]) + good[start + 1 :])
    for damaged in cases:
        path.write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            assert read(disk) is None
        assert "removed" in caplog.text
        assert not path.exists()
        caplog.clear()


def test_no_bit_of_the_table_of_contents_matters_in_silence(disk: Disk) -> None:
    stored = lookup_of("bbox")
    path = disk.folder / f"{KEY}.npz"
    disk.write(KEY, stored)
    good = path.read_bytes()
    for place in range(good.index(b"PK\1\2"), len(good)):
        for bit in range(0, 8, 3):
            path.write_bytes(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])
            found = read(disk)
            if found is not None:
                assert found.shares is not None
                np.testing.assert_array_equal(found.shares, stored.shares)
                assert (found.rest is None) == (stored.rest is None)


def test_a_folder_that_can_only_be_read_will_do(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError

    disk.write(KEY, lookup_of("no"))
    monkeypatch.setattr("bluesky_azint.lookup.disk.os.utime", refuse)
    assert read(disk) is not None


def test_another_look_up_is_refused(disk: Disk) -> None:
    for n_pixels, n_bins in ((1201, 50), (1200, 51)):
        disk.write(KEY, lookup_of("no"))
        assert read(disk, KEY, n_pixels, n_bins) is None
    disk.write(KEY, lookup_of("no"))
    (disk.folder / f"{KEY}.npz").rename(disk.folder / "other.npz")
    assert read(disk, "other") is None


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_bins_that_there_are_not_are_refused(disk: Disk, splitting: str) -> None:
    wrong = lookup_of(splitting, 200 if splitting == "bbox" else 50)
    if wrong.spans is not None:
        wrong.spans[np.argmax(wrong.first != wrong.n_bins)] = 60000
    elif wrong.rest is not None:
        wrong.rest.bins[0] = 50
    else:
        wrong.first[7] = 51
    disk.write(KEY, wrong)
    assert read(disk, n_bins=wrong.n_bins) is None


def test_the_oldest_go_first(disk: Disk) -> None:
    stored = lookup_of("no")
    small = Disk(disk.folder, int(3.5 * stored.nbytes))
    for age, key in ((30, "a"), (20, "b")):
        small.write(key, stored)
        path = small.folder / f"{key}.npz"
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert read(small, "a") is not None  # which makes it new
    small.write("c", stored)
    assert sorted(path.stem for path in small.folder.iterdir()) == ["a", "c"]
    Disk(disk.folder, 10).write("d", stored)
    assert not (disk.folder / "d.npz").exists()


def test_what_was_never_finished_goes(disk: Disk) -> None:
    disk.write(KEY, lookup_of("no"))
    old, new = disk.folder / "old.part", disk.folder / "new.part"
    old.touch()
    new.touch()
    os.utime(old, (1.0, 1.0))
    disk.write("other", lookup_of("no"))
    assert new.exists()
    assert not old.exists()


def test_a_folder_that_cannot_be_written_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    disk = Disk(tmp_path / "file", 10**6)
    with caplog.at_level(logging.WARNING):
        disk.write(KEY, lookup_of("no"))
    assert "cannot be stored" in caplog.text


def test_the_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZINT_CACHE", "OFF")
    assert user_disk(10) is None
    monkeypatch.setenv("AZINT_CACHE", str(tmp_path))
    assert user_disk(10) == Disk(tmp_path, 10)
    monkeypatch.setenv("AZINT_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    disk = user_disk(10)
    assert disk is not None
    assert "bluesky-azint" in disk.folder.parts
