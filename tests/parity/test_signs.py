"""The main job on real SIGNS: a trained model and real picture files, Keras on one side, the runtime on the other."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from signs_export.deploy.platforms import Language
from signs_export.deploy.program import deploy_program
from signs_export.deploy.web import WebConfig, deploy_web
from signs_export.onnx_graph import attribute
from signs_runtime import Classifier

from ..export.deploy.browser import browser, opened, served
from ..export.deploy.programs import build_cpp, build_node

SCRIPTS = Path(sys.executable).parent
LAYOUTS = {"int8.onnx": {"Conv": 53}, "int8-gemm.onnx": {"Conv": 25, "Gemm": 28}}
OF_ITS_FILE = ("name", "file", "speed", "peak_memory", "parity")  # what differs between int8's two layouts


def run(*command: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = (SCRIPTS / str(command[0]), *command[1:])
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)


def run_json(*command: object) -> Any:
    result = run(*command, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def exported(signs_data: Path, signs_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The course's model, bundled without training, in float32 and int8."""
    bundle = tmp_path_factory.mktemp("real") / "bundle"
    options = ("--model", signs_model, "--scaling", "unit", "--int8", "-o", bundle)
    return bundle, run_json("build-and-export", signs_data, *options)


def test_all_1200_pictures_get_keras_labels_from_their_files(exported: tuple[Path, Any]) -> None:
    variant, *_ = exported[1]["variants"]
    parity = variant["parity"]
    assert parity["passed"]
    assert parity["batch_sizes"] == [1, 2, 17]
    assert (parity["pictures"], parity["same_label"]) == (1200, 1200)
    assert parity["max_difference"] <= 1e-5
    assert variant["test_accuracy"] == exported[1]["keras_test_accuracy"] == {"correct": 119, "total": 120}


def test_int8_keeps_every_label_in_a_quarter_of_the_bytes(exported: tuple[Path, Any]) -> None:
    _, variant, products = exported[1]["variants"]
    assert {**products, **dict.fromkeys(OF_ITS_FILE)} == {**variant, **dict.fromkeys(OF_ITS_FILE)}
    assert products["parity"] == {**variant["parity"], "variant": "int8-gemm"}
    assert 1 < products["file"]["bytes"] / variant["file"]["bytes"] < 1.01
    parity = variant["parity"]
    assert (parity["pictures"], parity["same_label"]) == (1200, 1200)
    assert parity["mean_difference"] <= 5e-4  # measured 1.6e-4
    assert variant["file"]["bytes"] <= 24.3e6
    assert variant["in_float"] == []
    assert variant["test_accuracy"] == {"correct": 119, "total": 120}
    assert variant["test_pairs"] == {"total": 120, "only_keras": 0, "only_variant": 0}
    assert len(exported[1]["warnings"]) == 1
    assert "skipped 4 training pictures" in exported[1]["warnings"][0]


