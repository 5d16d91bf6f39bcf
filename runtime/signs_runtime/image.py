"""Turns a picture file into pixels: the one function that trains, calibrates, proves and serves."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from signs_runtime.errors import ImageError
from signs_runtime.input_spec import Colour, InputSpec

Picture = str | os.PathLike[str] | IO[bytes] | NDArray[np.uint8]

# What cameras, phones and the web make. Pillow knows more formats, some of which start other programs (EPS).
COMMON_FORMATS = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
)  # decoded without importing Pillow's other plug-ins
OTHER_FORMATS = ("WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})

MAX_PIXELS = 89_478_485  # Pillow's own warning threshold: 256 MiB of RGB


def read_image(picture: Picture, spec: InputSpec) -> NDArray[np.uint8]:
    """Read a picture as the model wants it.

    `picture` is a path, an open binary file, or a uint8 array (height, width, channels) of any size. The result is
    uint8, of `spec.shape`. Raises ImageError for anything that cannot be read as a picture.
    """
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape == spec.shape:
        return picture
    return np.asarray(dict(stages(picture, spec))["resized"])


def stages(picture: Picture, spec: InputSpec) -> Iterator[tuple[str, Image.Image | NDArray[np.uint8]]]:
    """Take a picture to the model one step at a time: "decoded", "turned", "colour", "resized".

    An array is neither turned nor recoloured. What is "resized" is an array of `spec.shape`, as `read_image` gives it.
    Raises ImageError.
    """
    if isinstance(picture, np.ndarray):
        image = _from_array(picture, spec)
        yield "decoded", image
    else:
        with _explained(picture), decode(picture) as image:
            image.load()
            yield "decoded", image
            image = turn(image)
            yield "turned", image
            image = colour(image, spec.colour)
            yield "colour", image
    yield "resized", resize(image, spec)


@contextmanager
def _explained(picture: str | os.PathLike[str] | IO[bytes]) -> Iterator[None]:
    """Name the picture in what goes wrong while it is read."""
    name = _name(picture)
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except OSError as error:
        raise ImageError(f"{name}: {_reason(error)}") from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes Pillow's decoders raise whatever they stumble over
        raise ImageError(f"{name}: the picture is damaged ({error}).") from error


def decode(picture: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """Open a picture whose header claims at most MAX_PIXELS; the first frame of an animated one."""
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        if path.is_dir():
            raise ImageError("this is a folder, not a picture.")
        # A pipe can be read only once, and finding the format may take two looks.
        image = _open(path if path.is_file() or not path.exists() else io.BytesIO(path.read_bytes()))
    elif hasattr(picture, "read"):
        image = _open(picture if picture.seekable() else io.BytesIO(picture.read()))
    else:
        raise ImageError(f"a picture is a path, an open binary file or a uint8 array, not {type(picture).__name__}.")
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ImageError(f"{width}x{height} pixels are more than the {MAX_PIXELS:,} allowed; shrink the picture.")
    return image


def _open(picture: Path | IO[bytes]) -> Image.Image:
    try:
        try:
            return Image.open(picture, formats=COMMON_FORMATS)
        except UnidentifiedImageError:
            Image.init()
            return Image.open(picture, formats=[each for each in OTHER_FORMATS if each in Image.OPEN])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"its header claims more than the {MAX_PIXELS:,} pixels allowed; shrink the picture."
        ) from error


def turn(image: Image.Image) -> Image.Image:
    """Apply the camera's EXIF orientation, so that up is up; EXIF that cannot be read turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF raises whatever its bytes lead to
        return image


def colour(image: Image.Image, mode: Colour) -> Image.Image:
    """Convert to 8-bit RGB or greyscale; transparent pixels show white, as on a page, and 16 bits keep the upper 8."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ImageError("pixels of 32 bits have no fixed white; convert the picture to 8 or 16 bits.")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def resize(image: Image.Image, spec: InputSpec) -> NDArray[np.uint8]:
    """Stretch to the model's size (Pillow's filters, which average when they shrink) and hand the pixels over."""
    if image.size != (spec.width, spec.height):
        image = image.resize((spec.width, spec.height), Image.Resampling[spec.resize.upper()])
    return np.asarray(image, dtype=np.uint8).reshape(spec.shape)


def find_pictures(paths: tuple[Path, ...] | list[Path]) -> list[Path]:
    """List the files named, and in place of a folder the picture files below it, sorted.

    Raises ImageError for a path that does not exist and for a folder without pictures.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if is_picture_name(p) and p.is_file())
            if not inside:
                raise ImageError(f"{path}: no pictures in this folder ({', '.join(sorted(SUFFIXES))}).")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ImageError(f"{path}: no such file or folder.")
    return found


def is_picture_name(path: Path) -> bool:
    """Tell by its name whether a file is a picture: a known suffix, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _from_array(array: NDArray[np.uint8], spec: InputSpec) -> Image.Image:
    channels = spec.shape[2]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != channels or 0 in array.shape:
        raise ImageError(
            f"An array must be uint8 of shape (height, width, {channels}), {spec.colour}; "
            f"this one is {array.dtype} {array.shape}."
        )
    return Image.fromarray(array if channels == 3 else array[:, :, 0])


def _name(picture: str | os.PathLike[str] | IO[bytes]) -> str:
    if isinstance(picture, str | os.PathLike):
        return os.fspath(picture)
    return str(getattr(picture, "name", "the picture"))


def _reason(error: OSError) -> str:
    if error.errno is not None:
        return f"cannot be read ({error.strerror})."
    if isinstance(error, UnidentifiedImageError):
        return f"not a picture, or none of {', '.join(COMMON_FORMATS + OTHER_FORMATS)}."
    return f"the picture is damaged ({error})."
