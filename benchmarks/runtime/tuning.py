"""Compares `signs tune` to an exhaustive search, on a bundle with an extra variant that is fast but wrong.

The search times every variant with every number of threads in long, interleaved rounds. Each tuning's choice is then
compared to the fastest right one that the search found.
"""

import argparse
import dataclasses
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

WRONG = "wrong"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    from signs_runtime.bundle.folder import open_bundle
    from signs_runtime.placement.limits import find_limits
    from signs_runtime.placement.timing import Candidate, time_side_by_side
    from signs_runtime.placement.tune import TuneConfig, tune

    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        bundle = add_wrong_variant(arguments.bundle, Path(folder, "bundle"))
        chosen = []
        for i in range(arguments.runs):
            before = time.perf_counter()
            tuning = tune(bundle, TuneConfig())
            winner = tuning.winner
            chosen.append((winner.variant, winner.threads))
            wrong = [each for each in tuning.profile.measured if each.variant == WRONG]
            print(
                f"tuning {i + 1}: {winner.variant} with {winner.threads} threads, {winner.milliseconds:.2f} ms, in "
                f"{time.perf_counter() - before:.0f} s; {WRONG}: {wrong[0].says}",
                flush=True,
            )
            assert not any(each.passed for each in wrong)
        # Run the files alone, so that nothing in the manifest stops the wrong one.
        candidates = {
            (each.name, threads): Candidate(str(bundle / each.file.path), threads=threads)
            for each in open_bundle(bundle).manifest.variants
            for threads in range(1, find_limits().threads + 1)
        }
        timed = time_side_by_side({f"{n} {t}": each for (n, t), each in candidates.items()}, rounds=arguments.rounds)
        for name, each in sorted(timed.items(), key=lambda pair: pair[1].milliseconds):
            print(f"  {name} threads: {each.milliseconds:.3f} ms")
        right = {name: each.milliseconds for name, each in timed.items() if not name.startswith(WRONG)}
        for i, (name, threads) in enumerate(chosen):
            print(f"tuning {i + 1}: {right[f'{name} {threads}'] / min(right.values()):.3f} times the time of the best")


def add_wrong_variant(bundle: Path, destination: Path) -> Path:
    """Copy a bundle, and seal into the copy a variant with one random matrix: fast, and wrong."""
    import hashlib
    import json

    from signs_runtime.bundle.folder import MANIFEST, open_bundle
    from signs_runtime.bundle.manifest import FileRecord, dump_manifest
    from signs_runtime.bundle.onnx_metadata import INPUT_KEY, LABELS_KEY

    shutil.copytree(bundle, destination)
    manifest = open_bundle(destination).manifest
    height, width, channels = manifest.input.shape
    count = len(manifest.labels)
    weights = np.random.default_rng(0).normal(size=(channels, count)).astype(np.float32)
    graph = make_graph(
        [
            make_node("Cast", ["image"], ["pixels"], to=onnx.TensorProto.FLOAT),
            make_node("ReduceMean", ["pixels"], ["means"], axes=[1, 2], keepdims=0),
            make_node("MatMul", ["means", "weights"], ["logits"]),
            make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "wrong",
        [make_tensor_value_info("image", onnx.TensorProto.UINT8, ["batch", height, width, channels])],
        [make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["batch", count])],
        [from_array(weights, "weights")],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)
    described = {LABELS_KEY: json.dumps(manifest.labels), INPUT_KEY: json.dumps(dataclasses.asdict(manifest.input))}
    for key, value in described.items():
        model.metadata_props.add(key=key, value=value)
    content = model.SerializeToString()
    (destination / "wrong.onnx").write_bytes(content)
    record = FileRecord("wrong.onnx", hashlib.sha256(content).hexdigest(), len(content))
    wrong = dataclasses.replace(manifest.variants[0], name=WRONG, file=record)
    sealed = dataclasses.replace(manifest, variants=(*manifest.variants, wrong))
    (destination / MANIFEST).write_text(dump_manifest(sealed), encoding="utf-8")
    return destination


if __name__ == "__main__":
    main()
