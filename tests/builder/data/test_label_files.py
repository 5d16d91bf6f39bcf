"""What a model's outputs are called, from the files that people keep beside models, and matched to folders by name."""

from pathlib import Path

import numpy as np
import pytest

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.label_files import find_labels, read_labels, relabelled
from signs_builder.errors import DatasetError


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("\ufeffcat\r\n\r\n dog \r\n", ("cat", "dog")),
        ("0 cats\n1 dogs and more\n", ("cats", "dogs and more")),
        ("1 dogs\n0 cats", ("cats", "dogs")),
        ("0 0\n1 1\n2 2", ("0", "1", "2")),
        ("10\n9\n2", ("10", "9", "2")),
        ("1 euro\n2 euros", ("1 euro", "2 euros")),
        ('["T-shirt/top", "Größe"]', ("T-shirt/top", "Größe")),
        ('{"dog": 1, "cat": 0}', ("cat", "dog")),
        ('{"0": "cat", "1": "dog"}', ("cat", "dog")),
    ],
)
def test_each_kind_is_read(tmp_path: Path, content: str, labels: tuple[str, ...]) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(content, encoding="utf-8")
    assert read_labels(path) == labels
    assert find_labels(tmp_path / "model.h5") == path
    assert find_labels(tmp_path / "other" / "model.h5") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"cat\ncat\ndog", "lists cat more than once"),
        (b"cat", "fewer than two labels"),
        ("Größe\nx".encode("latin-1"), "not in UTF-8"),
        (b"[1, 2]", "JSON list of labels"),
        (b"[", "looks like JSON but is not valid"),
        (b'{"a": 0, "b": 2}', "number its 2 labels 0 to 1"),
    ],
)
def test_bad_files_are_explained(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        read_labels(path)
    with pytest.raises(DatasetError, match="no such file"):
        read_labels(tmp_path / "none.txt")


def folders(*names: str) -> Dataset:
    labels = np.arange(len(names)).repeat(2)
    pictures = np.arange(2 * len(names) * 12, dtype=np.uint8).reshape(-1, 2, 2, 3)
    return Dataset("pictures", names, Split(pictures, labels), None, Split(pictures, labels))


def test_folders_match_by_name_whatever_their_order(tmp_path: Path) -> None:
    dataset = folders("ankle boot", "bag", "T-shirt-top")
    labels = ("T-shirt/top", "Bag", "Ankle boot")
    given = relabelled(dataset, labels, tmp_path / "labels.txt")
    assert given.labels == labels
    assert given.test.labels.tolist() == [2, 2, 1, 1, 0, 0]
    assert given.test.pictures is dataset.test.pictures


def test_labels_that_only_one_side_has_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"(?s)Only in pictures:\s+bird.*Only in .*labels.txt:\s+fish.*--labels"):
        relabelled(folders("bird", "cat"), ("cat", "fish"), tmp_path / "labels.txt")
    with pytest.raises(DatasetError, match=r"(?s)Only in .*labels.txt:\s+dog"):
        relabelled(folders("bird", "cat"), ("cat", "dog", "bird"), tmp_path / "labels.txt")
