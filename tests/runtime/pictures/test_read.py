"""Pictures of every kind are read right, and what is no picture is refused."""

import io
import itertools
import os
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import signs_runtime.pictures.read as image_module
from signs_runtime import ImageError, InputSpec, OptionError
from signs_runtime.pictures.input_spec import FITS, RESIZE_FILTERS, Channels, Colour, ResizeFilter
from signs_runtime.pictures.read import MAX_PIXELS, read_image, stages

from ..picture_files import encoded

SPEC = InputSpec(4, 6)
ORANGE = (200, 120, 40)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def pixel_of(path: Path) -> tuple[int, ...]:
    return tuple(int(value) for value in read_image(path, SPEC)[1, 1])


def test_a_picture_of_the_models_size_keeps_its_very_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    assert np.array_equal(read_image(save(tmp_path / "a.png", Image.fromarray(pixels)), SPEC), pixels)
    assert np.array_equal(read_image(pixels, SPEC), pixels)


def test_a_file_an_open_file_and_an_array_give_the_same_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (33, 21, 3), np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(pixels))
    expected = np.asarray(Image.fromarray(pixels).resize((6, 4), Image.Resampling.BILINEAR))
    for picture in (path, str(path), io.BytesIO(path.read_bytes()), pixels):
        given = read_image(picture, SPEC)
        assert given.dtype == np.uint8
        assert np.array_equal(given, expected)


def test_the_stages_of_a_picture_are_shown_one_by_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (21, 33, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", Image.fromarray(pixels), exif=exif)
    steps = {name: np.asarray(image) for name, image in stages(path, SPEC)}
    assert list(steps) == ["decoded", "turned", "colour", "resized"]
    assert np.array_equal(steps["decoded"], pixels)
    assert np.array_equal(steps["turned"], np.rot90(pixels, -1))
    opaque = pixels[..., 3:] / 255
    on_white = np.rot90(pixels[..., :3] * opaque + 255 * (1 - opaque), -1)
    assert np.abs(steps["colour"] - on_white).max() <= 1
    assert np.array_equal(steps["resized"], read_image(path, SPEC))


def test_an_array_is_neither_turned_nor_recoloured() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (33, 21, 1), np.uint8)
    spec = InputSpec(4, 6, "L")
    steps = dict(stages(pixels, spec))
    assert list(steps) == ["decoded", "resized"]
    assert np.array_equal(np.asarray(steps["resized"]), read_image(pixels, spec))


@pytest.mark.parametrize("resize", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_the_resize_filter_is_the_one_that_the_model_wants(resize: ResizeFilter) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (33, 21, 3), np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((6, 4), Image.Resampling[resize.upper()]))
    assert np.array_equal(read_image(pixels, InputSpec(4, 6, resize=resize)), expected)


def test_greyscale_becomes_three_equal_colours(tmp_path: Path) -> None:
    assert pixel_of(save(tmp_path / "a.png", Image.new("L", (6, 4), 90))) == (90, 90, 90)


def test_sixteen_bit_greyscale_keeps_its_brightness(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((4, 6), 90 * 257, np.uint16))
    for name in ("a.png", "a.tif"):
        assert pixel_of(save(tmp_path / name, image)) == (90, 90, 90)


def test_sixteen_bit_colour_keeps_its_colour(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">3H", *(value * 257 for value in ORANGE)) * 6
    path = tmp_path / "a.png"
    path.write_bytes(png(6, 4, depth=16, colour_type=2, rows=row * 4))
    assert pixel_of(path) == ORANGE


def test_transparent_pixels_show_white_whatever_colour_they_hide(tmp_path: Path) -> None:
    assert pixel_of(save(tmp_path / "clear.png", Image.new("RGBA", (6, 4), (*ORANGE, 0)))) == (255, 255, 255)
    assert pixel_of(save(tmp_path / "opaque.png", Image.new("RGBA", (6, 4), (*ORANGE, 255)))) == ORANGE
    assert pixel_of(save(tmp_path / "grey.png", Image.new("LA", (6, 4), (10, 0)))) == (255, 255, 255)


