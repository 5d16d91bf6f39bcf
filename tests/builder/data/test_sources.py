"""The four kinds of data set, told apart by what is on the disk, and every way in which they can be broken."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from signs_builder.commands.shared import describe_counts
from signs_builder.data.dataset import Dataset
from signs_builder.data.hands import draw_hands
from signs_builder.data.sources import load_dataset
from signs_runtime import InputSpec

from .files import refused, write_hdf5, write_pictures

SPEC = InputSpec(64, 64)


def same(a: Dataset, b: Dataset) -> bool:
    return a.sha256() == b.sha256()


def test_coursera_pair_is_read_from_its_folder_or_either_file(hdf5: Path) -> None:
    dataset = load_dataset(hdf5)
    assert dataset.labels == tuple("012345")
    assert dataset.counts == {"train": 12, "test": 12}
    assert np.array_equal(dataset.train.images(SPEC), draw_hands(12, seed=1)[0])
    assert dataset.test.labels.tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert same(dataset, load_dataset(hdf5 / "test_signs.h5"))


def test_labels_follow_the_files_own_list_of_classes(hdf5: Path) -> None:
    for prefix in ("train", "test"):
        write_hdf5(hdf5, prefix, list_classes=np.array([5, 4, 3, 2, 1, 0]))
    dataset = load_dataset(hdf5)
    assert dataset.labels == tuple("543210")
    assert [dataset.labels[i] for i in dataset.train.labels[:6]] == list("012345")


def test_cs230_folders_are_read_by_the_names_of_their_files(cs230: Path) -> None:
    (cs230 / "train_signs" / ".DS_Store").touch()
    dataset = load_dataset(cs230)
    assert dataset.labels == tuple("012345")
    assert dataset.counts == {"train": 18, "validation": 6, "test": 6}
    assert len(dataset.all_but_test) == 24
    for split in dataset.splits.values():
        assert [path.name[0] for path in split.pictures] == [dataset.labels[i] for i in split.labels]


def test_a_folder_per_class_takes_any_names_and_sizes(per_class: Path) -> None:
    dataset = load_dataset(per_class)
    assert dataset.labels == ("open hand", "zebra", "Ärger")
    assert dataset.counts == {"train": 9, "validation": 3, "test": 6}
    assert dataset.train.images(InputSpec(40, 50)).shape == (9, 40, 50, 3)
    assert [path.parent.name for path in dataset.test.pictures] == [dataset.labels[i] for i in dataset.test.labels]


def test_without_a_test_and_a_validation_split_the_same_tenth_of_each_class_is_always_held_out(per_class: Path) -> None:
    shutil.rmtree(per_class / "test")
    shutil.rmtree(per_class / "val")
    dataset = load_dataset(per_class)
    assert dataset.counts == {"train": 6, "test": 3}
    assert sorted(dataset.test.labels) == [0, 1, 2]
    assert not {*dataset.test.pictures} & {*dataset.train.pictures}
    assert dataset.test.pictures == load_dataset(per_class).test.pictures
    assert not dataset.caveats
    given = load_dataset(per_class, model_given=True)
    assert given.test.pictures == dataset.test.pictures
    assert given.may_be_trained_on
    assert "a tenth of train/, and the model may have been trained on them" in given.caveats[0]


def test_without_a_test_split_the_validation_split_is_measured_on_and_never_trained_on(per_class: Path) -> None:
    """Keras's own tutorials have train/ and validation/, and a training and a later export must measure on the same."""
    shutil.rmtree(per_class / "test")
    (per_class / "val").rename(per_class / "validation")
    for dataset in (load_dataset(per_class), load_dataset(per_class, model_given=True)):
        assert dataset.counts == {"train": 9, "test": 3}
        assert {path.parent.parent.name for path in dataset.test.pictures} == {"validation"}
        assert dataset.caveats[0].startswith("There is no test split; the test pictures are those of validation/")
        assert not dataset.may_be_trained_on
    assert "which may have been used to choose the model" in dataset.caveats[0]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("training", "valid", "testing"),
        ("Train", "Validation", "TEST"),
        ("train", "eval", "test"),
        ("train", "dev", "test"),
    ],
)
def test_split_folders_have_the_names_that_people_give_them(
    per_class: Path, train: str, validation: str, test: str
) -> None:
    before = load_dataset(per_class)
    digest = before.sha256()
    for old, new in (("train", train), ("val", validation), ("test", test)):
        (per_class / old).rename(per_class / f"{new} ")
        (per_class / f"{new} ").rename(per_class / new)
    dataset = load_dataset(per_class)
    assert dataset.counts == before.counts
    assert dataset.sha256() == digest


