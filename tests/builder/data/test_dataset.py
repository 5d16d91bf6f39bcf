"""What splits hold, their digest, and what cannot be learned from."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signs_builder.data.dataset import Split
from signs_builder.data.sources import load_dataset
from signs_runtime import ImageError, InputSpec

from .files import refused, write_pictures

SPEC = InputSpec(64, 64)


def test_the_digest_sees_a_changed_picture_a_changed_label_and_a_moved_one(cs230: Path) -> None:
    digests = {load_dataset(cs230).sha256()}
    picture = cs230 / "train_signs" / "0_IMG_0 (1).jpg"
    picture.rename(picture.with_name("1_IMG_9.jpg"))
    digests.add(load_dataset(cs230).sha256())
    (cs230 / "train_signs" / "1_IMG_9.jpg").rename(cs230 / "test_signs" / "1_IMG_9.jpg")
    digests.add(load_dataset(cs230).sha256())
    write_pictures(cs230 / "test_signs", ["1_IMG_9.jpg"])
    write_pictures(cs230 / "test_signs", ["1_IMG_9.jpg"], (63, 64))
    digests.add(load_dataset(cs230).sha256())
    assert len(digests) == 4


def test_pixels_become_lossless_files_and_files_stay_where_they_are(hdf5: Path, tmp_path: Path) -> None:
    dataset = load_dataset(hdf5)
    files = dataset.train.files(tmp_path / "pngs", dataset.labels)
    assert files[1].name == "1_IMG_0001.png"
    assert all(np.array_equal(np.asarray(Image.open(f)), p) for f, p in zip(files, dataset.train.pictures, strict=True))


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train_signs", "but no training picture has that label"),
        ("val_signs", "validation split is empty"),
        ("test_signs", "test split is empty"),
    ],
)
def test_an_empty_split_is_refused(cs230: Path, split: str, words: str) -> None:
    for path in (cs230 / split).iterdir():
        path.unlink()
    refused(cs230, words)


@pytest.mark.parametrize("split", ["train_signs", "test_signs"])
def test_a_split_of_one_class_is_refused(cs230: Path, split: str) -> None:
    for folder in [cs230 / split] if split == "test_signs" else cs230.iterdir():
        for path in folder.iterdir():
            if path.name[0] != "2":
                path.unlink()
    refused(cs230, "are labelled '2'; a classifier needs two")


def test_a_class_without_pictures_is_refused_not_a_label(per_class: Path) -> None:
    (per_class / "train" / "__MACOSX").mkdir()
    refused(per_class, "no training picture shows '__MACOSX'")


def test_a_class_name_that_cannot_be_shown_is_refused(per_class: Path) -> None:
    for name in (b"bad \xff", b"red \x1b[31m"):
        folder = os.fsdecode(os.fsencode(per_class / "train") + b"/" + name)
        write_pictures(Path(folder), ["0.png"])
        refused(per_class, "a line of printable text")
        shutil.rmtree(folder)


def test_a_class_of_one_picture_cannot_be_held_out(per_class: Path) -> None:
    shutil.rmtree(per_class / "test")
    shutil.rmtree(per_class / "val")
    for i in (1, 2):
        (per_class / "train" / "zebra" / f"{i}.png").unlink()
    refused(per_class, "none can be held out")


@pytest.mark.parametrize("name", ["zebra ", "ze\u200bbra", "\u200fzebra", "\u2060"])
def test_labels_that_look_alike_are_refused_with_their_codes(per_class: Path, name: str) -> None:
    write_pictures(per_class / "train" / name, ["0.png"])
    refused(per_class, re.escape(ascii(name)))


def test_all_pictures_that_cannot_be_read_are_named_at_once(cs230: Path) -> None:
    dataset = load_dataset(cs230)
    for path in dataset.train.pictures[:3]:
        Path(path).write_text("no picture")
    Path(dataset.test.pictures[0]).unlink()
    for read in (dataset.train.check, dataset.train.images):
        with pytest.raises(ImageError) as caught:
            read(SPEC)
        lines = str(caught.value).splitlines()
        assert lines[0] == "3 of 18 pictures cannot be read; replace or remove them:"
        assert [line.split(": ")[0].strip() for line in lines[1:]] == [str(path) for path in dataset.train.pictures[:3]]
    with pytest.raises(ImageError, match=r"^4 of 30 pictures"):
        dataset.check(SPEC)
    with pytest.raises(ImageError, match=r"^/.*cannot be read"):
        dataset.test.check(SPEC)


def test_of_many_unreadable_pictures_the_first_twenty_are_named(tmp_path: Path) -> None:
    for i in range(25):
        (tmp_path / f"{i:02}.png").touch()
    split = Split(sorted(tmp_path.iterdir()), np.zeros(25, np.int64))
    with pytest.raises(ImageError, match=r"25 of 25 pictures(.|\n)*19\.png: .*\n  and 5 more$"):
        split.check(SPEC)


def test_a_picture_that_vanished_is_named_by_the_digest(cs230: Path) -> None:
    dataset = load_dataset(cs230)
    Path(dataset.train.pictures[0]).unlink()
    with pytest.raises(ImageError, match="0_IMG_0"):
        dataset.sha256()


def test_labels_that_no_file_name_can_hold_still_become_files(tmp_path: Path) -> None:
    split = Split(np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1]))
    files = split.files(tmp_path / "new", ["w/o hand", "12:30"])
    assert [file.name for file in files] == ["w-o hand_IMG_0000.png", "12-30_IMG_0001.png"]
    assert all(file.is_file() for file in files)


@pytest.mark.parametrize("content", [b"", b"just text", b"\xff\xd8\xff\xe0 half a JPEG"])
def test_a_picture_that_is_none_is_refused_by_its_name(cs230: Path, content: bytes) -> None:
    (cs230 / "train_signs" / "3_IMG_x.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"3_IMG_x\.jpg"):
        load_dataset(cs230).train.images(SPEC)