@pytest.mark.parametrize(("file", "kinds"), LAYOUTS.items())
def test_int8_computes_what_integers_compute_and_cannot_saturate(
    exported: tuple[Path, Any], signs_data: Path, file: str, kinds: dict[str, int]
) -> None:
    """Each of onnxruntime's 53 layers beside numpy's integers, on the same real activations."""
    model = onnx.load(exported[0] / file)
    files = sorted((signs_data / "test_signs").iterdir())[:4]
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    entering = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm") and entering.issuperset(node.input)]
    assert Counter(node.op_type for node in layers) == kinds
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}
    leaving = {node.input[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"}
    names = {made_by[node.input[0]].input[0] for node in layers} | {
        leaving[node.output[0]].output[0] for node in layers
    }
    values = run_integers(model, sorted(names), images)
    for node in layers:
        entry, kernel, offset = (made_by[name] for name in node.input)
        quantized = leaving[node.output[0]]
        assert weights[entry.input[2]] == 0  # zero point: padding is 0
        given, filters = values[entry.input[0]].astype(np.int64), weights[kernel.input[0]].astype(np.int64)
        if node.op_type == "Gemm":
            windows, filters = given, filters.T
        else:
            pads = attribute(node, "pads", [0] * 4)
            size, strides = attribute(node, "kernel_shape", None), attribute(node, "strides", [1, 1])
            given = np.pad(given, ((0, 0), (0, 0), pads[::2], pads[1::2]))
            windows = np.lib.stride_tricks.sliding_window_view(given, size, axis=(2, 3))
            windows = windows[:, :, :: strides[0], :: strides[1]].transpose(0, 2, 3, 4, 5, 1)  # (n, h, w, kernel, c)
            windows = windows.reshape(*windows.shape[:3], -1)
            filters = filters.transpose(0, 2, 3, 1).reshape(len(filters), -1)
        pairs = np.pad(filters, ((0, 0), (0, filters.shape[1] % 2))).reshape(len(filters), -1, 2)
        assert 255 * np.maximum(pairs, 0).sum(axis=2).max() <= 2**15 - 1
        assert 255 * np.maximum(-pairs, 0).sum(axis=2).max() <= 2**15 - 1
        sums = windows @ filters.T + weights[offset.input[0]]
        factor = weights[entry.input[1]] * weights[kernel.input[1]] / weights[quantized.input[1]]
        levels = np.rint(sums.astype(np.float32) * factor) + weights[quantized.input[2]]
        expected = np.clip(levels, 0, 255)
        if node.op_type == "Conv":
            expected = expected.transpose(0, 3, 1, 2)
        assert np.array_equal(values[quantized.output[0]], expected), node.name


def test_a_browser_reads_and_labels_the_test_pictures_as_the_runtime_does(
    exported: tuple[Path, Any], signs_data: Path, tmp_path: Path
) -> None:
    """All 120 files, in Chromium: the same pixels and labels.

    WebAssembly has no fused multiply-add, so that a sum of two int8 tensors rounds a tie otherwise now and then.
    """
    with browser() as chromium:
        deploy_web(exported[0], tmp_path / "site", WebConfig())
        files = sorted((signs_data / "test_signs").iterdir())
        classifier = Classifier(exported[0], variant="int8")
        page = chromium.new_page()
        with served(tmp_path / "site") as address:
            opened(page, address)
            assert page.evaluate("signs.proof.passed && signs.proof.pixels === 0")
            page.evaluate("document.getElementById('file').multiple = true")
            page.set_input_files("#file", files)
            given = page.evaluate(
                """async () => {
                    const { readPicture } = await import('./reading.js');
                    const answers = [];
                    for (const file of document.getElementById('file').files) {
                        const pixels = await readPicture(file, signs.classifier.input);
                        const probabilities = await signs.classifier.probabilities(pixels);
                        answers.push([Array.from(pixels), Array.from(probabilities)]);
                    }
                    return answers;
                }"""
            )
    assert len(given) == len(files) == 120
    for file, (pixels, probabilities) in zip(files, given, strict=True):
        assert np.array_equal(np.reshape(pixels, (64, 64, 3)), classifier.preprocess(file)), file
        expected = classifier.predict(file)
        assert np.abs(np.array(probabilities) - expected.probabilities).max() < 5e-3  # measured 1.6e-3
        assert int(np.argmax(probabilities)) == expected.index


@pytest.mark.parametrize(("language", "build"), [("node", build_node), ("cpp", build_cpp)])
def test_a_program_in_another_language_proves_the_bundle_and_labels_the_test_pictures(
    exported: tuple[Path, Any],
    signs_data: Path,
    tmp_path: Path,
    language: Language,
    build: Callable[[Path], list[str]],
) -> None:
    """All 120 files: the same golden pixels, and the same probabilities, as far as they are printed."""
    folder = tmp_path / "program"
    deploy_program(exported[0], folder, language)
    start = build(folder)
    proof = subprocess.run([*start, "--verify"], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert json.loads(proof)["pixels"] == 0
    files = sorted((signs_data / "test_signs").iterdir())
    shown = subprocess.run([*start, *files], cwd=folder, capture_output=True, text=True, check=True).stdout
    lines = [line.split("\t") for line in shown.splitlines()]
    classifier = Classifier(exported[0], variant="int8")
    assert [line[0] for line in lines] == [str(file) for file in files]
    for file, (_, label, *shares) in zip(files, lines, strict=True):
        expected = classifier.predict(file)
        assert label == expected.label
        given = [float(each.rsplit(" ", 1)[1]) for each in shares]
        assert np.abs(np.array(given) - expected.probabilities).max() < 1e-4


def run_integers(model: onnx.ModelProto, names: list[str], images: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """What onnxruntime's integer kernels leave under these names."""
    import onnxruntime

    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"image": images}), strict=True))


