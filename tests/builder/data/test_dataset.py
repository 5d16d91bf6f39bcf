"""What splits hold, their digest, and what cannot be learned from."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
        ("train_signs", "which no training picture does"),
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
        refused(per_class, "a line of text")
        shutil.rmtree(folder)


def test_a_class_of_one_picture_cannot_be_held_out(per_class: Path) -> None:
    shutil.rmtree(per_class / "test")
    for i in (1, 2):
        (per_class / "train" / "zebra" / f"{i}.png").unlink()
    refused(per_class, "cannot be held out")


@pytest.mark.parametrize("content", [b"", b"just text", b"\xff\xd8\xff\xe0 half a JPEG"])
def test_a_picture_that_is_none_is_refused_by_its_name(cs230: Path, content: bytes) -> None:
    (cs230 / "train_signs" / "3_IMG_x.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"3_IMG_x\.jpg"):
        load_dataset(cs230).train.images(SPEC)
