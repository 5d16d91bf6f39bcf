"""Makes folders for devices: the bundle, its wheels, and files from templates. They appear complete or not at all."""

import hashlib
import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from string import Template

from signs_builder.progress import Progress, no_progress
from signs_export.deploy.platforms import Platform, check_python, find_platform
from signs_export.deploy.wheels import RUNTIME, download, resolve, write_own_wheel, write_requirements
from signs_export.errors import ExportError
from signs_runtime.bundle.folder import MANIFEST, Bundle, open_bundle
from signs_runtime.bundle.manifest import Variant

BUNDLE, WHEELS, REQUIREMENTS, SUMS = "bundle", "wheels", "requirements.txt", "SHA256SUMS"
_TAR = ".tar"


def filled(template: str, told: Mapping[str, str]) -> str:
    """Read a template and fill in its $names."""
    text = resources.files("signs_export.deploy").joinpath("templates", template).read_text(encoding="utf-8")
    return Template(text).substitute(told)


def copy_templates(room: str, folder: Path, *, leaving: Collection[str] = ()) -> None:
    """Copy the files of a templates folder unchanged, without those in `leaving`."""
    for each in resources.files("signs_export.deploy").joinpath("templates", room).iterdir():
        if each.is_file() and each.name not in leaving:
            (folder / each.name).write_bytes(each.read_bytes())


def copy_bundle(bundle: Bundle, variants: Iterable[Variant], folder: Path) -> None:
    """Copy the parts of a bundle that a device needs: the manifest, the golden pictures, and these variants."""
    folder.mkdir()
    for name in (MANIFEST, bundle.manifest.golden.file.path, *(each.file.path for each in variants)):
        shutil.copyfile(bundle.folder / name, folder / name)


def files_in(folder: Path) -> tuple[Path, ...]:
    """All files of a folder, relative to it."""
    return tuple(each.relative_to(folder) for each in sorted(folder.rglob("*")) if each.is_file())


class Folder:
    """A device's folder while it is being made."""

    def __init__(self, path: Path, bundle: Bundle, platform: Platform, python: str) -> None:
        self.path = path
        self._told = {
            "platform": platform.name,
            "needs": platform.needs,
            "machine": platform.machine,
            "python": python,
            "name": shlex.quote(path.name),
            "docker": platform.for_docker,
            "digest": bundle.manifest.digest,
            "labels": ", ".join(bundle.manifest.labels),
        }

    def fill_in(self, template: str, name: str, *, executable: bool = False) -> None:
        """Write the file `name` from a template."""
        path = self.path / name
        path.write_text(filled(template, self._told), encoding="utf-8", newline="\n")
        if executable:
            path.chmod(0o755)

    def files(self) -> tuple[Path, ...]:
        """All files, relative to the folder."""
        return files_in(self.path)

    def write_sums(self) -> None:
        """Write the digests of all files, as `sha256sum --check` reads them."""
        lines = [
            f"{hashlib.sha256((self.path / each).read_bytes()).hexdigest()}  {each.as_posix()}" for each in self.files()
        ]
        (self.path / SUMS).write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")


def open_whole(path: Path) -> Bundle:
    """Open a bundle and check that every file is the one that was sealed. Raises BundleError."""
    bundle = open_bundle(path)
    for record in bundle.manifest.files:
        bundle.check(record)
    return bundle


def lightest(bundle: Bundle, name: str | None) -> Variant:
    """The variant of this name; without a name, int8 if there is one, else the first. Raises BundleNotFoundError."""
    names = [each.name for each in bundle.manifest.variants]
    return bundle.variant(name or ("int8" if "int8" in names else names[0]))


def _anybodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A tar member without its owner's name. Scripts (.sh) are executable, even if the tar file was made on Windows."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.name.endswith(".sh") else 0o644
    return member


@contextmanager
def placed(destination: Path) -> Iterator[Path]:
    """A folder to fill. It is moved to `destination` if nothing fails: as a folder, or as a file if that ends in .tar.

    Raises ExportError if the destination exists.
    """
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise ExportError(f"{destination} already exists and is not overwritten. Choose another -o, or remove it.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.") as beside:
        work = Path(beside, destination.name.removesuffix(_TAR))
        work.mkdir()
        yield work
        made = work
        if destination.suffix == _TAR:
            made = Path(beside, destination.name)
            with tarfile.open(made, "w") as archive:
                archive.add(work, work.name, filter=_anybodys)
        elif destination.is_dir():
            destination.rmdir()
        made.rename(destination)


@contextmanager
def new_folder(
    bundle: Path, destination: Path, platform: str, python: str, *, progress: Progress = no_progress
) -> Iterator[Folder]:
    """A folder with the bundle and all wheels for a system, to which files can be added; see `placed`.

    Raises ExportError for an unsupported platform or Python or if the destination exists, and BundleError if a file of
    the bundle is not the one that was sealed.
    """
    system = find_platform(platform)
    check_python(python)
    opened = open_whole(bundle)
    with placed(destination) as work:
        (work / WHEELS).mkdir()
        with progress("Finding wheels", 0):
            wheels = resolve(system, python)
        download(wheels, work / WHEELS, progress=progress)
        write_own_wheel(RUNTIME, work / WHEELS)
        write_requirements(work / WHEELS, work / REQUIREMENTS)
        shutil.copytree(opened.folder, work / BUNDLE)
        for each in (work, *work.rglob("*")):  # readable for every user
            each.chmod(0o755 if each.is_dir() else 0o644)
        yield Folder(work, opened, system, python)
