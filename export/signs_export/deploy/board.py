"""Makes a folder or a tar file that installs a bundle on a board without a network, and proves it there."""

import re
import shutil
from pathlib import Path

from signs_builder.progress import Progress, no_progress
from signs_export.deploy.folder import new_folder
from signs_export.deploy.platforms import BoardConfig
from signs_export.errors import ExportError

PROGRAM = "program.py"


def deploy_board(
    bundle: Path, destination: Path, config: BoardConfig, *, progress: Progress = no_progress
) -> tuple[Path, ...]:
    """Write the folder for a board, and return its files. Raises ExportError, and as `new_folder` does."""
    if config.program is not None and not config.program.is_file():
        raise ExportError(f"No program at {config.program}. Pass an existing Python file to --service.")
    name = destination.name.removesuffix(".tar")
    if config.program is not None and not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise ExportError(
            f"systemd cannot use a folder named {name!r}. Choose another -o, of letters, digits, dots, dashes and "
            "underscores."
        )
    with new_folder(bundle, destination, config.platform, config.python, progress=progress) as folder:
        folder.fill_in("install.sh", "install.sh", executable=True)
        folder.fill_in("board.md", "README.md")
        if config.program is not None:
            shutil.copyfile(config.program, folder.path / PROGRAM)
            folder.fill_in("signs.service", "signs.service")
        folder.write_sums()
        return folder.files()