def test_a_palette_is_looked_up_and_its_transparency_is_seen(tmp_path: Path) -> None:
    palette = Image.new("RGB", (6, 4), ORANGE).quantize(4)
    assert pixel_of(save(tmp_path / "a.png", palette)) == ORANGE
    assert pixel_of(save(tmp_path / "b.png", palette, transparency=palette.getpixel((1, 1)))) == (255, 255, 255)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("RGB", (6, 4), ORANGE).convert("CMYK"), quality=100)
    assert np.allclose(pixel_of(path), ORANGE, atol=4)  # JPEG


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), ORANGE), Image.new("RGB", (6, 4), "blue")]
    for name in ("a.gif", "a.webp", "a.png"):
        path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], lossless=True)
        assert pixel_of(path) == ORANGE


def test_the_first_picture_of_a_phones_several_counts(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    first, second = Image.new("RGB", (16, 24), ORANGE), Image.new("RGB", (16, 24), "blue")
    for options in ({}, {"exif": exif}, {"progressive": True}):
        path = tmp_path / "a.jpg"
        first.save(path, "MPO", save_all=True, append_images=[second], **options)
        with Image.open(path) as image:
            assert image.format == "MPO"
        assert np.allclose(pixel_of(path), ORANGE, atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_turn_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0, 0] = 255  # the upper left corner
    how = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the turn that makes a camera's picture out of the upright one
    stored = Image.fromarray(upright)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(how[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(read_image(save(tmp_path / "a.png", stored, exif=exif), SPEC), upright)


def test_a_model_of_one_colour_sees_greyscale(tmp_path: Path) -> None:
    spec = InputSpec(4, 6, "L")
    image = Image.new("RGB", (9, 9), ORANGE)
    given = read_image(save(tmp_path / "a.png", image), spec)
    assert given.shape == (4, 6, 1)
    assert given[0, 0, 0] == image.convert("L").getpixel((0, 0))


def test_a_text_file_named_jpg_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("not a picture")
    with pytest.raises(ImageError, match=r"a\.jpg: not a picture"):
        read_image(path, SPEC)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.touch()
    with pytest.raises(ImageError, match=r"a\.jpg: not a picture"):
        read_image(path, SPEC)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path = save(tmp_path / f"a.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=r"damaged|not a picture"):
        read_image(path, SPEC)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, depth=1, colour_type=0, rows=b"\0" * 1000))
    assert side * side > MAX_PIXELS
    with pytest.raises(ImageError, match="pixels"):
        read_image(path, SPEC)


def test_broken_exif_turns_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "a.webp", "a.jpg"):
        path = save(
            tmp_path / name, Image.new("RGB", (6, 4), ORANGE), exif=b"Exif\0\0MM\0*\0\0\0\x08\xff", lossless=True
        )
        assert np.allclose(pixel_of(path), ORANGE, atol=4)


def test_a_stream_that_can_be_read_once_is_a_picture_too(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

    for name in ("a.png", "a.webp"):
        content = save(tmp_path / name, Image.new("RGB", (6, 4), ORANGE), lossless=True).read_bytes()
        assert np.allclose(read_image(Pipe(content), SPEC)[0, 0], ORANGE, atol=1)


@pytest.mark.parametrize("value", [None, 3, [1, 2]])
def test_what_is_no_picture_at_all_is_refused(value: Any) -> None:
    with pytest.raises(ImageError, match="a picture is a path"):
        read_image(value, SPEC)


def test_pixels_of_32_bits_are_refused(tmp_path: Path) -> None:
    for dtype in (np.int32, np.float32):
        with pytest.raises(ImageError, match="32-bit"):
            read_image(save(tmp_path / "a.tif", Image.fromarray(np.zeros((4, 6), dtype))), SPEC)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "none.jpg", SPEC)
    with pytest.raises(ImageError, match="folder"):
        read_image(tmp_path, SPEC)


def test_a_format_that_starts_another_program_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.eps", Image.new("RGB", (6, 4), ORANGE))
    with pytest.raises(ImageError, match="not a picture"):
        read_image(path, SPEC)


def test_an_array_may_have_its_channels_the_other_way_round() -> None:
    rng = np.random.default_rng(5)
    for shape in ((4, 6, 3), (33, 21, 3)):
        pixels = rng.integers(0, 256, shape, np.uint8)
        expected = read_image(pixels, SPEC)
        given = read_image(np.ascontiguousarray(pixels[..., ::-1]), SPEC, channels="BGR")
        assert np.array_equal(given, expected)
        assert given.flags.c_contiguous


def test_the_order_of_channels_is_for_arrays_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (6, 4), ORANGE))
    for picture in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(ImageError, match="a file has its own order of colours"):
            read_image(picture, SPEC, channels="BGR")
    with pytest.raises(OptionError, match="choose one of RGB, BGR"):
        read_image(np.zeros((4, 6, 3), np.uint8), SPEC, channels="RBG")  # type: ignore[arg-type]  # the refusal is the test


