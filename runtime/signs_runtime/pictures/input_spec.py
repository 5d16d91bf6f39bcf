"""What a model wants to see: the part of a picture's way that the manifest and the commands' options speak of."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Colour = Literal["RGB", "BGR", "L"]
Channels = Literal["RGB", "BGR"]  # the order of colours
Mode = Literal["RGB", "L"]  # Pillow's name for pixels of three colours, and of one
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
    """How a model's training read its pictures, but for their size and whether they have colours."""

    resize: ResizeFilter = "bilinear"
    fit: Fit = "stretch"
    channels: Channels = "RGB"
    exif: Exif = "turned"


@dataclass(frozen=True)
class InputSpec:
    """What the model wants to see: pixels of `height` x `width` in `colour`, brought there by `fit` and `resize`.

    `fit` stretches a picture, crops it to the model's proportions (about its centre), or pads it with black.
    `resize` is one of Pillow's filters, which average when they shrink (`keras.utils.load_img`'s are those), or a
    "tf-" one of `tf.image.resize` without antialiasing, or a "cv2-" one of OpenCV's. `exif` turns a picture as its
    camera was held, or does not.
    """

    height: int
    width: int
    colour: Colour = "RGB"
    resize: ResizeFilter = "bilinear"
    fit: Fit = field(default="stretch", metadata={"schema": 5})  # of the bundle, that it came with
    exif: Exif = field(default="turned", metadata={"schema": 5})

    @classmethod
    def read_as(cls, reading: Reading, height: int, width: int, mode: Mode = "RGB") -> "InputSpec":
        """Pictures of this size, read as training did."""
        colour: Colour = "L" if mode == "L" else reading.channels
        return cls(height, width, colour, reading.resize, reading.fit, reading.exif)

    @property
    def reading(self) -> Reading:
        """How its pictures are read, but for their size and whether they have colours."""
        return Reading(self.resize, self.fit, "BGR" if self.colour == "BGR" else "RGB", self.exif)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, 1 if self.colour == "L" else 3

    @property
    def mode(self) -> Mode:
        """Of the pixels while Pillow has them."""
        return "L" if self.colour == "L" else "RGB"

    def in_rgb(self, image: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """An image (h, w, c) that the model takes, with red first, for people to look at."""
        return image[..., ::-1] if self.colour == "BGR" else image

    def describe(self) -> str:
        """What becomes of a picture, for people: `64x64 RGB, stretch, bilinear`."""
        ignored = ", EXIF ignored" if self.exif == "ignored" else ""
        return f"{self.height}x{self.width} {self.colour}, {self.fit}, {self.resize}{ignored}"
