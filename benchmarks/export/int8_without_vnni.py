"""Runs int8 on an emulated x86 CPU without VNNI (qemu's Haswell), where sums of two products saturate in 16 bits.

1. A naive U8S8 model of the bundle's float32 graph, layer by layer: compares the layers with inexact outputs on the
   emulated CPU to those that `predict_saturation` names.
2. The bundle's own int8 model on all pictures, on this CPU: compares each convolution to numpy's exact arithmetic.
3. The bundle's own int8 model on some pictures: compares its answers on the emulated CPU to those by onnxruntime's
   exact option and to those on this CPU; all must be equal bit for bit.

Needs `qemu-x86_64` (Debian and Ubuntu: `apt install qemu-user`). A picture takes about half a second.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.commands.progress_bar import progress_bar
from signs_builder.data.sources import load_dataset
from signs_export.config import Int8Config
from signs_export.int8.calibration import Calibration, choose_calibration
from signs_export.int8.convolution_windows import all_rows
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import quantize
from signs_export.int8.saturation import predict_saturation
from signs_export.onnx_graph import answers, attribute, inner_values, start, weights_of
from signs_runtime.bundle.folder import open_bundle

CPU = "Haswell"  # AVX2, no VNNI
NAIVE = Int8Config(
    equalization=0, summed_ranges=False, learned_rounding=False, bias_correction=False, exact_everywhere=False
)
LAYER_PICTURES = 20
STEP = 20  # pictures for each emulated process; few, so that the bar moves

WORKER = """
import sys
from pathlib import Path
import numpy as np, onnxruntime
folder, exact = Path(sys.argv[1]), sys.argv[2]
options = onnxruntime.SessionOptions()
options.log_severity_level, options.intra_op_num_threads = 4, 1
options.add_session_config_entry("session.x64quantprecision", exact)
for model in sorted(folder.glob("*.onnx")):
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    given = np.load(model.with_suffix(".npy"))
    batches = [session.run(None, {session.get_inputs()[0].name: one[None]})[0] for one in given]
    np.save(folder / f"{model.stem}.{exact}.out.npy", np.concatenate(batches))
"""


def emulate(
    models: dict[str, onnx.ModelProto], given: dict[str, NDArray[np.uint8]], *, exact: bool
) -> dict[str, NDArray[Any]]:  # Any: integers or floats
    """Run each model on the emulated CPU, picture by picture, and return its first output."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, key in enumerate(models):
            onnx.save(models[key], folder / f"{i:03}.onnx")
            np.save(folder / f"{i:03}.npy", given[key])
        command = ["qemu-x86_64", "-cpu", CPU, os.path.realpath(sys.executable), "-c", WORKER, name, str(int(exact))]
        environment = {**os.environ, "PYTHONPATH": sysconfig.get_paths()["platlib"]}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if result.returncode:
            sys.exit(f"The emulator failed:\n{result.stderr[-2000:]}")
        return {key: np.load(folder / f"{i:03}.{int(exact)}.out.npy") for i, key in enumerate(models)}


def single_layers(model: onnx.ModelProto) -> tuple[dict[str, onnx.ModelProto], dict[str, str]]:
    """Each quantized convolution of a QDQ model as its own model, with the name of the tensor that it reads."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    weights = weights_of(model)
    layers, sources = {}, {}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        entries = [made_by[name] for name in node.input]
        leaving = next(
            other
            for other in model.graph.node
            if other.op_type == "QuantizeLinear" and other.input[0] == node.output[0]
        )
        nodes = [*entries, node, leaving]
        held = {name for each in nodes for name in each.input if name in weights}
        source = entries[0].input[0]
        graph = onnx.helper.make_graph(
            nodes,
            node.name,
            [onnx.helper.make_tensor_value_info(source, onnx.TensorProto.UINT8, [None] * 4)],
            [onnx.helper.make_tensor_value_info(leaving.output[0], onnx.TensorProto.UINT8, [None] * 4)],
            [weights[name] for name in sorted(held)],
        )
        layers[node.name] = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        sources[node.name] = source
    return layers, sources


def compare_layers(float32: onnx.ModelProto, calibration: Calibration) -> bool:
    """Print the naive model's layers that saturate, and those predicted to; True if none was missed."""
    naive = quantize(prepare(float32, calibration, NAIVE))
    images = calibration.images[:LAYER_PICTURES]
    layers, sources = single_layers(naive)
    values = list(inner_values(naive, sorted(set(sources.values())), images))
    given = {layer: np.concatenate([batch[source] for batch in values]) for layer, source in sources.items()}
    there, exact = emulate(layers, given, exact=False), emulate(layers, given, exact=True)
    wrong = {layer for layer in layers if not np.array_equal(there[layer], exact[layer])}
    predicted = predict_saturation(naive, images)
    at_risk = {layer.layer for layer in predicted if layer.at_risk}
    measured = {layer.layer for layer in predicted if layer.saturates}
    print(f"naive U8S8, {len(layers)} layers, {len(images)} pictures: {len(wrong)} are wrong on {CPU}")
    print(f"  predicted: {len(at_risk)} at risk, {len(measured)} of them saturate on these pictures")
    print(f"  wrong there, but not predicted: {', '.join(sorted(wrong - at_risk)) or 'none'}")
    print(f"  wrong there, but no saturation measured: {', '.join(sorted(wrong - measured)) or 'none'}")
    print(f"  saturation measured, but right there: {', '.join(sorted(measured - wrong)) or 'none'}")
    return wrong <= at_risk


