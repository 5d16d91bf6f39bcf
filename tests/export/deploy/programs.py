"""Builds the programs in other languages, where their tools are; tests skip elsewhere."""

import hashlib
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import onnxruntime
import pytest

# onnxruntime's headers are in no Python package; Debian has them in one of its own.
HEADERS = "http://deb.debian.org/debian/pool/main/o/onnxruntime/libonnxruntime-dev_1.21.0+dfsg-1_amd64.deb"
HEADERS_SHA256 = "14f7d959d5deacbcf1504830d4189f91fc67382b399ed9ae9d3aa9c4050ced08"
LIBRARIES = ("nlohmann/json.hpp", "stb/stb_image.h", "openssl/evp.h", "jpeglib.h")


def build_node(folder: Path) -> list[str]:
    """Install what the program needs; how to start it there."""
    if shutil.which("npm") is None:
        pytest.skip("needs Node.js")
    environment = os.environ | {"ONNXRUNTIME_NODE_INSTALL": "skip"}  # no files for GPUs
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"npm cannot fetch onnxruntime-node and sharp: {result.stderr[-300:]}")
    return ["node", "classify.js"]


def build_cpp(folder: Path) -> list[str]:
    """Build the program; how to start it there."""
    missing = [name for name in LIBRARIES if not Path("/usr/include", name).exists()]
    if missing or shutil.which("cmake") is None or shutil.which("g++") is None or shutil.which("dpkg-deb") is None:
        pytest.skip(
            f"needs CMake, g++, and Debian's libjpeg-dev, nlohmann-json3-dev, libstb-dev, libssl-dev; without {missing}"
        )
    configure = ["cmake", "-B", "build", "-D", f"ONNXRUNTIME_ROOT={release(folder.parent)}"]
    for command in (configure, ["cmake", "--build", "build", "--parallel", "2"]):
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "warning" not in result.stderr
    return ["build/classify"]


def release(folder: Path) -> Path:
    """onnxruntime as its releases lay it out: Debian's headers, and the library of the Python package."""
    try:
        with urllib.request.urlopen(HEADERS, timeout=60) as answer:
            content = answer.read()
    except OSError as error:
        pytest.skip(f"cannot fetch onnxruntime's headers: {error}")
    assert hashlib.sha256(content).hexdigest() == HEADERS_SHA256
    package = folder / "headers.deb"
    package.write_bytes(content)
    root = folder / "onnxruntime"
    subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    (root / "usr/include").rename(root / "include")
    (root / "lib").mkdir()
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (root / "lib" / name).symlink_to(library)
    return root
