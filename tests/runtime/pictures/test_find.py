"""Which files of a folder are its pictures."""

import os
from pathlib import Path

import pytest

from signs_runtime import ImageError
from signs_runtime.pictures import read
from signs_runtime.pictures.find import find_pictures, leads_nowhere
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import read_image


def test_a_folder_stands_for_its_pictures(tmp_path: Path) -> None:
    for name in ("sub", ".thumbnails"):
        (tmp_path / name).mkdir()
    for name in ("b.jpg", "a.PNG", "sub/c.webp", ".hidden.jpg", ".thumbnails/a.png", "notes.txt"):
        (tmp_path / name).touch()
    found = find_pictures([tmp_path])
    assert [path.name for path in found.pictures] == ["a.PNG", "b.jpg", "c.webp"]
    assert (found.others, found.errors) == (1, ())


def test_what_is_not_there_is_an_error_among_the_others(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.jpg").touch()
    found = find_pictures([tmp_path / "none", tmp_path / "a.jpg", tmp_path / "empty"])
    assert found.pictures == (tmp_path / "a.jpg",)
    assert [path.name for path, _ in found.errors] == ["none", "empty"]
    assert ["no such file" in str(error) or "no pictures" in str(error) for _, error in found.errors] == [True, True]


def test_links_count_as_what_they_lead_to_and_those_that_lead_nowhere_as_pictures(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.jpg").touch()
    data = tmp_path / "data"
    data.mkdir()
    (data / "rose").symlink_to(tmp_path / "store")
    (data / "b.jpg").symlink_to(tmp_path / "store" / "a.jpg")
    (data / "c.jpg").symlink_to("../store/fetched_later.jpg")
    (data / "again").symlink_to(data)
    found = find_pictures([data])
    assert [path.relative_to(data).as_posix() for path in found.pictures] == ["b.jpg", "c.jpg", "rose/a.jpg"]
    assert [leads_nowhere(path) for path in found.pictures] == [False, True, False]
    with pytest.raises(ImageError, match=r"c\.jpg: a link to .*fetched_later.*fetch that file first"):
        read_image(data / "c.jpg", InputSpec(4, 4))


def test_what_cannot_be_looked_at_is_an_error_among_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path: str | os.PathLike[str]) -> object:
        if Path(path).name == "closed":  # as for a user without the right
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_pictures([tmp_path, tmp_path / f"{'a' * 300}.jpg"])
    assert [path.name for path in found.pictures] == ["a.jpg", "self.jpg"]
    assert [str(error).split(": ", 1)[1] for _, error in found.errors] == [
        "cannot be read (Permission denied).",
        "cannot be read (File name too long).",
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_that_nobody_writes_to_is_refused_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert find_pictures([tmp_path / "pipe.jpg"]).pictures == (
        tmp_path / "pipe.jpg",
    )  # named: it may be a substitution
    assert find_pictures([tmp_path]).others == 1
    monkeypatch.setattr(read, "_PATIENCE", 0.2)
    with pytest.raises(ImageError, match="this pipe delivered nothing"):
        read_image(tmp_path / "pipe.jpg", InputSpec(4, 4))
