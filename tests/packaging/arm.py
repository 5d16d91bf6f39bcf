"""A board's folder on an emulated ARM: installed from its own wheels, verified, and held to this machine's answers.

    python -m tests.packaging.arm BUNDLE [PICTURES]

Needs Linux, root, and Debian's mmdebstrap and qemu-user-static. Each CPU verifies the bundle, and labels PICTURES (by
default the golden ones alone) with int8. Its integers must be those of here, in every tensor. Answers may differ by
what the float layer at the end loses, which sums in another order on each CPU. Ends with 1 where more differs.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime

from signs_export.config import INT8_GEMM
from signs_export.deploy.board import deploy_board
from signs_export.deploy.platforms import BoardConfig
from signs_runtime import Classifier
from signs_runtime.bundle.folder import Bundle, open_bundle
from signs_runtime.commands.shared import print_table
from signs_runtime.pictures.find import find_pictures

CPUS = {"cortex-a72": "0xd08", "cortex-a76": "0xd0b"}  # Raspberry Pi 4 and 5, with the part that /proc/cpuinfo tells
FEATURES = {"cortex-a72": "", "cortex-a76": " atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"}
PACKAGES = "libstdc++6,python3.11-minimal,libpython3.11-stdlib,zlib1g"
LAST_LAYER = 1e-6  # of a probability; measured 2.7e-7 beside AVX-512, and one other integer on the way moves some 1e-4
_LOOKED_INTO = 4  # golden pictures; emulated, one takes some ten seconds of a ResNet-50
INT8 = ("int8", INT8_GEMM)
TOOLS = ("mmdebstrap", "qemu-aarch64-static")

CODE = """
import json, sys
site, bundle, variants, pictures = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
sys.path.insert(0, site)
import numpy as np
from signs_runtime import Classifier, verify
proof = verify(bundle)
answers, changed = {}, {}
for name in variants if pictures else ():
    classifier = Classifier(bundle, variant=name, threads=1, cache=False)
    answers[name] = [classifier.predict(each).probabilities.tolist() for each in pictures]
if len(sys.argv) > 5:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    for graph, file in zip(sys.argv[5::2], sys.argv[6::2]):
        there = np.load(file)
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        for name in session.get_outputs():
            values = session.run([name.name], {"image": there["image"]})[0]
            changed[f"{graph}: {name.name}"] = int((values != there[name.name]).sum())
print(json.dumps({"passed": proof.passed, "failures": str(proof.failures), "answers": answers, "changed": changed}))
"""


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.argument("pictures", type=click.Path(path_type=Path, exists=True), required=False)
def main(bundle: Path, pictures: Path | None) -> None:
    """Prove BUNDLE on emulated ARM CPUs."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        sys.exit(f"{', '.join(missing)} missing: apt-get install --no-install-recommends mmdebstrap qemu-user-static")
    files = [] if pictures is None else [str(each.resolve()) for each in find_pictures([pictures]).pictures]
    names = [each.name for each in open_bundle(bundle).manifest.variants]
    variants = [name for name in names if name in INT8] or names  # float32 takes seconds a picture there
    here = {
        name: np.array([Classifier(bundle, variant=name, threads=1).predict(each).probabilities for each in files])
        for name in variants
    }
    rows, passed = [], True
    with tempfile.TemporaryDirectory() as work:
        root, folder, site = Path(work, "root"), Path(work, "board"), Path(work, "site")
        start = time.perf_counter()
        _make_root(root)
        deploy_board(bundle, folder, BoardConfig("linux-aarch64", "3.11"))
        _install(folder, site)
        made = time.perf_counter() - start
        in_int8 = [name for name in names if name in INT8]
        inner = [file for name in in_int8 for file in _inner_integers(open_bundle(bundle), name, Path(work))]
        for cpu in CPUS:
            start = time.perf_counter()
            found = _run(cpu, root, site, folder / "bundle", variants, files, inner)
            changed = sum(found["changed"].values())
            passed = passed and found["passed"] and not changed
            for name in variants:
                difference = 0.0 if not files else float(np.abs(np.float32(found["answers"][name]) - here[name]).max())
                passed = passed and (name not in INT8 or difference <= LAST_LAYER)
                told = "the same bits" if difference == 0 else f"at most {difference:.1e} apart"
                verified = "passed" if found["passed"] else found["failures"]
                rows.append((cpu, verified, name, told if files else "not asked", str(changed) if inner else ""))
            print(f"{cpu}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    print(f"From an empty folder to an installed one: {made:.0f} s.")
    beside = f"{len(files)} pictures, beside this machine"
    print_table(rows, header=("CPU", "signs verify", "variant", beside, "other integers inside"))
    sys.exit(not passed)


def _inner_integers(bundle: Bundle, name: str, work: Path) -> list[Path]:
    """A variant's graph with all tensors of integers as outputs, and what they are here for some golden pictures."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(work / "optimized.onnx")
    file = bundle.folder / bundle.variant(name).file.path
    onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    model = onnx.load(work / "optimized.onnx")
    del model.graph.output[:]
    for node in model.graph.node:
        if node.op_type.startswith("QLinear") or (node.op_type == "QGemm" and len(node.input) > 7):
            made = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.UINT8, None)
            model.graph.output.append(made)
    onnx.save(model, work / f"{name}.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(work / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
    images = bundle.golden().images[:_LOOKED_INTO]
    values = session.run(None, {"image": images})
    outputs = [value.name for value in session.get_outputs()]
    np.savez(work / f"{name}.npz", image=images, **dict(zip(outputs, values, strict=True)))
    print(f"{sum(each.size for each in values):,} integers in {len(outputs)} tensors of {name}, {len(images)} pictures")
    return [work / f"{name}.onnx", work / f"{name}.npz"]


def _make_root(root: Path) -> None:
    """What of Debian a Python needs, for ARM."""
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        "--arch=arm64",
        f"--include={PACKAGES}",
        "bookworm",
        str(root),
    ]
    subprocess.run(command, check=True)


def _install(folder: Path, site: Path) -> None:
    """Unpack the board's wheels, each held to the hash that its requirements have; no process starts in there."""
    requirements = (folder / "requirements.txt").read_text(encoding="utf-8")
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=folder, check=True)
    for wheel in sorted((folder / "wheels").glob("*.whl")):
        assert wheel.name.split("-")[0] in requirements, wheel
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def _run(
    cpu: str, root: Path, site: Path, bundle: Path, variants: list[str], files: list[str], inner: list[Path]
) -> dict[str, Any]:  # Any: JSON
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(
        "".join(
            f"processor\t: {i}\nBogoMIPS\t: 108.00\n"
            f"Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32{FEATURES[cpu]}\n"
            f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {CPUS[cpu]}\n"
            "CPU revision\t: 3\n\n"
            for i in range(4)
        )
    )
    python = root / "usr/bin/python3.11"
    command = ["qemu-aarch64-static", "-L", str(root), "-cpu", cpu, str(python), "-c", CODE]
    words = [str(site), str(bundle), json.dumps(variants), json.dumps(files), *map(str, inner)]
    result = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{cpu}: ended with {result.returncode}:\n{result.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
