"""Reads pictures into images: training, calibration, proofs and predictions all use this one function."""

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError

from signs_runtime.errors import ImageError, OptionError
from signs_runtime.pictures.input_spec import CHANNELS, Channels, InputSpec, Mode
from signs_runtime.pictures.orientation import UPRIGHT, orientation_of, turned
from signs_runtime.pictures.resize import resize

Picture = str | os.PathLike[str] | IO[bytes] | NDArray[np.uint8]

# The formats of cameras, phones and the web. Pillow knows more, some of which start other programs (EPS).
COMMON_FORMATS = ("JPEG", "PNG")  # decoded without importing Pillow's other plug-ins
OTHER_FORMATS = ("WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM")

# Reading a picture may take a process to 1 GiB of RSS: 800 MiB besides Python, onnxruntime and a model of 94 MB. Pillow
# keeps 4 bytes for each pixel with colours, and twice as much while it turns or converts a picture.
MAX_MEMORY = 800 * 2**20  # bytes
MAX_PIXELS = 89_478_485  # Pillow's own warning threshold
MAX_PICTURE_SIDE = 65_535  # JPEG's own; Pillow keeps 16 bytes for each row, however short
MAX_JPEG_PIXELS = 201_000_000  # the largest pictures of phones
_MAX_DECODED = {  # pixels of formats that take more memory or time per pixel than PNG; measured with Pillow 13.0
    "WEBP": 50_000_000,  # 16 bytes
    "AVIF": 40_000_000,  # 14 bytes, and up to 6 more with 12 bits
    "libtiff": 60_000_000,  # 12 bytes, for a single strip that is turned
    "bmp_rle": 4_000_000,  # 0.3 us, in Python
    "ppm_plain": 1_000_000,  # 1 us, in Python
    "ppm": 1_000_000,  # 1.8 us, in Python, for maximum values other than 255 and 65,535
}
MAX_FILE = 2**30  # bytes; uncompressed pixels of MAX_PIXELS in 16 bits have half as many
_MAX_WHOLE_FILE = 2**27  # bytes of a source that is read in one piece: a pipe, WebP, AVIF
_TOO_MUCH = f"this pipe delivers more than {_MAX_WHOLE_FILE:,} bytes; write the picture to a file first."
_PATIENCE = 10  # seconds for the next bytes of a pipe
_STRIP = 2**20  # pixels that are converted at a time
_MAX_SCANNED = 2**34  # pixels times scans of a JPEG, which commonly has 10; an empty scan takes 70 ps per pixel


def read_image(picture: Picture, spec: InputSpec, channels: Channels = "RGB") -> NDArray[np.uint8]:
    """Read a picture into the image that the model takes.

    `picture` is a path, an open binary file, or a uint8 array (height, width, channels) of any size; for a greyscale
    model also (height, width). `channels` is the order of an array's colours; a file has its own. The result is uint8
    of `spec.shape`. Raises ImageError for anything that cannot be read as a picture.
    """
    if isinstance(picture, np.ndarray):
        return _read_array(picture, spec, channels)
    if channels != "RGB" and (isinstance(picture, str | os.PathLike) or hasattr(picture, "read")):
        raise ImageError(
            f"{_name(picture)}: channels={channels!r} is for arrays only; a file has its own order of colours."
        )
    with _explained(picture):
        image = _load(picture, spec.mode)
        orientation = orientation_of(image) if spec.exif == "turned" else UPRIGHT
        if image.width * image.height <= MAX_PIXELS:
            image, orientation = turned(image, orientation), UPRIGHT
        return fit(image, spec, orientation)


def fit(image: Image.Image, spec: InputSpec, orientation: int = UPRIGHT) -> NDArray[np.uint8]:
    """Turn a decoded picture into the model's image, uint8 of `spec.shape`; `orientation` is as for `resize`."""
    return ordered(resize(colour(image, spec.mode), spec, orientation), "RGB", spec)


