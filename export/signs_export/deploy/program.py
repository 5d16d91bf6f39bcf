"""Makes a small program in another language: its sources, and the bundle that it proves and runs."""

from pathlib import Path

from signs_export.deploy.folder import BUNDLE, copy_bundle, copy_templates, files_in, filled, open_whole, placed
from signs_export.deploy.platforms import Language

_README = "README.md"
_ROOMS: dict[Language, tuple[str, ...]] = {"node": ("javascript", "node"), "cpp": ("cpp",)}


def deploy_program(bundle: Path, destination: Path, language: Language) -> tuple[Path, ...]:
    """Write the program and the bundle that it runs, and return the files.

    Raises ExportError if the destination exists, and BundleError if a file of the bundle is not the sealed one.
    """
    opened = open_whole(bundle)
    with placed(destination) as folder:
        for room in _ROOMS[language]:
            copy_templates(room, folder, leaving=[_README])
        labels = ", ".join(opened.manifest.labels)
        (folder / _README).write_text(filled(f"{language}/{_README}", {"labels": labels}), encoding="utf-8")
        copy_bundle(opened, opened.manifest.variants, folder / BUNDLE)
        return files_in(folder)