def compare_integers(int8: onnx.ModelProto, images: NDArray[np.uint8]) -> bool:
    """Print how many numbers in the convolutions' outputs on this CPU are inexact, on the same inputs."""
    made_by = {name: node for node in int8.graph.node for name in node.output}
    leaving = {node.input[0]: node for node in int8.graph.node if node.op_type == "QuantizeLinear"}
    arrays = {name: onnx.numpy_helper.to_array(tensor) for name, tensor in weights_of(int8).items()}
    layers = [node for node in int8.graph.node if node.op_type == "Conv" and node.input[1] in made_by]
    plain = [node for node in layers if attribute(node, "group", 1) == 1]
    names = {made_by[node.input[0]].input[0] for node in plain} | {leaving[node.output[0]].output[0] for node in plain}
    opened = onnx.ModelProto()
    opened.CopyFrom(int8)
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names))
    session = start(opened)
    wrong = total = 0
    with progress_bar("Comparing with numpy", len(images)) as on_done:
        for first in range(0, len(images), STEP):
            batch = images[first : first + STEP]
            values = dict(zip(sorted(names), session.run(sorted(names), {"image": batch}), strict=True))
            for node in plain:
                entry, kernel, offset = (made_by[name] for name in node.input)
                quantized = leaving[node.output[0]]
                filters = np.moveaxis(arrays[kernel.input[0]], 1, -1).reshape(len(arrays[kernel.input[0]]), -1)
                given = values[entry.input[0]].astype(np.float64) - arrays[entry.input[2]]
                sums = all_rows(given, node) @ filters.T.astype(np.float64) + arrays[offset.input[0]]
                factor = arrays[entry.input[1]] * arrays[kernel.input[1]] / arrays[quantized.input[1]]
                levels = np.rint(sums.astype(np.float32) * factor) + arrays[quantized.input[2]]
                found = np.moveaxis(values[quantized.output[0]], 1, -1).reshape(levels.shape)
                wrong += int((found != np.clip(levels, 0, 255)).sum())
                total += found.size
            on_done(len(batch))
    print(f"shipped int8 here, {len(images):,} pictures, {len(plain)} layers, compared to numpy's exact arithmetic:")
    print(f"  {wrong:,} of {total:,} numbers differ")
    return wrong == 0


def compare_answers(int8: onnx.ModelProto, images: NDArray[np.uint8]) -> bool:
    """Print how far the shipped model's answers on the emulated CPU are from the exact ones and from this CPU's."""
    here = answers(int8, images)
    furthest = {"exact there": 0.0, "here": 0.0}
    with progress_bar(f"Emulating {CPU}", len(images)) as on_done:
        for start in range(0, len(images), STEP):
            part = {"int8": images[start : start + STEP]}
            there = emulate({"int8": int8}, part, exact=False)["int8"]
            exact = emulate({"int8": int8}, part, exact=True)["int8"]
            for name, other in (("exact there", exact), ("here", here[start : start + STEP])):
                furthest[name] = max(furthest[name], float(np.abs(there - other).max()))
            on_done(len(there))
    print(f"shipped int8 on {CPU}, {len(images):,} pictures: max |probability difference|")
    for name, difference in furthest.items():
        print(f"  to the answers {name}: {difference}")
    return furthest["exact there"] == 0 and furthest["here"] < 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", nargs="?", default="synthetic")
    parser.add_argument("--pictures", type=int, default=200, help="Number of pictures for the emulated shipped model.")
    arguments = parser.parse_args()
    if shutil.which("qemu-x86_64") is None:
        sys.exit("qemu-x86_64 was not found; install qemu-user.")
    dataset = load_dataset(arguments.data)
    manifest = open_bundle(arguments.bundle).manifest
    calibration = choose_calibration(dataset, manifest.input, Int8Config.calibration_pictures)
    none_missed = compare_layers(onnx.load(arguments.bundle / "fp32.onnx"), calibration)
    images = (dataset.test + dataset.all_but_test).images(manifest.input)
    int8 = onnx.load(arguments.bundle / "int8.onnx")
    exact = compare_integers(int8, images)
    same = compare_answers(int8, images[: arguments.pictures])
    sys.exit(0 if none_missed and exact and same else 1)


if __name__ == "__main__":
    main()
