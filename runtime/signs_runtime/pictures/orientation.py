"""Reads how a camera was held from a picture's EXIF data, and turns the picture upright."""

from PIL import Image

UPRIGHT = 1
_SIDEWAYS = 5  # from here on, orientations exchange height and width
_TAG = 0x0112
_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow's getexif looks
_TURNS = {  # CIPA DC-008, table "Orientation"
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. 1 is upright, and also the result for missing, unknown or damaged EXIF data."""
    if image.info.keys().isdisjoint(_KEYS) and not hasattr(image, "tag_v2"):
        return UPRIGHT  # saves 20 us
    try:
        orientation = image.getexif().get(_TAG, UPRIGHT)
    except MemoryError:
        raise
    except Exception:  # damaged EXIF data raises all kinds of errors
        return UPRIGHT
    return orientation if orientation in _TURNS else UPRIGHT


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The picture, turned upright."""
    return image if orientation == UPRIGHT else image.transpose(_TURNS[orientation])


def is_sideways(orientation: int) -> bool:
    """Whether this orientation exchanges height and width."""
    return orientation >= _SIDEWAYS


def mirrors(orientation: int) -> tuple[bool, bool]:
    """Whether the turned picture's rows, and its columns, run against the lines of the file."""
    return orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)


def turned_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    """(width, height) of a picture after it is turned."""
    return (image.height, image.width) if is_sideways(orientation) else image.size