def test_two_folders_for_one_split_are_refused_and_unknown_ones_are_named(per_class: Path) -> None:
    for name in ("unlabelled", "extra", ".cache"):
        write_pictures(per_class / name, ["0.png"])
    dataset = load_dataset(per_class)
    assert dataset.passed_over == ("extra", "unlabelled")
    assert "; not read: extra/, unlabelled/" in describe_counts(dataset).splitlines()[0]
    write_pictures(per_class / "validation" / "zebra", ["0.png"])
    refused(per_class, "both val/ and validation/")


def test_pictures_count_for_their_class_however_deep_they_lie(per_class: Path, tmp_path: Path) -> None:
    write_pictures(per_class / "train" / "zebra" / "2024" / "may", ["c.png"])
    write_pictures(tmp_path / "elsewhere", ["d.png", "notes.txt.png"])
    (tmp_path / "elsewhere" / "notes.txt").touch()
    (per_class / "train" / "zebra" / "linked").symlink_to(tmp_path / "elsewhere")
    write_pictures(per_class / "train" / "zebra" / ".thumbnails", ["c.png"])
    write_pictures(per_class / "train", ["of no class.png"])
    dataset = load_dataset(per_class)
    assert dataset.counts["train"] == 9 + 3
    assert dataset.skipped == 2
    shutil.rmtree(per_class / "train")
    write_pictures(per_class / "train", ["of no class.png"])
    refused(per_class, "holds no folders; make one for each class(.|\n)*If train is a class itself, rename it")


def test_links_that_lead_nowhere_are_refused_at_once_and_named(per_class: Path) -> None:
    """As data version control leaves them until they are fetched; they dropped out without a word."""
    for i in range(23):
        (per_class / "test" / "zebra" / f"{i:02} away.png").symlink_to("/annex/objects/none.png")
    refused(per_class, r"23 of 41 pictures are broken links(.|\n)*dvc pull(.|\n)*19 away.png\n  and 3 more$")


@pytest.mark.parametrize("link", ["train/lion", "validation", "test/lion"])
def test_a_folder_that_is_a_link_to_nowhere_is_refused(per_class: Path, link: str) -> None:
    shutil.rmtree(per_class / "val")
    (per_class / link).symlink_to("/nowhere")
    refused(per_class, "nowhere|broken links")


def test_coursera_files_may_be_links_to_files_of_other_names(hdf5: Path, tmp_path: Path) -> None:
    for name in ("train_signs.h5", "test_signs.h5"):
        (hdf5 / name).rename(tmp_path / f"SHA256-{name}")
        (hdf5 / name).symlink_to(tmp_path / f"SHA256-{name}")
    assert load_dataset(hdf5 / "train_signs.h5").counts == {"train": 12, "test": 12}
    (tmp_path / "SHA256-test_signs.h5").unlink()
    refused(hdf5, "it is a link to .*, which does not exist; fetch it first")


