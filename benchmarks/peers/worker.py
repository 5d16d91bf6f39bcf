"""Runs one runtime to be timed: `python worker.py KIND FILE THREADS HEIGHT WIDTH`, here or in the peers' environment.

It starts, answers one picture and prints its peak memory. Then, for each line it reads, it prints how long a picture
takes ("run BATCH SECONDS": the median and the 95th percentile in ms), or writes probabilities ("answer IN OUT").
Only the kind `signs` imports anything of this project, so that the peers' environment can do without it.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[Any], Any]  # pixels uint8 (n, h, w, c) to probabilities (n, labels)
WARM_UP = 5


def signs(path: str, threads: int, device: str = "cpu") -> Callable[[int], Run]:
    from signs_runtime import Classifier

    classifier = Classifier(path, device=device, threads=threads)
    return lambda batch: classifier.probabilities


def signs_openvino(path: str, threads: int) -> Callable[[int], Run]:
    sys.path.append(str(Path(__file__).parents[2] / "runtime"))  # the peers' environment has what it needs
    return signs(path, threads, "openvino")


def onnxruntime(path: str, threads: int) -> Callable[[int], Run]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    is_float = taken.type == "tensor(float)"
    return lambda batch: lambda images: session.run(None, {taken.name: _as_float(images) if is_float else images})[0]


def litert(path: str, threads: int) -> Callable[[int], Run]:
    from ai_edge_litert.interpreter import Interpreter

    def sized(batch: int) -> Run:
        interpreter = Interpreter(path, num_threads=threads)
        (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(taken["index"], (batch, *taken["shape"][1:]), strict=False)
        interpreter.allocate_tensors()
        scale, zero = given["quantization"]

        def run(images: Any) -> Any:
            interpreter.set_tensor(taken["index"], images if taken["dtype"] == np.uint8 else _as_float(images))
            interpreter.invoke()
            values = interpreter.get_tensor(given["index"])
            return (values.astype(np.float32) - zero) * scale if given["dtype"] != np.float32 else values

        return run

    return sized


def openvino(path: str, threads: int, precision: str | None = "f32") -> Callable[[int], Run]:
    import openvino as ov

    core = ov.Core()
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    if precision:
        options["INFERENCE_PRECISION_HINT"] = precision

    def sized(batch: int) -> Run:
        model = core.read_model(path)
        _, *shape = model.input(0).partial_shape
        model.reshape([batch, *(axis.get_length() for axis in shape)])
        request = core.compile_model(model, "CPU", options).create_infer_request()
        is_float = model.input(0).element_type.is_real()
        return lambda images: next(iter(request.infer([_as_float(images) if is_float else images]).values()))

    return sized


def openvino_auto(path: str, threads: int) -> Callable[[int], Run]:
    return openvino(path, threads, precision=None)


def keras(path: str, threads: int) -> Callable[[int], Run]:
    model = _keras_model(path, threads)
    return lambda batch: lambda images: model.predict(_as_float(images), batch_size=batch, verbose=0)


def tensorflow(path: str, threads: int) -> Callable[[int], Run]:
    model = _keras_model(path, threads)
    import tensorflow as tf

    def sized(batch: int) -> Run:
        (taken,) = model.inputs
        signature = [tf.TensorSpec((batch, *taken.shape[1:]), tf.float32)]
        traced = tf.function(lambda pixels: model(pixels, training=False), input_signature=signature)
        return lambda images: traced(tf.constant(_as_float(images))).numpy()

    return sized


def _keras_model(path: str, threads: int) -> Any:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    return keras.saving.load_model(path, compile=False)


_EVERY = (signs, signs_openvino, onnxruntime, litert, openvino, openvino_auto, keras, tensorflow)
KINDS = {each.__name__: each for each in _EVERY}


def _as_float(images: Any) -> Any:
    """Pixels as float32, unscaled: every timed model scales them itself."""
    return images.astype(np.float32)


def _time(run: Run, images: Any, seconds: float) -> tuple[float, float]:
    for _ in range(WARM_UP):
        run(images)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        before = time.perf_counter()
        run(images)
        taken.append(time.perf_counter() - before)
    median, late = np.percentile(taken, (50, 95)) * 1000 / len(images)
    return float(median), float(late)


def _peak_memory() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


def main() -> None:
    kind, path, threads, height, width = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    sized = KINDS[kind](path, threads)
    runs = {1: sized(1)}
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    runs[1](image)
    print(json.dumps({"peak_memory": _peak_memory()}), file=answers, flush=True)
    for line in sys.stdin:
        what, *said = line.split()
        if what == "run":
            batch = int(said[0])
            runs[batch] = runs.get(batch) or sized(batch)
            images = np.random.default_rng(1).integers(0, 256, (batch, height, width, 3), np.uint8)
            print(json.dumps(_time(runs[batch], images, float(said[1]))), file=answers, flush=True)
        else:
            images = np.load(said[0])
            np.save(said[1], np.concatenate([runs[1](images[i : i + 1]) for i in range(len(images))]))
            print("{}", file=answers, flush=True)


if __name__ == "__main__":
    main()
