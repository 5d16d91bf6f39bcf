"""JavaScript's way of resizing pictures gives the very pixels of the runtime's, for every filter and fit."""

import base64
import itertools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from signs_export.deploy.folder import copy_templates
from signs_runtime.pictures.input_spec import FITS, RESIZE_FILTERS, InputSpec
from signs_runtime.pictures.read import fit

SIZES = ((37, 23), (16, 16), (64, 48), (9, 70), (200, 2), (12, 5))  # of pictures
SPECS = ((16, 16), (20, 12), (7, 31))  # height and width of models

SCRIPT = """
import { resized } from "./fitting.js";
let text = "";
for await (const part of process.stdin) text += part;
const answers = JSON.parse(text).map(({ image, input }) => {
  const data = new Uint8Array(Buffer.from(image.data, "base64"));
  return Buffer.from(resized({ ...image, data }, input).data).toString("base64");
});
console.log(JSON.stringify(answers));
"""


@pytest.mark.parametrize("colour", ["RGB", "L"])
def test_every_filter_and_fit_is_the_runtimes_bit_for_bit(tmp_path: Path, colour: Any) -> None:
    node = shutil.which("node")
    if node is None or int(PIL.__version__.split(".")[0]) < 13:  # older ones always resize across first
        pytest.skip("needs Node.js, and Pillow 13")
    copy_templates("javascript", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "ask.mjs").write_text(SCRIPT)
    rng = np.random.default_rng(0)
    asked, expected, names = [], [], []
    for (width, height), (tall, wide), filter_, how in itertools.product(SIZES, SPECS, RESIZE_FILTERS, FITS):
        shape = (height, width, 3) if colour == "RGB" else (height, width)
        pixels = rng.integers(0, 256, shape).astype(np.uint8)
        spec = InputSpec(tall, wide, colour, filter_, how)
        image = {
            "width": width,
            "height": height,
            "channels": spec.shape[2],
            "data": base64.b64encode(pixels.tobytes()).decode(),
        }
        told = {"height": tall, "width": wide, "colour": colour, "resize": filter_, "fit": how}
        asked.append({"image": image, "input": told})
        expected.append(fit(Image.fromarray(pixels), spec).tobytes())
        names.append((width, height, spec.describe()))
    result = subprocess.run(
        [node, tmp_path / "ask.mjs"], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    given = [base64.b64decode(each) for each in json.loads(result.stdout)]
    assert [name for name, one, other in zip(names, given, expected, strict=True) if one != other] == []
