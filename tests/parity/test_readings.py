"""What the runtime makes of a picture is what the library makes of it that the model was trained with."""

from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from signs_runtime.pictures import sampled_filters
from signs_runtime.pictures.input_spec import Fit, InputSpec
from signs_runtime.pictures.read import read_image
from signs_runtime.pictures.resize import resize
from tests.parity.readings import all_readings, original, write_pictures

HALF_A_LEVEL = 0.5 + 1e-4  # TensorFlow leaves its means as float32


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    Image.new("RGB", (3, 437), "red").save(folder / "thin.png")  # padded, less than half a pixel is left of it
    return [folder / "thin.png", *write_pictures(folder, 24)]


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


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_an_average_of_a_picture_larger_than_a_strip_is_the_same(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = Image.fromarray(np.random.default_rng(3).integers(0, 256, (150, 211, 3), np.uint8))
    for side in (20, 50):  # no whole multiple, and pieces of pixels
        for filter_ in ("cv2-area", "cv2-linear", "tf-bilinear", "tf-nearest"):
            spec = InputSpec(side, side, resize=filter_, fit=fit)
            whole = resize(pixels, spec)
            with monkeypatch.context() as patch:
                patch.setattr(sampled_filters, "_AT_ONCE", 500)
                assert np.array_equal(resize(pixels, spec), whole), filter_


def test_a_padded_line_is_read_without_its_border(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Image.new("L", (30_000, 1), 200)
    cropped: list[tuple[int, int, int, int]] = []
    honest = Image.Image.crop

    def crop(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
        cropped.append(box)
        return honest(image, box)

    monkeypatch.setattr(Image.Image, "crop", crop)
    for side in (224, 300):
        assert resize(line, InputSpec(side, side, "L", "cv2-area", "pad")).max() <= 200
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in cropped) < 10 * 30_000
