"""Verifies, tunes and times the bundle on this machine's NVIDIA GPU, and writes report.json to send back.

    python3 check_gpu.py            installs the wheels into the folder venv first
    python3 check_gpu.py --here     uses the signs command that is installed for this Python
    python3 check_gpu.py --train    also trains one epoch on the GPU, with Keras on JAX, in its own environment

Needs Python 3.10 to 3.13. Exit codes: 0 all steps passed, 1 a step failed, 3 the GPU does not answer as Keras did.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPORT = HERE / "report.json"
DEVICES = ("cuda", "tensorrt")
BATCHES = (1, 16, 64)
LONGEST = 1800  # seconds that a step may take; TensorRT needs minutes to build an engine
WRONG = 3  # the exit code of a signs command that does not answer as Keras did
KEPT = 4000  # characters of a failed step's output
DRIVER_OF_CUDA_13 = 580  # older drivers need the last onnxruntime for CUDA 12

Command = list[str | Path]
Step = dict[str, Any]  # JSON


class Check:
    """The steps so far. Each is in the report as soon as it has ended."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        REPORT.unlink(missing_ok=True)

    def run(self, name: str, command: Command, variables: Mapping[str, str] | None = None) -> Step:
        """Run a step, print its result, and add it to the report."""
        print(f"{name} ...", end=" ", flush=True)
        start = time.monotonic()
        try:
            child = subprocess.run(
                [str(each) for each in command],
                env={**os.environ, **(variables or {})},
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                timeout=LONGEST,
            )
            code, out, said = child.returncode, child.stdout, child.stderr
        except subprocess.TimeoutExpired:
            code, out, said = 1, "", f"The step was stopped after {LONGEST} seconds."
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
        print("passed" if code == 0 else "FAILED", f"({step['seconds']} s)", last)
        self.steps.append(step)
        self.write()
        return step

    def install(self, folder: Path, wanted: list[str]) -> bool:
        """Install into an environment, which is created if it does not exist. Returns whether it worked."""
        if not (folder / "pyvenv.cfg").exists():
            made = self.run(f"making {folder.name}", [sys.executable, "-m", "venv", folder])
            if made["exit_code"]:
                print("    On Debian and Ubuntu: apt install python3-venv")
                return False
        pip: Command = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        return not self.run(f"installing {', '.join(map(_short, wanted))}", [*pip, *wanted])["exit_code"]

    @property
    def failed(self) -> list[Step]:
        return [each for each in self.steps if each["exit_code"]]

    @property
    def is_wrong(self) -> bool:
        """Whether the GPU does not answer as Keras did."""
        return any(map(_answers_wrongly, self.failed))

    def write(self) -> None:
        """Write the report of the steps so far."""
        about = {"system": platform.platform(), "python": platform.python_version()}
        report = {"passed": not self.failed, **about, "steps": self.steps}
        beside = REPORT.with_suffix(".part")
        beside.write_text(json.dumps(report, indent=2), encoding="utf-8")
        beside.replace(REPORT)


def _answers_wrongly(step: Step) -> bool:
    """Whether a step failed with wrong answers. A variant without an answer (no memory, no engine) is not wrong."""
    if step["exit_code"] != WRONG or not step["step"].startswith("signs") or step["step"].endswith("cpu"):
        return False
    variants = step["found"]["variants"] if isinstance(step["found"], dict) else []
    return not any(each.get("error") for each in variants)


def _short(wanted: str) -> str:
    return Path(wanted).name.partition("-")[0] if ".whl" in wanted else wanted


def wheel(name: str) -> Path:
    """One of the wheels that came with this file."""
    return next((HERE / "wheels").glob(f"{name}-*.whl"))


def install_runtime(check: Check, driver: str) -> dict[str, str]:
    """Install onnxruntime for CUDA, then TensorRT. Returns the environment variables with which TensorRT is found."""
    folder = HERE / "venv"
    is_old = driver.partition(".")[0].isdigit() and int(driver.partition(".")[0]) < DRIVER_OF_CUDA_13
    for_cuda_12 = is_old or sys.version_info < (3, 11)
    onnxruntime = "onnxruntime-gpu[cuda,cudnn]" + ("<1.27" if for_cuda_12 else "")
    if check.install(folder, [f"{wheel('signs_runtime')}[gpu]", onnxruntime]):
        check.install(folder, ["tensorrt-cu12>=10,<11" if for_cuda_12 else "tensorrt-cu13>=10,<11"])
    found = [str(each) for each in folder.glob("lib/python*/site-packages/tensorrt_libs")]
    return {"LD_LIBRARY_PATH": os.pathsep.join([*found, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])}


def prove(check: Check, signs: Path, variables: Mapping[str, str]) -> None:
    """Run doctor, verify, tune and benchmark on the GPU."""
    bundle = HERE / "bundle"
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    check.run("signs doctor", [signs, "doctor", "--device", "cuda", "--json"], variables)
    for device in DEVICES:
        for variant in (each["name"] for each in manifest["variants"]):
            command: Command = [signs, "verify", bundle, "--device", device, "--variant", variant, "--json"]
            check.run(f"signs verify, {variant} on {device}", command, variables)
    check.run("signs tune", [signs, "tune", bundle, "--json"], variables)
    batches = [option for size in BATCHES for option in ("--batch-size", str(size))]
    for device in (*DEVICES, "cpu"):
        threads = [] if device == "cpu" else ["--threads", "1"]
        timed: Command = [signs, "benchmark", bundle, "--device", device, *threads, *batches, "--json"]
        check.run(f"signs benchmark on {device}", timed, variables)


def train(check: Check) -> None:
    """Train one epoch on drawn hands, with Keras on JAX. Fails if JAX finds no GPU."""
    folder = HERE / "venv-train"
    if not check.install(folder, [f"{wheel('signs_runtime')}[cpu]", str(wheel("signs_edge")), "jax[cuda12]"]):
        return
    found = "import jax, json; print(json.dumps([d.device_kind for d in jax.devices('gpu')]))"
    check.run("the GPUs that JAX finds", [folder / "bin/python", "-c", found])
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
    check.run("an epoch of training on JAX", command, {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cuda"})


def main() -> int:
    """Run all steps and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true", help="install nothing; use the signs command of this Python")
    parser.add_argument("--train", action="store_true", help="also train one epoch on the GPU")
    chosen = parser.parse_args()
    check = Check()
    query: Command = ["nvidia-smi", "--query-gpu=driver_version,name,memory.total,compute_cap", "--format=csv,noheader"]
    gpu = check.run("nvidia-smi", query)
    signs, variables = Path(sys.executable).with_name("signs"), {}
    if not chosen.here:
        signs, variables = HERE / "venv/bin/signs", install_runtime(check, str(gpu["found"]))
    prove(check, signs, variables)
    if chosen.train:
        train(check)
    print(f"{len(check.steps) - len(check.failed)} of {len(check.steps)} steps passed. Send {REPORT} back.")
    if check.is_wrong:
        return WRONG
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
