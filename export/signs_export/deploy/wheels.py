"""Finds the wheels that a device needs: the runtime's own, and its dependencies', which uv pins with their hashes."""

import base64
import hashlib
import subprocess
import tempfile
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal

from signs_builder.progress import Progress, no_progress
from signs_export.deploy.platforms import Platform
from signs_export.errors import ExportError

OwnDistribution = Literal["signs-runtime", "signs-edge"]
RUNTIME: OwnDistribution = "signs-runtime"
EDGE: OwnDistribution = "signs-edge"
_PACKAGES: dict[OwnDistribution, tuple[str, ...]] = {
    "signs-runtime": ("signs_runtime",),
    "signs-edge": ("signs_builder", "signs_export"),
}
_EXTRA = "cpu"
_SECONDS = 60  # without data before a download is given up
_CHUNK = 2**20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # fixed, so that the same files make the same wheel


@dataclass(frozen=True)
class Wheel:
    """A wheel on a package index."""

    name: str
    url: str
    size: int
    sha256: str

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2].partition("#")[0]


def resolve(platform: Platform, python: str) -> list[Wheel]:
    """Find the wheels of the runtime's dependencies for a system. Raises ExportError if there are none."""
    uv = _find_uv()
    with tempfile.TemporaryDirectory() as folder:  # an empty folder, so that no project's settings apply
        wanted, locked = Path(folder, "wanted.in"), Path(folder, "pylock.toml")
        wanted.write_text("\n".join(_dependencies()), encoding="utf-8")
        command = [uv, "pip", "compile", "--quiet", "--no-header", "--only-binary", ":all:", "--format", "pylock.toml"]
        command += ["--python-platform", platform.for_uv, "--python-version", python, "-o", str(locked), str(wanted)]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ExportError(
                f"uv finds no wheels for {platform.name} and Python {python}:\n{result.stderr.strip()[-1500:]}"
            )
        packages = tomllib.loads(locked.read_text(encoding="utf-8"))["packages"]
    return [_best(package) for package in packages]


def _best(package: dict[str, Any]) -> Wheel:  # Any: TOML
    """The best wheel that fits: one for this system before one for any system."""
    wheels = sorted(package["wheels"], key=lambda each: each["url"].endswith("-any.whl"))
    best = wheels[0]
    return Wheel(package["name"], best["url"], best.get("size", 0), best["hashes"]["sha256"])


def download(wheels: Iterable[Wheel], folder: Path, *, progress: Progress = no_progress) -> None:
    """Download wheels into a folder and check each one's hash. Raises ExportError."""
    wheels = list(wheels)
    with progress("Downloading wheels", sum(each.size for each in wheels)) as on_done:
        for wheel in wheels:
            digest = hashlib.sha256()
            try:
                with (
                    urllib.request.urlopen(wheel.url, timeout=_SECONDS) as source,
                    (folder / wheel.file).open("wb") as target,
                ):
                    while chunk := source.read(_CHUNK):
                        digest.update(chunk)
                        target.write(chunk)
                        on_done(len(chunk))
            except OSError as error:
                raise ExportError(f"{wheel.file} cannot be downloaded: {error}. Try again.") from error
            if digest.hexdigest() != wheel.sha256:
                raise ExportError(f"{wheel.file} is damaged or was replaced: its SHA-256 differs. Try again.")


def write_own_wheel(distribution: OwnDistribution, folder: Path) -> Path:
    """Make the wheel of one of our distributions from its installed files; both are pure Python."""
    about = metadata.distribution(distribution)
    name = f"{distribution.replace('-', '_')}-{about.version}"
    info = f"{name}.dist-info"
    files: dict[str, bytes] = {}
    for module in _PACKAGES[distribution]:
        package = Path(str(import_module(module).__file__)).parent
        sources = sorted(each.relative_to(package) for each in package.rglob("*") if _is_source(each))
        files |= {f"{module}/{path.as_posix()}": (package / path).read_bytes() for path in sources}
    files |= {
        f"{info}/METADATA": str(about.read_text("METADATA")).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: signs-edge\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": str(about.read_text("entry_points.txt")).encode(),
    }
    if licence := about.read_text("licenses/LICENSE"):
        files[f"{info}/licenses/LICENSE"] = licence.encode()
    records = [f"{path},sha256={_record_digest(content)},{len(content)}" for path, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*records, f"{info}/RECORD,,", ""]).encode()
    wheel = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return wheel


def write_requirements(folder: Path, file: Path) -> None:
    """List the wheels of a folder with their hashes, as `pip install --require-hashes` needs them."""
    lines = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version, *_ = wheel.name.split("-")
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    file.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _record_digest(content: bytes) -> str:
    """The digest as in RECORD: https://packaging.python.org/en/latest/specifications/recording-installed-packages."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _dependencies() -> list[str]:
    """The runtime's requirements on a CPU."""
    found = []
    for each in metadata.requires(RUNTIME) or ():
        requirement, _, marker = (part.strip() for part in each.partition(";"))
        if not marker or marker.replace("'", '"') == f'extra == "{_EXTRA}"':
            found.append(requirement)
    return found


def _find_uv() -> str:
    try:
        import uv
    except ImportError as error:
        raise ExportError(
            "uv is needed to find the device's wheels, but is not installed. Run: pip install uv."
        ) from error
    return str(uv.find_uv_bin())
