"""Measures the gain of each change to a graph's arithmetic alone: pixels left out, and convolutions as products.

    python -m benchmarks.export.graph_changes my.keras PICTURES [--scaling unit]

`all pixels` is the graph without any change, `read pixels` leaves out what nothing reads, and `products up to n` then
computes int8's convolutions of at most n pixels as matrix products, whose answers must be equal bit for bit. In
brackets is the gain of the last change alone. Each candidate runs in its own process, in interleaved rounds; times are
medians.
"""

import argparse
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import onnx

from signs_builder.data.dataset import Dataset
from signs_builder.data.sources import load_dataset
from signs_builder.network.model_file import load_model
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.int8 import products
from signs_export.int8.calibration import choose_calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import quantize
from signs_export.onnx_graph import answers
from signs_export.source.reference import Reference, examine
from signs_runtime.commands.shared import print_table
from signs_runtime.placement.timing import Candidate, time_side_by_side

PIXELS = (4, 16, 64)
CELLS = ((1, 1), (2, 1), (1, 16), (2, 16))  # threads, batch
CALIBRATION = 20  # number of pictures; the speed does not depend on it
QUICK = Int8Config(learned_rounding=False, summed_ranges=False)
ALL, READ = "all pixels", "read pixels"


def graphs(reference: Reference, dataset: Dataset) -> dict[str, dict[str, onnx.ModelProto]]:
    """The graphs of each precision by the changes to them; the first is the unchanged one."""
    calibration = choose_calibration(dataset, reference.input, CALIBRATION)
    with mock.patch("signs_export.convert.convert.leave_out_unread_pixels"):
        unchanged = convert(reference, dataset.labels, ExportConfig())
    fp32 = {ALL: unchanged, READ: convert(reference, dataset.labels, ExportConfig())}
    int8 = {name: quantize(prepare(model, calibration, QUICK)) for name, model in fp32.items()}
    for pixels in PIXELS:
        products.MOST_PIXELS = pixels
        int8[f"products up to {pixels}"] = products.as_products(int8[READ]) or int8[READ]
    return {"fp32": fp32, "int8": int8}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data")
    parser.add_argument("--scaling", default="none")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data, model_given=True)
    reference = examine(load_model(arguments.model), scaling=arguments.scaling)
    images = dataset.test.images(reference.input)
    for precision, changed in graphs(reference, dataset).items():
        given = {name: answers(model, images) for name, model in changed.items()}
        assert all(name == ALL or np.array_equal(own, given[READ]) for name, own in given.items())
        same = int((given[ALL].argmax(axis=1) == given[READ].argmax(axis=1)).sum())
        print(f"{precision}: without unread pixels, {same} of {len(images)} labels are the same.")
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder, f"{i}.onnx") for i, name in enumerate(changed)}
            for name, model in changed.items():
                files[name].write_bytes(model.SerializeToString())
            rows = []
            for threads, batch in CELLS:
                candidates = {name: Candidate(str(file), threads=threads) for name, file in files.items()}
                taken = time_side_by_side(candidates, batch=batch, rounds=arguments.rounds)
                milliseconds = {name: each.milliseconds for name, each in taken.items()}
                before = {name: milliseconds[ALL if name in (ALL, READ) else READ] for name in milliseconds}
                timed = [f"{own:.2f} ({before[name] / own:.2f})" for name, own in milliseconds.items()]
                rows.append((f"{threads} x {batch}", *timed))
        print_table(rows, header=(f"{precision}: threads x batch, ms a picture", *changed))


if __name__ == "__main__":
    main()