def ordered(image: NDArray[np.uint8], channels: Channels, spec: InputSpec) -> NDArray[np.uint8]:
    """Put an image (h, w, c) into the model's order of colours; `channels` is the order that it has."""
    return image if spec.colour in (channels, "L") else np.ascontiguousarray(image[:, :, ::-1])


def stages(picture: Picture, spec: InputSpec) -> Iterator[tuple[str, Image.Image | NDArray[np.uint8]]]:
    """Read a picture one step at a time: "decoded", "turned", "colour", "resized".

    An array is neither turned nor recoloured. The result of "resized" is an array of `spec.shape`, as `read_image`
    returns it. Raises ImageError.
    """
    if isinstance(picture, np.ndarray):
        image = _from_array(picture, spec)
        yield "decoded", image
    else:
        with _explained(picture):
            image = _load(picture, spec.mode)
            yield "decoded", image
            image = turned(image, orientation_of(image) if spec.exif == "turned" else UPRIGHT)
            yield "turned", image
            image = colour(image, spec.mode)
            yield "colour", image
    yield "resized", ordered(resize(image, spec), "RGB", spec)


def check_channels(channels: str) -> None:
    """Refuse an unknown order of colours. Raises OptionError."""
    if channels not in CHANNELS:
        raise OptionError(f"channels={channels!r} is unknown; choose one of {', '.join(CHANNELS)}.")