def test_class_folders_without_splits_are_a_data_set(tmp_path: Path) -> None:
    """As image_dataset_from_directory takes them. A folder without pictures leaves it open what is meant."""
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / name / "deep").mkdir(parents=True)
        for i in range(10):
            image = Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8))
            image.save(tmp_path / name / ("deep" if i % 2 else "") / f"{i}.png")
    dataset = load_dataset(tmp_path)
    assert dataset.labels == ("cats", "dogs")
    assert dataset.counts == {"train": 18, "test": 2}
    assert "the model may have been trained on them" in load_dataset(tmp_path, model_given=True).notes[0]
    (tmp_path / "notes").mkdir()
    refused(tmp_path, "these folders have no pictures(.|\n)*notes/")
    (tmp_path / "notes").rmdir()
    for dogs in ("test", "seg_test", "pets_train", "dogs/train"):
        (tmp_path / "dogs").rename(tmp_path / "kept")
        (tmp_path / dogs).parent.mkdir(exist_ok=True)
        (tmp_path / "kept").rename(tmp_path / dogs)
        refused(tmp_path, "in a known layout")
        (tmp_path / dogs).rename(tmp_path / "kept")
        if (tmp_path / "dogs").exists():
            (tmp_path / "dogs").rmdir()
        (tmp_path / "kept").rename(tmp_path / "dogs")
    assert load_dataset(tmp_path).labels == ("cats", "dogs")


def test_class_folders_without_pictures_are_named(tmp_path: Path) -> None:
    """They were said to be no data set in a known layout."""
    for name in ("cats", "dogs"):
        write_pictures(tmp_path / name, [f"{i}.png" for i in range(4)])
    (tmp_path / "birds").mkdir()
    refused(tmp_path, r"these folders have no pictures(.|\n)*\n  birds/$")


def test_a_data_set_has_its_folders_name_and_counts_what_it_skips(cs230: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cs230 / "train_signs" / "notes.txt").touch()
    (cs230 / "train_signs" / "0_IMG_7.heic").touch()
    (cs230 / ".DS_Store").touch()
    monkeypatch.chdir(cs230)
    dataset = load_dataset(".")
    assert dataset.name == cs230.name
    assert dataset.skipped == 2


def test_the_synthetic_hands_have_the_shapes_of_signs_and_share_no_picture() -> None:
    dataset = load_dataset("synthetic")
    assert dataset.counts == {"train": 1080, "test": 120}
    assert dataset.train.images(SPEC).shape == (1080, 64, 64, 3)
    for split in dataset.splits.values():
        assert set(np.bincount(split.labels)) == {len(split) // 6}
    pictures = [image.tobytes() for split in dataset.splits.values() for image in split.images(SPEC)]
    assert len(set(pictures)) == 1200


def test_real_signs_has_the_courses_counts(signs_data: Path) -> None:
    dataset = load_dataset(signs_data)
    assert dataset.counts == {"train": 864, "validation": 216, "test": 120}
    assert set(np.bincount(dataset.test.labels)) == {20}
    assert set(np.bincount(dataset.all_but_test.labels)) == {180}


def test_the_courses_own_hdf5_is_read(signs_data: Path, tmp_path: Path) -> None:
    course = signs_data.parent / "signs_h5" / "test_signs.h5"
    if not course.exists():
        pytest.skip(f"{course} is not there")
    shutil.copy(course, tmp_path)
    write_hdf5(tmp_path, "train")
    dataset = load_dataset(tmp_path)
    assert dataset.counts["test"] == 120
    assert set(np.bincount(dataset.test.labels)) == {20}


def test_no_such_folder_lists_the_layouts(tmp_path: Path) -> None:
    refused(tmp_path / "none", r"no such folder(.|\n)*train_signs\.h5")
    refused(tmp_path, "in a known layout")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.h5", b"\x89HDF\r\n\x1a\n", "it is a file, .* pass a Keras model as MODEL or --model"),
        ("model.keras", b"PK", "or --model"),
        ("model.h5", b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        ("pictures.zip", b"PK", "an archive; unpack it"),
        ("notes.txt", b"x", "it is a file, but DATA must be a folder of pictures"),
    ],
)
def test_a_file_in_the_place_of_a_folder_is_not_said_to_be_missing(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, words)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / "away")
    refused(tmp_path / name, "it is a link to .*away, which does not exist")


