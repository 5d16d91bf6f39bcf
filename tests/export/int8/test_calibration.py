"""What int8 is calibrated on: each class by its share, no test picture, and doubts told."""

from pathlib import Path

import numpy as np
import pytest

from signs_builder.data.dataset import Dataset, Split
from signs_export.errors import CalibrationError
from signs_export.int8.calibration import choose_calibration
from signs_runtime import ImageError, InputSpec


def with_splits(pictures: Dataset, train: slice, test: slice) -> Dataset:
    def part(split: Split, places: slice) -> Split:
        return Split(split.pictures[places], split.labels[places])

    return Dataset("hands", pictures.labels, part(pictures.train, train), None, part(pictures.train, test))


def test_calibration_takes_each_class_by_its_share_and_the_same_pictures_every_time(pictures: Dataset) -> None:
    spec = InputSpec(32, 32)
    first, again = (choose_calibration(pictures, spec, 120) for _ in range(2))
    assert np.array_equal(first.images, again.images)
    assert first.images.shape == (240, 32, 32, 3)  # each picture, and itself under other light
    assert first.warnings == ()
    digests = {
        image.tobytes(): label for image, label in zip(pictures.train.pictures, pictures.train.labels, strict=True)
    }
    labels = [digests[image.tobytes()] for image in first.images[::2]]
    assert np.bincount(labels).tolist() == [20] * 6


def test_calibration_leaves_test_pictures_out_and_says_so(pictures: Dataset) -> None:
    both = with_splits(pictures, slice(0, 200), slice(100, 300))
    calibration = choose_calibration(both, InputSpec(32, 32), 200)
    tested = {image.tobytes() for image in np.asarray(both.test.pictures)}
    assert not any(image.tobytes() in tested for image in calibration.images[::2])
    assert len(calibration.images) == 200
    assert any("skipped 100 training pictures" in warning for warning in calibration.warnings)
    with pytest.raises(CalibrationError, match="all of its training pictures are test pictures"):
        choose_calibration(with_splits(pictures, slice(0, 60), slice(0, 60)), InputSpec(32, 32), 60)


@pytest.mark.parametrize(
    ("count", "words"),
    [(60, "on 60 pictures; give 100 or more"), (3, "without a picture of"), (1, "of one class only")],
)
def test_doubtful_calibrations_are_told(pictures: Dataset, count: int, words: str) -> None:
    assert any(words in warning for warning in choose_calibration(pictures, InputSpec(32, 32), count).warnings)


def test_an_unreadable_calibration_picture_is_an_error_that_names_it(pictures: Dataset, tmp_path: Path) -> None:
    train = Split(pictures.train.files(tmp_path / "train", pictures.labels), pictures.train.labels)
    broken = train.files(tmp_path, pictures.labels)[7]
    broken.write_bytes(b"no picture")
    dataset = Dataset("files", pictures.labels, train, None, pictures.test)
    with pytest.raises(ImageError, match=broken.name):
        choose_calibration(dataset, InputSpec(32, 32), 480)