def test_a_model_of_one_colour_takes_arrays_without_channels() -> None:
    spec = InputSpec(4, 6, "L")
    for shape in ((4, 6), (33, 21)):
        pixels = np.random.default_rng(6).integers(0, 256, shape, np.uint8)
        assert np.array_equal(read_image(pixels, spec), read_image(pixels[:, :, None], spec))


@pytest.mark.parametrize("colour", ["RGB", "L"])
@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "key", "I;16"])
def test_a_picture_that_is_converted_in_strips_has_the_very_pixels_of_one_converted_whole(
    tmp_path: Path, kind: str, colour: Colour
) -> None:
    rng = np.random.default_rng(7)
    side = 1100  # more than a strip, and not a multiple
    noise = Image.fromarray(rng.integers(0, 256, (side, side, 4), np.uint8))
    options: dict[str, Any] = {}
    if kind == "I;16":
        image = Image.fromarray(rng.integers(0, 2**16, (side, side), np.uint16))
        whole = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    else:
        image = noise.convert("RGB").quantize(16) if kind == "P" else noise.convert("RGB" if kind == "key" else kind)
        if kind in ("P", "key"):
            options["transparency"] = bytes(range(0, 256, 16)) if kind == "P" else image.getpixel((0, 0))
        image = Image.open(save(tmp_path / "a.png", image, **options))
        image.load()
        rgba = image.convert("RGBA")
        whole = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    path = save(tmp_path / "b.png", image, **options)
    spec = InputSpec(side, side, colour)
    assert np.array_equal(read_image(path, spec), np.asarray(whole.convert(colour)).reshape(spec.shape))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("colour", ["RGB", "L"])
