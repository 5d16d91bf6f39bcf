"""A model's input and the reading of its pictures, as the manifest and the commands' options specify them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Colour = Literal["RGB", "BGR", "L"]
Channels = Literal["RGB", "BGR"]  # the order of colours
Mode = Literal["RGB", "L"]  # Pillow's names for pixels with three colours and with one
PillowFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
SampledFilter = Literal["tf-nearest", "tf-bilinear", "cv2-nearest", "cv2-linear", "cv2-area"]
ResizeFilter = Literal[PillowFilter, SampledFilter]
Fit = Literal["stretch", "crop", "pad"]
Exif = Literal["turned", "ignored"]

MAX_SIDE = 8192  # pixels; a larger model input is a typing error or an attack
CHANNELS: tuple[Channels, ...] = get_args(Channels)
PILLOW_FILTERS: tuple[PillowFilter, ...] = get_args(PillowFilter)
RESIZE_FILTERS: tuple[ResizeFilter, ...] = (*PILLOW_FILTERS, *get_args(SampledFilter))
FITS: tuple[Fit, ...] = get_args(Fit)
EXIFS: tuple[Exif, ...] = get_args(Exif)


@dataclass(frozen=True)
class Reading:
    """How a model's training read its pictures, except for their size and whether they have colours."""

    resize: ResizeFilter = "bilinear"
    fit: Fit = "stretch"
    channels: Channels = "RGB"
    exif: Exif = "turned"


@dataclass(frozen=True)
class InputSpec:
    """The image that the model takes: `height` x `width` pixels in `colour`, made by `fit` and `resize`.

    `fit` stretches a picture, crops it around its centre to the model's proportions, or pads it with black. `resize` is
    one of Pillow's filters, which average when they shrink (`keras.utils.load_img` uses these), a "tf-" filter of
    `tf.image.resize` without antialiasing, or a "cv2-" filter of OpenCV. `exif` says whether a picture is turned by its
    EXIF orientation.
    """

    height: int
    width: int
    colour: Colour = "RGB"
    resize: ResizeFilter = "bilinear"
    fit: Fit = field(default="stretch", metadata={"schema": 5})  # the first schema of the bundle with this field
    exif: Exif = field(default="turned", metadata={"schema": 5})

    @classmethod
    def read_as(cls, reading: Reading, height: int, width: int, mode: Mode = "RGB") -> "InputSpec":
        """The input of this size, for pictures that are read as in training."""
        colour: Colour = "L" if mode == "L" else reading.channels
        return cls(height, width, colour, reading.resize, reading.fit, reading.exif)

    @property
    def reading(self) -> Reading:
        """How its pictures are read, except for their size and whether they have colours."""
        return Reading(self.resize, self.fit, "BGR" if self.colour == "BGR" else "RGB", self.exif)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, 1 if self.colour == "L" else 3

    @property
    def mode(self) -> Mode:
        """Pillow's mode for the pixels."""
        return "L" if self.colour == "L" else "RGB"

    def in_rgb(self, image: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """Put red first in an image (h, w, c) that the model takes, for people to look at."""
        return image[..., ::-1] if self.colour == "BGR" else image

    def describe(self) -> str:
        """The reading in words for people, such as `64x64 RGB, stretch, bilinear`."""
        ignored = ", EXIF ignored" if self.exif == "ignored" else ""
        return f"{self.height}x{self.width} {self.colour}, {self.fit}, {self.resize}{ignored}"
