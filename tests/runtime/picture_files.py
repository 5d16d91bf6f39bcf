"""Picture files that show each step of reading them: a turn, a resize filter, transparency, a JPEG decoder."""

import io

import numpy as np
from PIL import Image


def picture_files() -> tuple[bytes, ...]:
    """Noise as a turned JPEG, a wide PNG and a PNG with transparency, of other sizes than the tiny model's."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 36, 4), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    return (
        encoded(noise.convert("RGB"), "JPEG", exif=exif),
        encoded(noise.convert("RGB"), "PNG"),
        encoded(noise, "PNG"),
    )


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
