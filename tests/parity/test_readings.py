"""What the runtime makes of a picture is what the library makes of it that the model was trained with."""

from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import read_image
from tests.parity.readings import all_readings, original, write_pictures

HALF_A_LEVEL = 0.5 + 1e-4  # TensorFlow leaves its means as float32


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_pictures(tmp_path_factory.mktemp("pictures"), 24)


@pytest.mark.parametrize("spec", list(all_readings()), ids=InputSpec.describe)
def test_each_filter_and_fit_gives_its_librarys_pixels(spec: InputSpec, paths: list[Path]) -> None:
    for i, path in enumerate(paths):
        shaped = InputSpec(*((64, 64), (48, 80), (96, 32))[i % 3], "L" if i % 4 == 3 else "RGB", spec.resize, spec.fit)
        difference = np.abs(read_image(path, shaped) - original(path, shaped).astype(np.float64)).max()
        assert difference <= (HALF_A_LEVEL if spec.resize == "tf-bilinear" else 0), (path.name, shaped)


@pytest.mark.parametrize("line", [(1, 500), (500, 1), (1, 1), (2, 3000)])
def test_a_picture_that_is_a_line_is_read_by_every_filter(line: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "line.png"
    Image.fromarray(np.full((*line, 3), 200, np.uint8)).save(path)
    for spec in all_readings():
        image = read_image(path, spec)
        assert image.shape == spec.shape
        assert spec.fit == "pad" or (image == 200).all()


def turned_photo(path: Path) -> Path:
    """A JPEG of a camera that was held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    coarse = Image.fromarray(np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8))
    coarse.resize((400, 300), Image.Resampling.BICUBIC).save(path, exif=exif, quality=95)
    return path


def test_exif_is_ignored_as_by_load_img_and_heeded_as_by_opencv(tmp_path: Path) -> None:
    path = turned_photo(tmp_path / "a.jpg")
    ignored = InputSpec(64, 64, resize="nearest", exif="ignored")
    assert np.array_equal(read_image(path, ignored), np.asarray(keras.utils.load_img(path, target_size=(64, 64))))
    heeded = InputSpec(64, 64, "BGR", "cv2-linear")
    frame = cv2.imread(str(path))
    assert frame is not None
    assert np.array_equal(read_image(path, heeded), cv2.resize(frame, (64, 64)))


def test_a_frame_comes_in_either_order_and_leaves_in_the_models() -> None:
    frame = np.random.default_rng(2).integers(0, 256, (30, 40, 3), np.uint8)
    bgr, rgb = InputSpec(8, 6, "BGR"), InputSpec(8, 6)
    assert np.array_equal(read_image(frame, bgr, "BGR"), read_image(frame, rgb))
    assert np.array_equal(read_image(frame, bgr), read_image(frame, rgb, "BGR"))
    ready = np.ascontiguousarray(frame[:8, :6])
    assert read_image(ready, bgr, "BGR") is ready
    assert np.array_equal(read_image(ready, bgr), ready[:, :, ::-1])
