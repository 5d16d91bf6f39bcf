"""What a model wants to see: the part of a picture's way that the manifest and the commands' options speak of."""

from dataclasses import dataclass
from typing import Literal, get_args

Colour = Literal["RGB", "L"]
ResizeFilter = Literal["nearest", "bilinear", "bicubic", "lanczos"]

MAX_SIDE = 8192  # pixels; a larger model input is a typing error or an attack
RESIZE_FILTERS: tuple[ResizeFilter, ...] = get_args(ResizeFilter)


@dataclass(frozen=True)
class InputSpec:
    """What the model wants to see: pixels of `height` x `width` in `colour`, stretched there by the `resize` filter."""

    height: int
    width: int
    colour: Colour = "RGB"
    resize: ResizeFilter = "bilinear"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, 3 if self.colour == "RGB" else 1
