"""A folder, or a tar file, that installs a bundle on a board without a network and proves it there."""

import hashlib
import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template

from signs_builder.progress import Progress, no_progress
from signs_export.deploy.platforms import BoardConfig, check_python, find_platform
from signs_export.deploy.wheels import download, resolve, write_requirements, write_runtime_wheel
from signs_export.errors import ExportError
from signs_runtime.bundle.folder import Bundle, open_bundle

BUNDLE, WHEELS, PROGRAM, SERVICE = "bundle", "wheels", "program.py", "signs.service"
_TAR = ".tar"


def deploy_board(
    path: Path, destination: Path, config: BoardConfig, *, progress: Progress = no_progress
) -> tuple[Path, ...]:
    """Write what installs the bundle at `path` on a board: the files, in their order.

    A `destination` that ends in .tar becomes such a file. Raises ExportError for a platform that cannot work and a
    destination that is there, BundleError for a bundle that is not whole.
    """
    platform = find_platform(config.platform)
    check_python(config.python)
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise ExportError(f"{destination} is there; it is not overwritten. Choose another -o, or remove it.")
    if config.program is not None and not config.program.is_file():
        raise ExportError(f"No program at {config.program}.")
    bundle = open_bundle(path)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.") as beside:
        work = Path(beside, destination.name.removesuffix(_TAR))
        (work / WHEELS).mkdir(parents=True)
        with progress("Finding wheels", 0):
            wheels = resolve(platform, config.python)
        download(wheels, work / WHEELS, progress=progress)
        write_runtime_wheel(work / WHEELS)
        write_requirements(work / WHEELS, work / "requirements.txt")
        _copy_bundle(bundle, work / BUNDLE)
        told = {
            "platform": platform.name,
            "needs": platform.needs,
            "machine": platform.machine,
            "python": config.python,
            "name": shlex.quote(work.name),
            "digest": bundle.manifest.digest,
            "labels": ", ".join(bundle.manifest.labels),
        }
        _write(work / "install.sh", told, executable=True)
        _write(work / "README.md", told)
        if config.program is not None:
            shutil.copyfile(config.program, work / PROGRAM)
            _write(work / SERVICE, told)
        _write_sums(work)
        files = tuple(each.relative_to(work) for each in sorted(work.rglob("*")) if each.is_file())
        if destination.suffix == _TAR:
            made = Path(beside, destination.name)
            with tarfile.open(made, "w") as archive:
                archive.add(work, work.name)
        else:
            made = work
            if destination.is_dir():
                destination.rmdir()
        made.rename(destination)
    return files


def _copy_bundle(bundle: Bundle, folder: Path) -> None:
    shutil.copytree(bundle.folder, folder)


def _write(path: Path, told: Mapping[str, str], *, executable: bool = False) -> None:
    """Fill the template of this name."""
    template = resources.files("signs_export.deploy").joinpath("templates", path.name).read_text(encoding="utf-8")
    path.write_text(Template(template).substitute(told), encoding="utf-8")
    if executable:
        path.chmod(0o755)


def _write_sums(folder: Path) -> None:
    """As `sha256sum --check` reads them."""
    files = [each for each in sorted(folder.rglob("*")) if each.is_file()]
    lines = [f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.relative_to(folder)}" for each in files]
    (folder / "SHA256SUMS").write_text("\n".join([*lines, ""]), encoding="utf-8")