def test_half_a_pair_is_refused(hdf5: Path) -> None:
    (hdf5 / "test_signs.h5").unlink()
    refused(hdf5, r"test_signs\.h5 is missing")


def test_truncated_hdf5_is_refused(hdf5: Path) -> None:
    path = hdf5 / "train_signs.h5"
    path.write_bytes(path.read_bytes()[:5000])
    refused(hdf5, r"train_signs\.h5 is truncated")
    path.write_text("not HDF5")
    refused(hdf5, r"train_signs\.h5 is truncated or not HDF5")
    path.write_text("version https://git-lfs.github.com/spec/v1")
    refused(hdf5, "it is a Git LFS pointer")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_set_y": None}, "lacks train_set_y"),
        ({"list_classes": None}, "lacks list_classes"),
        ({"train_set_x": np.zeros((12, 64, 64, 3), np.float32)}, "must be uint8"),
        ({"train_set_x": np.zeros((12, 64, 64), np.uint8)}, "must be uint8"),
        ({"train_set_x": np.zeros((12, 64, 64, 1), np.uint8)}, "must be uint8"),
        ({"train_set_y": np.zeros(11, np.int64)}, "an integer for each"),
        ({"train_set_y": np.zeros(12, np.float64)}, "an integer for each"),
        ({"train_set_y": np.arange(12)}, "not in list_classes"),
        ({"train_set_y": np.full(12, -1)}, "not in list_classes"),
        ({"list_classes": np.zeros(6, np.int64)}, "each class once"),
        ({"list_classes": np.arange(7)}, "list different classes"),
        ({"train_set_x": np.zeros((0, 64, 64, 3), np.uint8), "train_set_y": np.zeros(0, np.int64)}, "empty"),
        ({"train_set_y": np.full(12, 3)}, "all 12 pictures of the train split"),
    ],
)
def test_hdf5_of_the_wrong_content_is_refused(
    hdf5: Path, changes: dict[str, NDArray[np.generic] | None], words: str
) -> None:
    write_hdf5(hdf5, "train", **changes)
    refused(hdf5, words)


def test_a_file_name_without_a_label_is_refused(cs230: Path) -> None:
    write_pictures(cs230 / "val_signs", ["holiday.jpg"])
    refused(cs230, r"holiday\.jpg: the file name contains no label")


def test_a_label_that_no_training_picture_has_is_refused(cs230: Path) -> None:
    write_pictures(cs230 / "test_signs", ["9_IMG_1.jpg"])
    refused(cs230, "labelled 9, but no training picture has that label")


def test_a_test_class_that_is_not_trained_is_refused(per_class: Path) -> None:
    write_pictures(per_class / "test" / "lion", ["1.png"])
    refused(per_class, "pictures labelled lion")


def test_hdf5_links_that_lead_nowhere_and_arrays_that_are_none_are_refused(hdf5: Path) -> None:
    for value in (h5py.SoftLink("/nowhere"), h5py.ExternalLink("none.h5", "/x"), h5py.Empty("u1")):
        write_hdf5(hdf5, "train", train_set_x=None)
        with h5py.File(hdf5 / "train_signs.h5", "a") as file:
            file["train_set_x"] = value
        refused(hdf5, r"lacks train_set_x|not HDF5|must be arrays")


def test_an_hdf5_that_claims_more_than_memory_is_refused(hdf5: Path) -> None:
    write_hdf5(hdf5, "train", train_set_x=None)
    with h5py.File(hdf5 / "train_signs.h5", "a") as file:
        file.create_dataset("train_set_x", (10**11, 64, 64, 3), np.uint8, chunks=(1, 64, 64, 3))
    refused(hdf5, r"an integer for each|more pictures than fit")


def test_cs230_folders_without_a_test_split_are_measured_on_others_as_well(cs230: Path) -> None:
    shutil.rmtree(cs230 / "test_signs")
    assert load_dataset(cs230).counts == {"train": 18, "test": 6}
    shutil.rmtree(cs230 / "val_signs")
    assert load_dataset(cs230).counts == {"train": 12, "test": 6}
