"""Makes a folder that runs a bundle on Ray Serve."""

import json
import shutil
from pathlib import Path

from signs_export.deploy.folder import BUNDLE, WHEELS, copy_templates, files_in, filled, open_whole, placed
from signs_export.deploy.wheels import RUNTIME, write_own_wheel

_FILLED = ("README.md", "serve.yaml")


def deploy_ray_serve(bundle: Path, destination: Path) -> tuple[Path, ...]:
    """Write the folder, and return its files.

    Raises ExportError if the destination exists, and BundleError if a file of the bundle is not the sealed one.
    """
    opened = open_whole(bundle)
    with placed(destination) as folder:
        copy_templates("ray", folder, leaving=_FILLED)
        place = destination.with_name(folder.name).absolute() / BUNDLE  # where it will be
        told = {
            "labels": ", ".join(opened.manifest.labels),
            "digest": opened.manifest.digest,
            "bundle": json.dumps(str(place)),  # JSON's strings are YAML's
        }
        for name in _FILLED:
            (folder / name).write_text(filled(f"ray/{name}", told), encoding="utf-8")
        shutil.copytree(opened.folder, folder / BUNDLE)
        (folder / WHEELS).mkdir()
        write_own_wheel(RUNTIME, folder / WHEELS)
        return files_in(folder)
