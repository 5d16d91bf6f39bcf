"""Makes picture files of the kinds that devices meet, to check that they are read as in training."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from signs_runtime.pictures.input_spec import InputSpec

# Pixels of detail a side, so that files stay small for any model; measured: at most 72 KB, for noise.
_DETAIL = 64
_LARGEST = 224  # pixels; the large pictures are multiples of the model's side, up to this
_STRIPE = 3  # pixels; with 2, `nearest` would skip every other stripe of a picture four times as wide
PROBES = 7  # number of pictures
_TURNED = 6  # EXIF value for a camera held upright (CIPA DC-008, table "Orientation")


def make_probes(images: NDArray[np.uint8], spec: InputSpec) -> dict[str, bytes]:
    """Make picture files, by name, from the first of these images (n, h, w, c). The same Pillow gives the same bytes.

    The files are large and not square (with and without an EXIF orientation), transparent, greyscale in 8 and 16 bits,
    with a palette, and a JPEG of the model's own size. Stripes in a corner reveal every turn, filter and background,
    even in a plain image.
    """
    own = (spec.width, spec.height)
    large = (4 * min(spec.width, _LARGEST), 3 * min(spec.height, _LARGEST))
    sizes = [large, large, large, own, own, own, own]
    turned, wide, glass, grey, deep, palette, plain = (
        _enlarged(images[i % len(images)], size) for i, size in enumerate(sizes)
    )
    glass.putalpha(Image.linear_gradient("L").resize(glass.size))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = _TURNED
    return {
        "turned.jpg": _file(turned, "JPEG", exif=exif),
        "large.png": _file(wide, "PNG"),
        "transparent.png": _file(glass, "PNG"),
        "grey.png": _file(grey.convert("L"), "PNG"),
        "16-bit.png": _file(Image.fromarray(np.asarray(deep.convert("L")).astype(np.uint16) * 257), "PNG"),
        "palette.png": _file(palette.convert("RGB").quantize(64), "PNG"),
        "plain.jpg": _file(plain, "JPEG"),
    }


def _enlarged(image: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """Enlarge an image (h, w, c) to `size` (width, height) in blocks of one colour, and add stripes in a corner."""
    picture = Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image)
    picture.thumbnail((_DETAIL, _DETAIL))
    picture = picture.resize(size, Image.Resampling.NEAREST)
    pixels = np.array(picture)  # (height, width) or (height, width, 3)
    corner = pixels[: size[1] // 4, : size[0] // 2]
    is_white = np.arange(corner.shape[1]) // _STRIPE % 2 == 1
    corner[:, is_white], corner[:, ~is_white] = 255, 0
    return Image.fromarray(pixels)


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