@contextmanager
def _explained(picture: str | os.PathLike[str] | IO[bytes]) -> Iterator[None]:
    """Turn errors while a picture is read into ImageErrors that name it."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{_name(picture)}: {error}") from error
    except OSError as error:
        raise ImageError(f"{_name(picture)}: {_reason(error)}") from error
    except MemoryError as error:
        raise ImageError(f"{_name(picture)}: the picture needs more memory than this process can get.") from error
    except Exception as error:  # Pillow's decoders raise all kinds of errors for a damaged file
        raise ImageError(f"{_name(picture)}: the picture is damaged ({error!s:.200}).") from error


def _load(picture: str | os.PathLike[str] | IO[bytes], mode: Mode) -> Image.Image:
    with decode(picture, mode) as image:
        image.load()
    return image


def decode(picture: str | os.PathLike[str] | IO[bytes], mode: Mode = "RGB") -> Image.Image:
    """Open a picture, the first frame of an animation; refuse more pixels than can be read as `mode`, by its header."""
    if isinstance(picture, str | os.PathLike):
        size = _size(os.stat(picture))  # noqa: PTH116  # a Path costs 5 us
        if size is None:
            content = _read_pipe(os.fspath(picture))
            image = _open(io.BytesIO(content), len(content))
        else:
            image = _open(os.fspath(picture), size)
    elif hasattr(picture, "read"):
        image = _open(picture, _length(picture)) if picture.seekable() else _open_pipe(picture)
    else:
        no_frame = "; a camera without a frame returns None: check the result of its read()" if picture is None else ""
        given = type(picture).__name__
        raise ImageError(f"a picture is a path, an open binary file or a uint8 array, not {given}{no_frame}.")
    width, height = image.size
    if max(width, height) > MAX_PICTURE_SIDE:
        image.close()
        raise ImageError(f"{width}x{height} pixels: no side may have more than {MAX_PICTURE_SIDE:,}; crop the picture.")
    if width * height > (limit := _limit(image, mode)):
        image.close()
        raise ImageError(f"{width}x{height} pixels are more than the {limit:,} allowed; shrink the picture.")
    return image


def _size(status: os.stat_result) -> int | None:
    """The bytes of a regular file; None for a pipe, which can be read only once."""
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("this is a folder, not a picture.")
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    if stat.S_ISFIFO(status.st_mode):
        return None
    raise ImageError("this is a device, not a picture.")


def _length(stream: IO[bytes]) -> int:
    length = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return length


def _read_pipe(path: str) -> bytes:
    """Read everything from a named pipe, whose writer may start later, with a timeout (Linux, macOS)."""
    import select

    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poller, content = select.poll(), bytearray()
        poller.register(handle, select.POLLIN)
        while len(content) <= _MAX_WHOLE_FILE:
            if not poller.poll(1000 * _PATIENCE):
                raise ImageError(f"this pipe delivered nothing for {_PATIENCE} seconds.")
            with suppress(BlockingIOError):
                if not (chunk := os.read(handle, 2**20)):
                    return bytes(content)
                content += chunk
    finally:
        os.close(handle)
    raise ImageError(_TOO_MUCH)


def _open_pipe(stream: IO[bytes]) -> Image.Image:
    content = stream.read(_MAX_WHOLE_FILE + 1)
    if len(content) > _MAX_WHOLE_FILE:
        raise ImageError(_TOO_MUCH)
    return _open(io.BytesIO(content), len(content))


def _open(picture: str | IO[bytes], size: int) -> Image.Image:
    if size > MAX_FILE:
        raise ImageError(f"the file has {size:,} bytes; a picture may have at most {MAX_FILE:,}.")
    # Not with Image.open, which refuses more than 179 million pixels. A SyntaxError means that this is not a JPEG.
    with suppress(SyntaxError):
        return JpegImagePlugin.jpeg_factory(picture)  # type: ignore[arg-type]  # it takes a path, as ImageFile does
    from PIL import PngImagePlugin  # noqa: F401  # it registers itself; most pictures are JPEGs and do not need it

    try:
        try:
            return Image.open(picture, formats=COMMON_FORMATS)
        except UnidentifiedImageError:
            Image.init()
            whole = ("WEBP", "AVIF") if size > _MAX_WHOLE_FILE else ()
            return Image.open(picture, formats=[each for each in OTHER_FORMATS if each in Image.OPEN.keys() - whole])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"its header claims more than the {MAX_PIXELS:,} pixels allowed; shrink the picture."
        ) from error


def _limit(image: Image.Image, mode: Mode) -> int:
    """How many pixels a picture of this kind may have, judged by its header alone."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        decoder = image.tile[0].codec_name if isinstance(image, ImageFile.ImageFile) and image.tile else ""
        return min(_MAX_DECODED.get(image.format or "", MAX_PIXELS), _MAX_DECODED.get(decoder, MAX_PIXELS))
    held = 1 if image.mode == "L" else 4
    converted = 0 if image.mode == mode else 1 if mode == "L" else 4
    coefficients = 0.0
    if _has_scans(image):
        scans = _count_scans(image)
        if image.width * image.height * scans > _MAX_SCANNED:
            raise ImageError(
                f"{scans:,} scans of {image.width}x{image.height} pixels take too long to decode; "
                "save the picture again, not progressively."
            )
        most = max(h for _, h, _, _ in image.layer) * max(v for _, _, v, _ in image.layer)
        coefficients = sum(2 * h * v / most for _, h, v, _ in image.layer)  # bytes per pixel: 16 bits for each
    return min(MAX_JPEG_PIXELS, int(MAX_MEMORY / (held + max(converted, coefficients))))


def _has_scans(image: JpegImagePlugin.JpegImageFile) -> bool:
    """Whether a JPEG's components come in several scans, so that its decoder holds the whole picture's coefficients."""
    if "progressive" in image.info or image.fp is None:
        return True
    place, components = image.fp.tell(), len(image.layer)
    length = 6 + 2 * components  # of a first scan's header with all components; the file's position is after it
    if place < length:  # for a file with several pictures, Pillow has gone back to the start
        return True
    image.fp.seek(place - length)
    header = image.fp.read(3)
    image.fp.seek(place)
    return header != bytes([0, length, components])


def _count_scans(image: JpegImagePlugin.JpegImageFile) -> int:
    """Count a JPEG's scans; for each, however short, its decoder goes through the whole picture."""
    if image.fp is None:
        return 0
    place = image.fp.tell()
    image.fp.seek(0)
    scans, last = 0, b""
    while chunk := image.fp.read(2**20):
        scans += (last + chunk).count(b"\xff\xda")
        last = chunk[-1:]
    image.fp.seek(place)
    return scans


