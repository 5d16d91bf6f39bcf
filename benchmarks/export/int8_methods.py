"""Compares ways to int8 by how well they keep a Keras model's answers, on a data set and on the shift suite.

The first rows are onnxruntime's quantizer with its own settings. The others are this project's, step by step up to the
default. Each picture gets one shift of the suite, in turn. On a CPU with VNNI, no row shows saturation;
`int8_without_vnni.py` measures that.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.commands.shared import start_keras
from signs_export.config import SCALINGS, ExportConfig, Int8Config

PLAIN = Int8Config(equalization=0, summed_ranges=False, learned_rounding=False, bias_correction=False)
STEPS = {
    "ours: safe scales, float tail": PLAIN,
    " + bias correction": replace(PLAIN, bias_correction=True),
    " + equalization": replace(PLAIN, bias_correction=True, equalization=Int8Config.equalization),
    " + learned rounding": replace(Int8Config(), summed_ranges=False),
    " + ranges of rectified sums (default)": Int8Config(),
    "default without equalization": Int8Config(equalization=0),
    "default in full range (unsafe)": Int8Config(exact_everywhere=False),
}


def by_onnxruntime(model: onnx.ModelProto, images: NDArray[np.uint8]) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Quantize the folded graph by `quantize_static`, with the usual settings."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static

    class Pixels(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.batches = iter([{"image": images[i : i + 20]} for i in range(0, len(images), 20)])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self.batches, None)

    u8s8: dict[str, Any] = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
    methods: dict[str, dict[str, Any]] = {
        "S8S8 per-channel (its default)": {"per_channel": True},
        "U8S8 per-channel": u8s8,
        "U8S8 per-channel, reduce_range": {**u8s8, "reduce_range": True},
        "U8S8 reduce_range, percentile 99.99": {
            **u8s8,
            "reduce_range": True,
            "calibrate_method": CalibrationMethod.Percentile,
            "extra_options": {"CalibPercentile": 99.99},
        },
        "U8S8 per-tensor": {**u8s8, "per_channel": False},
        "U8U8 per-channel": {**u8s8, "weight_type": QuantType.QUInt8},
    }
    for name, options in methods.items():
        with tempfile.TemporaryDirectory() as folder:
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            quantize_static(copy, Path(folder, "int8.onnx"), Pixels(), **options)
            yield name, onnx.load(Path(folder, "int8.onnx"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", nargs="?", default="synthetic")
    parser.add_argument("--scaling", choices=SCALINGS)
    arguments = parser.parse_args()
    start_keras()
    import logging

    from signs_builder.data.sources import load_dataset
    from signs_builder.evaluation.shift_suite import SHIFTS
    from signs_builder.network.model_file import load_model
    from signs_export.convert.convert import convert
    from signs_export.int8.calibration import choose_calibration
    from signs_export.int8.prepare import prepare
    from signs_export.int8.quantize import quantize
    from signs_export.onnx_graph import answers
    from signs_export.source.reference import examine

    logging.disable(logging.WARNING)
    dataset = load_dataset(arguments.data)
    reference = examine(load_model(arguments.model), scaling=arguments.scaling)
    model = convert(reference, dataset.labels, ExportConfig())
    calibration = choose_calibration(dataset, reference.input, Int8Config.calibration_pictures)
    pictures = dataset.test + dataset.all_but_test
    plain, shifts = pictures.images(reference.input), list(SHIFTS.values())
    shifted = np.stack([shifts[i % len(shifts)](image, np.random.default_rng([7, i])) for i, image in enumerate(plain)])
    keras_plain, keras_shifted = reference.probabilities(plain), reference.probabilities(shifted)

    def candidates() -> Iterator[tuple[str, onnx.ModelProto]]:
        yield "fp32", model
        yield from by_onnxruntime(model, calibration.images[::2])
        for name, config in STEPS.items():
            yield name, quantize(prepare(model, calibration, config))

    tests = len(dataset.test)
    print(f"{len(plain):,} pictures, {tests} of them test pictures; labels that agree with Keras, mean |difference|")
    print(f"{'':36} agreement    mean     max  accuracy | shifted: agreement    mean |    MB", flush=True)
    for name, candidate in candidates():
        megabytes = candidate.ByteSize() / 1e6
        on_plain, on_shifted = answers(candidate, plain), answers(candidate, shifted)
        same = on_plain.argmax(axis=1) == keras_plain.argmax(axis=1)
        same_shifted = on_shifted.argmax(axis=1) == keras_shifted.argmax(axis=1)
        apart = np.abs(on_plain - keras_plain)
        accuracy = (on_plain[:tests].argmax(axis=1) == dataset.test.labels).mean()
        print(
            f"{name:36} {same.mean():9.2%} {apart.mean():7.1e} {apart.max():7.1e} {accuracy:9.2%} | "
            f"{same_shifted.mean():18.2%} {np.abs(on_shifted - keras_shifted).mean():7.1e} | {megabytes:5.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