def test_the_runtime_says_what_keras_says_of_pixels_read_without_this_project(
    exported: tuple[Path, Any], signs_data: Path, signs_model: Path
) -> None:
    import keras

    files = sorted((signs_data / "test_signs").iterdir())
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB"), np.float32) / 255 for file in files])
    expected = keras.models.load_model(signs_model, compile=False).predict(pixels, verbose=0)
    predictions = run_json("signs", "predict", exported[0], signs_data / "test_signs")["predictions"]
    assert [each["picture"] for each in predictions] == [str(file) for file in files]
    assert [each["label"] for each in predictions] == [str(label) for label in expected.argmax(axis=1)]
    given = np.array([list(each["probabilities"].values()) for each in predictions])
    assert np.allclose(given, expected, atol=1e-5, rtol=0)


def test_the_golden_pictures_pass_on_this_device(exported: tuple[Path, Any]) -> None:
    document = run_json("signs", "verify", exported[0])
    assert document["passed"]
    assert [each["variant"] for each in document["variants"]] == ["fp32", "int8", "int8-gemm"]
    assert document["variants"][0]["pictures"] == 24


@pytest.mark.parametrize("variant", ["fp32", "int8", "int8-gemm"])
def test_the_kept_graph_and_a_stream_of_files_answer_as_the_sealed_file_does(
    exported: tuple[Path, Any], signs_data: Path, variant: str
) -> None:
    from signs_runtime import Classifier

    files = sorted((signs_data / "test_signs").iterdir())
    sealed = Classifier(exported[0], variant=variant, cache=False)
    images = np.stack([sealed.preprocess(file) for file in files])
    expected = sealed.probabilities(images)
    for _ in range(2):
        kept = Classifier(exported[0], variant=variant)
        assert np.array_equal(kept.probabilities(images), expected)  # bit for bit
    alone = [kept.predict(file).probabilities for file in files]
    streamed = [outcome.prediction.probabilities for outcome in kept.stream(files)]
    atol = 1e-5 if variant == "fp32" else 0  # batches: measured 2e-6 in float32, none in integers
    assert np.allclose(streamed, alone, atol=atol, rtol=0)


def test_threads_share_a_classifier_on_real_pictures(exported: tuple[Path, Any], signs_data: Path) -> None:
    from signs_runtime import Classifier

    files = sorted((signs_data / "test_signs").iterdir())
    classifier = Classifier(exported[0], variant="int8")
    expected = [classifier.predict(file).index for file in files]
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda file: classifier.predict(file).index, files * 8))
    assert given == expected * 8


def test_a_wrong_scaling_shows_in_the_accuracy_and_fails_beside_the_right_bundle(
    exported: tuple[Path, Any], signs_data: Path, signs_model: Path
) -> None:
    data = (signs_data, "--parity-pictures", 120)
    result = run("signs", "parity", signs_model, exported[0], *data, "--scaling", "tf")
    assert result.returncode == 3
    assert "parity FAILED on 120 pictures" in result.stderr


def epochs(stdout: Sequence[str]) -> list[tuple[float, float]]:
    """Loss and accuracy of each `Epoch` line."""
    lines = [line.split() for line in stdout if line.startswith("Epoch ")]
    return [(float(words[3]), float(words[5])) for words in lines]


def test_the_main_job_trains_on_real_signs_and_seals_what_it_trained(signs_data: Path, tmp_path: Path) -> None:
    result = run("build-and-export", signs_data, "--recipe", "course", "-o", tmp_path / "bundle")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].endswith("1,080 train (864 and 216 validation) and 120 test pictures, labels 0, 1, 2, 3, 4, 5")
    first, second = epochs(lines)
    assert second[0] < first[0] < 5  # the course: loss falls from 1 to 5 ...
    assert 0.2 < first[1] < second[1]  # ... and accuracy rises from above 0.2
    assert "fp32: parity passed on 1,200 pictures" in result.stdout
    assert "the same label on 1,200 of 1,200" in result.stdout
    assert run("signs", "verify", tmp_path / "bundle").returncode == 0
