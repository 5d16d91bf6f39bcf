"""What the Dockerfile says is done here without Docker: its installation, its user, its read-only file system."""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from signs_export.deploy.container import deploy_container
from signs_export.deploy.platforms import PLATFORMS, ContainerConfig
from signs_export.errors import ExportError

STORED = Path(__file__).parents[2] / "runtime/bundle/stored/schema6"
HERE = f"{sys.platform}-{platform.machine()}"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

# All of the disk read-only but a fresh /tmp, no network, a user that owns nothing, no capability.
CONFINED = """
mount --make-rprivate /
mount --bind "$1" /mnt
mount --bind "$2" /opt
mount --bind / / && mount -o remount,ro,bind /
mount -o remount,ro,bind /mnt
mount -o remount,ro,bind /opt
mount -t tmpfs tmpfs /tmp
shift 2
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def test_the_container_proves_its_bundle_as_nobody_on_a_read_only_disk(tmp_path: Path) -> None:
    if HERE not in PLATFORMS or os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root on Linux, and util-linux")
    folder = tmp_path / "container"
    deploy_container(STORED, folder, ContainerConfig(HERE, PYTHON))
    steps = re.sub(r"\\\n\s*", "", (folder / "Dockerfile").read_text())
    told = dict(line.split(maxsplit=1) for line in steps.splitlines() if line and not line.startswith("#"))
    assert told["FROM"] == f"--platform={PLATFORMS[HERE].for_docker} python:{PYTHON}-slim"
    assert all(path.stat().st_mode & 0o004 for path in (folder / "bundle").rglob("*"))
    assert told["USER"] == "10001:10001"
    venv.create(folder / "root", with_pip=True)
    install = told["RUN"].partition(" && ")[0].replace("/wheels/requirements.txt", str(folder / "requirements.txt"))
    words = shlex.split(install.replace(" /wheels", f" {folder / 'wheels'}"))
    subprocess.run([folder / "root/bin/python", *words[1:]], check=True)
    entry, command = (re.findall(r'"([^"]+)"', told[key]) for key in ("ENTRYPOINT", "CMD"))
    assert re.findall(r'"([^"]+)"', told["HEALTHCHECK"]) == [*entry, *command] == ["signs", "verify", "/bundle"]
    packages = f"/mnt/root/lib/python{PYTHON}/site-packages"  # of an image's own Python, which is here the tests'
    environment = [*shlex.split(told["ENV"]), "PYTHONHOME=/opt", "LD_LIBRARY_PATH=/opt/lib", f"PYTHONPATH={packages}"]
    signs = [f"/opt/bin/python{PYTHON}", "/mnt/root/bin/signs"]
    run = ["env", "-i", *environment, *signs, *command[:-1], f"/mnt{command[-1]}"]
    isolated = ["unshare", "--mount", "--net", "sh", "-ec", CONFINED, "sh", str(folder), sys.base_prefix]
    tried = subprocess.run([*isolated, "touch", "/mnt/written"], capture_output=True, text=True, check=False)
    if "Operation not permitted" in tried.stderr and "mount" in tried.stderr:
        pytest.skip("no mount namespaces here")
    assert tried.returncode != 0
    assert not (folder / "written").exists()
    result = subprocess.run([*isolated, *run], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout


def test_a_container_runs_linux(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Containers run Linux"):
        deploy_container(STORED, tmp_path / "container", ContainerConfig("macos-arm64"))
    assert list(tmp_path.iterdir()) == []
