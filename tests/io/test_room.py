"""Whether a disk has room is known before anything is written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from bluesky_azint.errors import FormatError
from bluesky_azint.io.room import SPARE_BYTES, check_new_file, check_room


def left(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    disk = SimpleNamespace(f_bavail=size // 1024, f_frsize=1024)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)


def test_room_is_what_is_needed_and_some_to_spare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(monkeypatch, SPARE_BYTES + 2048)
    check_room(tmp_path / "x", 2048)
    with pytest.raises(
        FormatError, match=r"x cannot be written: .* \(16 MiB are left\)\. Make some"
    ):
        check_room(tmp_path / "x", 4096)
    with pytest.raises(FormatError, match="16 MiB are left"):
        check_new_file(tmp_path / "x")


def test_a_new_file_is_tried_and_leaves_nothing(tmp_path: Path) -> None:
    check_new_file(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_quota_that_is_used_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(FormatError, match="Disk quota exceeded"):
        check_new_file(tmp_path / "x")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="No such file or directory"):
        check_new_file(tmp_path / "no" / "x")
