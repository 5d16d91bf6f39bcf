"""A board's folder holds all that it needs, installs without a network, and proves the bundle."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import signs_runtime
from signs_export.deploy import folder as deploying
from signs_export.deploy.board import deploy_board
from signs_export.deploy.platforms import PLATFORMS, BoardConfig
from signs_export.deploy.wheels import RUNTIME, Wheel, download, write_own_wheel, write_requirements
from signs_export.errors import ExportError
from signs_runtime import BundleError
from signs_runtime.commands.signs import signs

STORED = Path(__file__).parents[2] / "runtime/bundle/stored/schema6"
HERE = f"{sys.platform}-{platform.machine()}"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NO_NETWORK = ["unshare", "--net", "--map-root-user"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board's folder for this machine."""
    if HERE not in PLATFORMS:
        pytest.skip(f"no board folder for {HERE}")
    output = tmp_path_factory.mktemp("deployed") / "a-board"
    program = output.with_name("loop.py")
    program.write_text("print('a program')\n")
    words = ["deploy", "board", str(STORED), "--platform", HERE, "--python", PYTHON]
    result = CliRunner().invoke(signs, [*words, "--service", str(program), "-o", str(output), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert set(document["files"]) == {
        path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()
    }
    return output


def test_it_installs_and_proves_itself_without_a_network(folder: Path, tmp_path: Path) -> None:
    alone = NO_NETWORK if subprocess.run([*NO_NETWORK, "true"], check=False).returncode == 0 else []
    environment = {**os.environ, "PYTHON": sys.executable, "TUNE": "0", "XDG_CACHE_HOME": str(tmp_path)}
    command = [*alone, "sh", str(folder / "install.sh"), str(tmp_path / "venv")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout
    assert "Next: " in result.stdout
    installed = subprocess.run([tmp_path / "venv/bin/pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "signs-runtime" in installed
    assert "tensorflow" not in installed


def test_a_damaged_folder_and_another_machine_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    model = copy / "bundle" / "fp32.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    environment = {**os.environ, "PYTHON": sys.executable}
    result = subprocess.run(["sh", copy / "install.sh"], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "files are damaged" in result.stderr
    assert not (copy / "venv").exists()
    shutil.copytree(folder / "bundle", copy / "bundle", dirs_exist_ok=True)
    (copy / "mine").mkdir()
    (copy / "mine" / "file").write_text("mine")
    result = subprocess.run(
        ["sh", copy / "install.sh", copy / "mine"], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, "is not a virtual environment" in result.stderr) == (1, True), result.stderr
    assert (copy / "mine" / "file").read_text() == "mine"
    script = copy / "install.sh"
    for here, other, words in (
        (platform.machine(), "riscv", "this folder is for"),
        (PYTHON, "3.9", "is not Python 3.9"),
    ):
        script.write_text((folder / "install.sh").read_text().replace(here, other))
        result = subprocess.run(["sh", script], env=environment, capture_output=True, text=True, check=False)
        assert (result.returncode, words in result.stderr) == (1, True), result.stderr


def test_every_file_is_listed_and_every_wheel_has_its_hash(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(listed) == files - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert len(requirements) == len(list((folder / "wheels").iterdir()))
    for name in ("install.sh", "README.md", "signs.service"):
        assert (
            "$" not in (folder / name).read_text().replace("$target", "").replace("$here", "") or name == "install.sh"
        )
    assert f'[ "$(uname -m)" = "{platform.machine()}" ]' in (folder / "install.sh").read_text()
    assert (folder / "program.py").read_text() == "print('a program')\n"


def test_a_tar_file_holds_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploying, "resolve", lambda platform, python: [])  # no other wheels than the runtime's
    files = deploy_board(STORED, tmp_path / "new" / "board.tar", BoardConfig())
    with tarfile.open(tmp_path / "new" / "board.tar") as archive:
        assert {each.name for each in archive if each.isfile()} == {f"board/{path.as_posix()}" for path in files}
        assert archive.getmember("board/install.sh").mode == 0o755
        assert {(each.uid, each.uname) for each in archive} == {(0, "")}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["board.tar"]


@pytest.mark.parametrize(
    ("platform", "python", "words"),
    [
        ("linux-armv7l", "3.11", "32-bit"),
        ("linux-i686", "3.11", "32-bit"),
        ("musllinux-aarch64", "3.11", "musl"),
        ("linux-riscv64", "3.11", "this processor"),
        ("windows-amd64", "3.11", "Unix shell"),
        ("darwin-x86_64", "3.11", "Choose one of: linux-aarch64"),
        ("linux-aarch64", "3.9", "does not run on Python 3.9"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(tmp_path: Path, platform: str, python: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        deploy_board(STORED, tmp_path / "board", BoardConfig(platform, python))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_nothing_half_made_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="is not overwritten"):
        deploy_board(STORED, taken, BoardConfig())
    with pytest.raises(BundleError):
        deploy_board(tmp_path / "none", tmp_path / "board", BoardConfig())
    with pytest.raises(ExportError, match="No program"):
        deploy_board(STORED, tmp_path / "board", BoardConfig(program=tmp_path / "none.py"))
    with pytest.raises(ExportError, match="systemd cannot use a folder named 'a board'"):
        deploy_board(STORED, tmp_path / "a board", BoardConfig(program=Path(__file__)))
    damaged = tmp_path / "damaged"
    shutil.copytree(STORED, damaged)
    content = (damaged / "fp32.onnx").read_bytes()
    (damaged / "fp32.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"fp32\.onnx"):
        deploy_board(damaged, tmp_path / "board", BoardConfig())
    shutil.rmtree(damaged)
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    other = Wheel("a", wheel.as_uri(), 7, "0" * 64)
    monkeypatch.setattr(deploying, "resolve", lambda platform, python: [other])
    with pytest.raises(ExportError, match="SHA-256 differs"):
        deploy_board(STORED, tmp_path / "board", BoardConfig())
    gone = Wheel("a", (tmp_path / "gone.whl").as_uri(), 7, "0" * 64)
    with pytest.raises(ExportError, match="cannot be downloaded"):
        download([gone], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"taken", wheel.name}


def test_the_runtimes_wheel_is_the_installed_runtime(tmp_path: Path) -> None:
    wheel = write_own_wheel(RUNTIME, tmp_path)
    package = Path(str(signs_runtime.__file__)).parent
    sources = {path.relative_to(package.parent).as_posix() for path in package.rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert sources <= names
        assert all(archive.read(name) == (package.parent / name).read_bytes() for name in sources)
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        listed = {line.split(",")[0] for line in archive.read(f"{info}/RECORD").decode().splitlines()}
        assert listed == names
    first = wheel.read_bytes()
    assert write_own_wheel(RUNTIME, tmp_path).read_bytes() == first
    write_requirements(tmp_path, tmp_path / "requirements.txt")
    (line,) = (tmp_path / "requirements.txt").read_text().splitlines()
    assert line == f"signs_runtime=={signs_runtime.__version__} --hash=sha256:{hashlib.sha256(first).hexdigest()}"
