"""Measures the gain of computing an int8 graph's late convolutions as matrix products, for several size limits.

    python -m benchmarks.export.int8_products my.keras PICTURES [--scaling unit]

The answers must be equal bit for bit. Each candidate runs in its own process, in interleaved rounds; times are medians.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from signs_builder.data.sources import load_dataset
from signs_builder.network.model_file import load_model
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.int8 import products
from signs_export.int8.calibration import choose_calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import quantize
from signs_export.onnx_graph import answers
from signs_export.source.reference import examine
from signs_runtime.commands.shared import print_table
from signs_runtime.placement.timing import Candidate, time_side_by_side

PIXELS = (0, 4, 16, 64)
CELLS = ((1, 1), (2, 1), (1, 16), (2, 16))  # threads, batch
CALIBRATION = 20  # number of pictures; the speed does not depend on it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data")
    parser.add_argument("--scaling", default="none")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data, model_given=True)
    reference = examine(load_model(arguments.model), scaling=arguments.scaling)
    calibration = choose_calibration(dataset, reference.input, CALIBRATION)
    model = convert(reference, dataset.labels, ExportConfig())
    prepared = prepare(model, calibration, Int8Config(learned_rounding=False, summed_ranges=False))
    images = dataset.test.images(reference.input)
    with tempfile.TemporaryDirectory() as folder:
        files = {pixels: Path(folder, f"{pixels}.onnx") for pixels in PIXELS}
        given = {}
        convolved = quantize(prepared)
        for pixels, file in files.items():
            products.MOST_PIXELS = pixels
            quantized = products.as_products(convolved) or convolved
            file.write_bytes(quantized.SerializeToString())
            given[pixels] = answers(quantized, images)
            assert np.array_equal(given[pixels], given[0]), pixels
        rows = []
        for threads, batch in CELLS:
            candidates = {str(pixels): Candidate(str(file), threads=threads) for pixels, file in files.items()}
            taken = time_side_by_side(candidates, batch=batch, rounds=arguments.rounds)
            base = taken["0"].milliseconds
            timed = [f"{each.milliseconds:.2f} ({base / each.milliseconds:.2f})" for each in taken.values()]
            rows.append((f"{threads} x {batch}", *timed))
        header = ("threads x batch, ms a picture", *(f"up to {pixels} pixels" for pixels in PIXELS))
        print_table(rows, header=header)
        print(f"The same answers, bit for bit, on {len(images)} pictures.")


if __name__ == "__main__":
    main()