def colour(image: Image.Image, mode: Mode) -> Image.Image:
    """Convert to 8-bit RGB or greyscale; transparent pixels become white, and 16-bit pixels keep their upper 8 bits."""
    if image.mode.startswith("I;16"):
        return _by_strips(image, mode, _upper_bits)
    if image.mode in ("I", "F"):
        raise ImageError("32-bit pixels have no defined white; convert the picture to 8 or 16 bits.")
    if image.has_transparency_data:
        return _by_strips(image, mode, _on_white)
    return image if image.mode == mode else image.convert(mode)


def _by_strips(image: Image.Image, mode: Mode, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert one strip at a time, because each step of a conversion copies what it converts."""
    rows = max(1, _STRIP // image.width)
    if rows >= image.height:
        return convert(image).convert(mode)
    converted = Image.new(mode, image.size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(image.height, top + rows)))
        converted.paste(convert(strip).convert(mode), (0, top))
    return converted


def _upper_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _read_array(array: NDArray[np.uint8], spec: InputSpec, channels: Channels) -> NDArray[np.uint8]:
    check_channels(channels)
    is_ready = array.dtype == np.uint8 and array.shape == spec.shape
    image = array if is_ready else resize(_from_array(array, spec), spec)
    return ordered(image, channels, spec)


def _from_array(array: NDArray[np.uint8], spec: InputSpec) -> Image.Image:
    channels = spec.shape[2]
    if array.ndim == 2 and channels == 1:
        array = array[:, :, None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != channels or 0 in array.shape:
        raise ImageError(
            f"An array must be uint8 of shape (height, width, {channels}), {spec.mode}; "
            f"this one is {array.dtype} {array.shape}{_advice(array, channels)}."
        )
    return Image.fromarray(array if channels == 3 else array[:, :, 0])


def _advice(array: NDArray[np.generic], channels: int) -> str:
    """How to correct a common mistake, judged by the array's dtype and shape."""
    shape = array.shape
    if 0 in shape:
        return ", without any pixels"
    if array.ndim == 4:
        return "; pass one frame, frames[0], or pass all of them to predict_batch or stream"
    if array.ndim == 3 and channels == 3 and shape[2] == 4:
        return "; drop the fourth channel: frame[:, :, :3]"
    if array.ndim == 3 and shape[2] != channels and shape[0] == channels:
        return "; put the channels last: frame.transpose(1, 2, 0)"
    if channels == 3 and (array.ndim == 2 or (array.ndim == 3 and shape[2] == 1)):
        return "; repeat its one channel: np.dstack([frame] * 3)"
    if channels == 1 and array.ndim == 3 and shape[2] == 3:
        return "; convert it to greyscale first, for example with cv2.cvtColor"
    if np.issubdtype(array.dtype, np.floating):
        return "; scale it to 0..255 and round it; from 0..1: (255 * frame).round().astype('uint8')"
    return "; scale its values to 0..255 and convert them: frame.astype('uint8')" if array.dtype != np.uint8 else ""


def _name(picture: str | os.PathLike[str] | IO[bytes]) -> str:
    if isinstance(picture, str | os.PathLike):
        return os.fspath(picture)
    return str(getattr(picture, "name", "the picture"))


def _reason(error: OSError) -> str:
    from signs_runtime.pictures.find import leads_nowhere  # needed only for errors

    if error.filename is not None and leads_nowhere(path := Path(os.fsdecode(error.filename))):
        return (
            f"a link to {path.readlink()}, which does not exist here; fetch that file first (dvc pull, git annex get, "
            "git lfs pull)."
        )
    if error.errno is not None:
        return f"cannot be read ({error.strerror})."
    if isinstance(error, UnidentifiedImageError):
        return f"not a picture, or not in a supported format ({', '.join(COMMON_FORMATS + OTHER_FORMATS)})."
    return f"the picture is damaged ({error})."
