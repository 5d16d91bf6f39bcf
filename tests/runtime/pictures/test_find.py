"""Which files of a folder are its pictures."""

from pathlib import Path

import pytest

from signs_runtime import ImageError
from signs_runtime.pictures.find import find_pictures


def test_a_folder_stands_for_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.jpg", "a.PNG", "sub/c.webp", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_pictures([tmp_path])] == ["a.PNG", "b.jpg", "c.webp"]
    with pytest.raises(ImageError, match="no such file"):
        find_pictures([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no pictures"):
        find_pictures([tmp_path / "empty"])
