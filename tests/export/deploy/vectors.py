"""Makes docs/vectors.json: small picture files, and the pixels that each way of reading them must give.

    python -m tests.export.deploy.vectors

The runtime's reading is the contract: `test_program.py` holds it, and each other language's, to the stored file.
"""

import base64
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from signs_runtime.pictures.input_spec import FITS, RESIZE_FILTERS, InputSpec
from signs_runtime.pictures.read import read_image

VECTORS = Path(__file__).parents[3] / "docs/vectors.json"
COMPRESSED = 3  # of 255: decoders of JPEG differ
ORIENTATION = 0x0112


def pictures() -> dict[str, bytes]:
    """Picture files by name."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 37, 4)).astype(np.uint8)
    made = {
        "wide.png": _file(Image.fromarray(noise[:13, :, :3])),
        "tall.png": _file(Image.fromarray(noise[:, :9, :3])),
        "size.png": _file(Image.fromarray(noise[:12, :10, :3])),
        "alpha.png": _file(Image.fromarray(noise[:16, :20])),
        "grey.png": _file(Image.fromarray(noise[:16, :20, 0])),
        "grey16.png": _file(Image.fromarray(rng.integers(0, 2**16, (16, 20)).astype(np.uint16))),
        "palette.png": _file(Image.fromarray(noise[:16, :20, :3]).quantize(16)),
        "clear.png": _file(Image.fromarray(noise[:16, :20, :3]).quantize(16), transparency=3),
        "frame.gif": _file(Image.fromarray(noise[:16, :20, :3]).quantize(16), "GIF"),
        "inks.jpg": _file(
            Image.fromarray(np.repeat(np.repeat(noise[:2, :3], 16, 0), 16, 1), "CMYK"), "JPEG", quality=95
        ),
    }
    quarters = np.kron([[0, 1], [2, 3]], np.ones((16, 24), int))
    colours = np.array([[230, 40, 40], [40, 200, 60], [40, 60, 220], [220, 210, 50]], np.uint8)
    for orientation in range(1, 9):
        exif, picture = exif_of(orientation), Image.fromarray(colours[quarters])
        made[f"held{orientation}.jpg"] = _file(picture, "JPEG", quality=95, subsampling=0, exif=exif)
    made["held6.png"] = _file(Image.fromarray(noise[:13, :, :3]), exif=exif_of(6))
    made["soft.jpg"] = _file(Image.fromarray(colours[quarters]), "JPEG", quality=80)  # colours of half the size
    return made


def exif_of(orientation: int) -> Image.Exif:
    """How a camera was held."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def cases() -> Iterator[tuple[str, InputSpec]]:
    """Pictures, and ways of reading them."""
    for name, resize, fit in itertools.product(("wide.png", "tall.png"), RESIZE_FILTERS, FITS):
        yield name, InputSpec(12, 10, "RGB", resize, fit)
    for name in ("size.png", "alpha.png", "grey.png", "grey16.png", "palette.png"):
        yield name, InputSpec(12, 10)
        yield name, InputSpec(12, 10, "BGR", "bicubic", "crop")
        yield name, InputSpec(12, 10, "L", "box", "pad")
    for orientation in range(1, 9):
        yield f"held{orientation}.jpg", InputSpec(12, 10)
    for name in ("held6.jpg", "held6.png"):
        yield name, InputSpec(12, 10, exif="ignored")
    for name in ("held6.png", "clear.png", "frame.gif", "inks.jpg", "soft.jpg"):
        yield name, InputSpec(12, 10)


def vectors() -> dict[str, Any]:  # Any: JSON
    """All of it, as the runtime reads it."""
    files = pictures()
    return {
        "pictures": {name: base64.b64encode(content).decode() for name, content in files.items()},
        "cases": [
            {
                "picture": name,
                "input": spec_fields(spec),
                "most": COMPRESSED if name.endswith(".jpg") else 0,
                "pixels": base64.b64encode(read_image(io.BytesIO(files[name]), spec).tobytes()).decode(),
            }
            for name, spec in cases()
        ],
    }


def spec_fields(spec: InputSpec) -> dict[str, Any]:  # Any: JSON
    """As the manifest has them."""
    return {name: getattr(spec, name) for name in ("height", "width", "colour", "resize", "fit", "exif")}


def _file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:  # Any: Pillow's own options
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


if __name__ == "__main__":
    made = vectors()
    lines = [json.dumps(each) for each in made["cases"]]
    text = f'{{"pictures": {json.dumps(made["pictures"], indent=1)},\n"cases": [\n' + ",\n".join(lines) + "\n]}\n"
    VECTORS.write_text(text, encoding="utf-8")
