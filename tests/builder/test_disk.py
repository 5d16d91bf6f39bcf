"""Room is looked for and taken before long work, on every system; what stands in a file's place is named."""

import errno
import os
from pathlib import Path

import pytest

from signs_builder.disk import allocate, check_room, stand_in


@pytest.mark.parametrize("system", ["posix_fallocate", "without", "a file system without"])
def test_room_is_taken_with_and_without_the_systems_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    def refuse(*arguments: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    if system == "without":  # macOS, Windows
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    elif system == "a file system without":
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    file = tmp_path / "pixels"
    file.write_bytes(b"head")
    allocate(file, 4, 3 * 2**20 + 5)
    content = file.read_bytes()
    assert (len(content), content[:4], any(content[4:])) == (3 * 2**20 + 5, b"head", False)
    if hasattr(os.stat_result, "st_blocks"):
        assert file.stat().st_blocks * 512 >= 3 * 2**20


def test_a_full_disk_is_no_reason_to_write_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    (tmp_path / "pixels").touch()
    with pytest.raises(OSError, match="full"):
        allocate(tmp_path / "pixels", 0, 10)
    assert not (tmp_path / "pixels").read_bytes()


def test_a_drive_that_is_not_there_is_no_endless_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda self: False)  # as Z: on Windows, whose parent is itself
    monkeypatch.setattr(Path, "is_dir", lambda self: False)
    with pytest.raises(NotADirectoryError):
        check_room(Path("/bundle"), 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"/annex/objects/SHA256E-s1--0.h5\n", "git annex get"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE html>", "a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied', "a web page"),
    ],
)
def test_what_stands_in_for_a_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a").write_bytes(content)
    assert words in (stand_in(tmp_path / "a") or "")
    (tmp_path / "b").write_bytes(b"anything else")
    assert stand_in(tmp_path / "b") is None