def test_a_picture_too_large_to_be_turned_is_shrunk_first_with_the_same_pixels_up_to_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int, colour: Colour
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(8).integers(0, 256, (47, 77, 3), np.uint8)
    path = save(tmp_path / "a.jpg", Image.fromarray(pixels), exif=exif, quality=95)
    for resize, fit in itertools.product(RESIZE_FILTERS, FITS):
        if resize == "box" or (resize, fit) == ("nearest", "crop"):
            continue  # what lies on the border of two pixels is one side's, and another's in a mirror
        spec = InputSpec(9, 14, colour, resize, fit)
        expected = read_image(path, spec).astype(int)
        with monkeypatch.context() as patched:
            patched.setattr(image_module, "MAX_PIXELS", 100)
            assert np.abs(read_image(path, spec) - expected).max() <= 1


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 6, 3), np.float32),
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((0, 6, 3), np.uint8),
        np.zeros((1, 4, 6, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_picture_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="uint8 of shape"):
        read_image(array, SPEC)


def jpeg_of(width: int, height: int, **options: object) -> bytes:
    """A small JPEG whose header claims another size."""
    content = bytearray(encoded(Image.new("RGB", (16, 16), ORANGE), "JPEG", **options))
    frame = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    content[frame + 5 : frame + 9] = struct.pack(">2H", height, width)
    return bytes(content)


def in_scans(content: bytes) -> bytes:
    """A JPEG whose first scan has one of its three components."""
    scan = content.find(b"\xff\xda")
    return content[: scan + 2] + b"\0\x08\x01" + content[scan + 5 : scan + 7] + content[scan + 11 :]


def scanned(content: bytes, times: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    last, end = content.rfind(b"\xff\xda"), content.rfind(b"\xff\xd9")
    return content[:end] + content[last:end] * times + content[end:]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (scanned(jpeg_of(8_000, 8_000, progressive=True), 1000), r"1,010 scans of 8000x8000 pixels take too long"),
        (jpeg_of(20_000, 16_000), "more than the 201,000,000 allowed"),
        (jpeg_of(14_000, 10_000, progressive=True), "more than the 119,"),
        (in_scans(jpeg_of(14_000, 10_000)), "more than the 119,"),
        (jpeg_of(10_000, 9_000, progressive=True, subsampling=0), "more than the 83,"),
        (encoded(Image.new("1", (70_000, 1)), "PNG"), "no side may have more than 65,535"),
        (encoded(Image.new("1", (1, 70_000)), "PNG"), "no side may have more than 65,535"),
        (b"P6\n1100 1000\n99\n" + bytes(3_300_000), "more than the 1,000,000 allowed"),
        (b"P3\n1100 1000\n255\n" + b"1 " * 3_300_000, "more than the 1,000,000 allowed"),
    ],
    ids=["many scans", "jpeg", "progressive", "scans", "progressive 4:4:4", "wide", "tall", "scaled", "plain"],
)
def test_what_would_take_too_much_memory_or_time_is_refused_by_its_header(content: bytes, words: str) -> None:
    start = time.process_time()
    with pytest.raises(ImageError, match=words):
        read_image(io.BytesIO(content), SPEC)
    assert time.process_time() - start < 1


def test_a_phones_picture_of_108_megapixels_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("RGB", (12_000, 9_000), ORANGE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.allclose(pixel_of(path), ORANGE, atol=4)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_and_a_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="a device, not a picture"):
        read_image("/dev/zero", SPEC)
    pipe = tmp_path / "a.png"
    os.mkfifo(pipe)
    content = encoded(Image.new("RGB", (6, 4), ORANGE), "PNG")
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert pixel_of(pipe) == ORANGE
    writer.join()


def test_a_pipe_that_does_not_end_is_refused() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return len(buffer)

    with pytest.raises(ImageError, match="this pipe delivers more than"):
        read_image(io.BufferedReader(Endless()), SPEC)


def test_a_file_larger_than_any_picture_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("RGB", (6, 4)), "PNG"))
    os.truncate(path, 2**30 + 1)  # zeros that take no room on the disk
    with pytest.raises(ImageError, match="the file has 1,073,741,825 bytes"):
        read_image(path, SPEC)


def png(width: int, height: int, *, depth: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG file with this header and these filtered rows, whether or not they agree."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">2I5B", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (None, "a camera without a frame returns None"),
        (np.zeros((4, 6, 4), np.uint8), r"drop the fourth channel: frame\[:, :, :3\]"),
        (np.zeros((4, 6, 3), np.float32), "scale it to 0..255"),
        (np.zeros((4, 6, 3), np.int64), r"frame.astype\('uint8'\)"),
        (np.zeros((3, 40, 60), np.uint8), r"frame.transpose\(1, 2, 0\)"),
        (np.zeros((4, 6), np.uint8), r"np.dstack\(\[frame\] \* 3\)"),
        (np.zeros((1, 4, 6, 3), np.uint8), r"frames\[0\]"),
        (np.zeros((0, 6, 3), np.uint8), "without any pixels"),
    ],
)
@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_a_frame_of_the_wrong_kind_is_refused_with_what_makes_it_right(
    frame: Any, words: str, channels: Channels
) -> None:
    with pytest.raises(ImageError, match=words):
        read_image(frame, SPEC, channels)
    with pytest.raises(ImageError, match="convert it to greyscale"):
        read_image(np.zeros((4, 6, 3), np.uint8), InputSpec(4, 6, "L"))
