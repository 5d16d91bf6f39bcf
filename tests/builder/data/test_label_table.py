"""A table of labels is read as it was meant, whoever wrote it, and each label stays among what is trained on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signs_builder.data.label_files import relabelled
from signs_builder.data.label_table import is_label_table, load_label_table
from signs_builder.data.sources import load_dataset
from signs_builder.errors import DatasetError


def table(folder: Path, text: str, encoding: str = "utf-8", pictures: int = 60) -> str:
    for i in range(pictures):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / f"{i}.png")
    (folder / "table.csv").write_text(text, encoding=encoding)
    return str(folder / "table.csv")


def rows(separator: str = ",", rare: int = 7) -> str:
    lines = [separator.join(["file", "cat", "dog", "rare"])]
    lines += [separator.join([f"{i}.png", str(i % 2), str(i % 3 and 1), str(int(i == rare))]) for i in range(60)]
    return "\n".join(lines)


@pytest.mark.parametrize(("separator", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8")])
def test_columns_of_ticks_are_labels_whatever_stands_between_them(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    dataset = load_label_table(table(tmp_path, rows(separator), encoding))
    assert dataset.labels == ("cat", "dog", "rare")
    assert (len(dataset.train), len(dataset.test)) == (54, 6)
    shown = (dataset.train + dataset.test).shown(3)
    assert shown.sum(axis=0).tolist() == [30, 40, 1]


@pytest.mark.parametrize("rare", range(0, 60, 3))
def test_a_label_that_one_picture_shows_is_not_held_out(tmp_path: Path, rare: int) -> None:
    dataset = load_label_table(table(tmp_path, rows(rare=rare)))
    assert dataset.train.shown(3)[:, 2].sum() == 1
    assert dataset.counts == load_label_table(str(tmp_path / "table.csv")).counts


def test_a_column_of_lists_gives_sorted_labels_and_pictures_without_any(tmp_path: Path) -> None:
    lines = [f'{i}.png,"{("sea|sun", "sun", "", " sea | haze")[i % 4]}"' for i in range(60)]
    dataset = load_label_table(table(tmp_path, "\n".join(["file,labels", *lines])), model_given=True)
    assert dataset.labels == ("haze", "sea", "sun")
    assert (~dataset.train.shown(3).any(axis=1)).any()
    assert "may have been trained on" in dataset.caveats[0]
    other = relabelled(dataset, ("sun", "haze", "sea"), tmp_path / "labels.txt")
    assert np.array_equal(other.test.shown(3), dataset.test.shown(3)[:, [2, 0, 1]])


def test_columns_that_one_label_of_the_model_would_merge_are_refused(tmp_path: Path) -> None:
    dataset = load_label_table(
        table(tmp_path, rows().replace("cat,dog,rare", "Cat,cat ,dog", 1).replace("cat ,", "CAT,"))
    )
    with pytest.raises(DatasetError, match="do not match"):
        relabelled(dataset, ("cat", "dog"), tmp_path / "labels.txt")


def test_a_training_says_what_a_table_is_for(tmp_path: Path) -> None:
    path = table(tmp_path, rows(), pictures=1)
    assert is_label_table(path)
    with pytest.raises(DatasetError, match="with a multi-label model"):
        load_dataset(path)
