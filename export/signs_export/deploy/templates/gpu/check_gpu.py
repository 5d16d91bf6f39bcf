"""Proves, tunes and times the bundle on this machine's NVIDIA GPU, and writes report.json to send back.

    python3 check_gpu.py            installs the wheels into venv, beside this file, first
    python3 check_gpu.py --here     takes the signs that is installed for this Python
    python3 check_gpu.py --train    also trains an epoch on the GPU, by Keras on JAX, in an environment of its own

Needs Python 3.10 to 3.13. Exit codes: 0 all passed, 1 a step did not run, 3 the GPU's answers are not Keras's.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DEVICES = ("cuda", "tensorrt")
BATCHES = (1, 16, 64)
LONGEST = 1800  # seconds a step may take; TensorRT builds an engine in minutes
WRONG = 3  # the exit code of a command whose answers are not Keras's
KEPT = 4000  # characters of what a failed step said

Command = list[str | Path]
Step = dict[str, Any]  # JSON


def run(name: str, command: Command, variables: Mapping[str, str] | None = None) -> Step:
    """Run a step, say how it went, and give what the report has of it."""
    print(f"{name} ...", end=" ", flush=True)
    start = time.monotonic()
    try:
        child = subprocess.run(
            [str(each) for each in command],
            env={**os.environ, **(variables or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        code, out, said = child.returncode, child.stdout, child.stderr
    except subprocess.TimeoutExpired:
        code, out, said = 1, "", f"It did not end within {LONGEST} seconds."
    except OSError as error:
        code, out, said = 1, "", str(error)
    try:
        found = json.loads(out)
    except ValueError:
        found = out[-KEPT:]
    step = {"step": name, "exit_code": code, "seconds": round(time.monotonic() - start, 1), "found": found}
    if code:
        step["said"] = said[-KEPT:]
    last = said.strip().splitlines()[-1] if code and said.strip() else ""
    print({0: "passed", WRONG: "WRONG ANSWERS"}.get(code, "failed"), f"({step['seconds']} s)", last)
    return step


def install(folder: Path, wanted: Sequence[str]) -> Step:
    """Make an environment, and install into it."""
    venv.create(folder, with_pip=True, clear=True)
    pip: Command = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return run(f"installing into {folder.name}", [*pip, *wanted])


def wheel(name: str) -> Path:
    """One of the wheels that came with this file."""
    return next((HERE / "wheels").glob(f"{name}-*.whl"))


def prove(signs: Path, variants: Sequence[str]) -> list[Step]:
    """Everything that is asked of a GPU."""
    bundle = HERE / "bundle"
    steps = [run("signs doctor", [signs, "doctor", "--device", "cuda", "--json"])]
    for device in DEVICES:
        for variant in variants:
            command: Command = [signs, "verify", bundle, "--device", device, "--variant", variant, "--json"]
            steps.append(run(f"signs verify, {variant} on {device}", command))
    steps.append(run("signs tune", [signs, "tune", bundle, "--json"]))
    batches = [option for size in BATCHES for option in ("--batch-size", str(size))]
    for device in (*DEVICES, "cpu"):
        timed: Command = [signs, "benchmark", bundle, "--device", device, *batches, "--json"]
        steps.append(run(f"signs benchmark on {device}", timed))
    return steps


def train() -> list[Step]:
    """An epoch on drawn hands, by Keras on JAX; ends with 1 where JAX finds no GPU."""
    folder = HERE / "venv-train"
    steps = [install(folder, [f"{wheel('signs_runtime')}[cpu]", str(wheel("signs_edge")), "jax[cuda12]"])]
    if steps[-1]["exit_code"]:
        return steps
    found = "import jax, json; print(json.dumps([d.device_kind for d in jax.devices('gpu')]))"
    steps.append(run("the GPUs that JAX finds", [folder / "bin/python", "-c", found]))
    command: Command = [
        folder / "bin/signs",
        "train",
        "synthetic",
        "--epochs",
        "1",
        "-o",
        HERE / "epoch.keras",
        "--json",
    ]
    steps.append(run("an epoch of training on JAX", command, {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cuda"}))
    return steps


def main() -> int:
    """Run all steps, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true", help="install nothing: take this Python's signs")
    parser.add_argument("--train", action="store_true", help="also train an epoch")
    chosen = parser.parse_args()
    query: Command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv,noheader"]
    steps = [run("the GPU, by nvidia-smi", query)]
    signs = Path(sys.executable).with_name("signs")
    if not chosen.here:
        signs = HERE / "venv/bin/signs"
        onnxruntime = "onnxruntime-gpu[cuda,cudnn]"  # CUDA's libraries from the package index, too
        steps.append(install(HERE / "venv", [f"{wheel('signs_runtime')}[gpu]", onnxruntime, "tensorrt-cu12"]))
    manifest = json.loads((HERE / "bundle/manifest.json").read_text(encoding="utf-8"))
    steps += prove(signs, [each["name"] for each in manifest["variants"]])
    if chosen.train:
        steps += train()
    failed = [each for each in steps if each["exit_code"]]
    report = {
        "passed": not failed,
        "system": platform.platform(),
        "python": platform.python_version(),
        "steps": steps,
    }
    (HERE / "report.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    print(f"{len(steps) - len(failed)} of {len(steps)} steps passed. Send {HERE / 'report.json'} back.")
    if any(each["exit_code"] == WRONG for each in failed):
        return WRONG
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
