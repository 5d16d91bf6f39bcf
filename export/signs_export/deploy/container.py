"""Makes the folder of a container: built without a network, no root, a read-only file system, a health check."""

from pathlib import Path

from signs_builder.progress import Progress, no_progress
from signs_export.deploy.folder import new_folder
from signs_export.deploy.platforms import ContainerConfig, find_platform
from signs_export.errors import ExportError


def deploy_container(
    bundle: Path, destination: Path, config: ContainerConfig, *, progress: Progress = no_progress
) -> tuple[Path, ...]:
    """Write the folder of a container, and return its files. Raises ExportError, and as `new_folder` does."""
    if not find_platform(config.platform).for_docker:
        raise ExportError(
            f"Containers run Linux, not {config.platform}. Pass --platform linux-x86_64 or linux-aarch64."
        )
    with new_folder(bundle, destination, config.platform, config.python, progress=progress) as folder:
        folder.fill_in("Dockerfile", "Dockerfile")
        folder.fill_in("container.md", "README.md")
        return folder.files()
