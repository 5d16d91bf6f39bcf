"""Makes a folder that verifies, tunes and times a bundle on a machine with an NVIDIA GPU, and writes a report."""

import shutil
from pathlib import Path

from signs_export.deploy.folder import BUNDLE, WHEELS, copy_templates, files_in, filled, open_whole, placed
from signs_export.deploy.wheels import EDGE, RUNTIME, write_own_wheel

_README = "README.md"


def deploy_gpu_check(bundle: Path, destination: Path) -> tuple[Path, ...]:
    """Write the folder, and return its files.

    Raises ExportError if the destination exists, and BundleError if a file of the bundle is not the sealed one.
    """
    opened = open_whole(bundle)
    with placed(destination) as folder:
        copy_templates("gpu", folder, leaving=[_README])
        labels = ", ".join(opened.manifest.labels)
        (folder / _README).write_text(filled(f"gpu/{_README}", {"labels": labels}), encoding="utf-8")
        shutil.copytree(opened.folder, folder / BUNDLE)
        (folder / WHEELS).mkdir()
        for distribution in (RUNTIME, EDGE):
            write_own_wheel(distribution, folder / WHEELS)
        return files_in(folder)
