"""A crash, a full disk or a failed gate leaves the old bundle, whole."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from signs_builder.data.dataset import Dataset
from signs_builder.errors import DiskFullError
from signs_export import destination as placing
from signs_export.bundle_files import FAILED_FILES
from signs_export.config import ExportConfig
from signs_export.destination import check_destination, failed_folder, replaced_whole
from signs_export.errors import ExportError
from signs_export.export import seal_model
from signs_export.gate.compare import verdict_at_once
from signs_export.gate.evidence import Evidence
from signs_export.gate.verdict import ParityError, Verdict
from signs_export.job import Job
from signs_export.source.reference import Reference
from signs_runtime.bundle.manifest import OLDEST_SCHEMA, SCHEMA, Budget


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_text("old")
    (folder / "gone.onnx").write_text("old")
    return folder


def write_and_raise(destination: Path, text: str, error: BaseException) -> None:
    with replaced_whole(destination, keep_after=(ParityError,)) as work:
        (work / "manifest.json").write_text(text)
        raise error


def failed_verdict(evidence: Evidence) -> Verdict:
    nothing = np.full_like(evidence.expected, np.nan)
    return verdict_at_once("fp32", evidence, nothing, "float32", Budget(1.0, 1e-5, None))


def test_the_new_folder_takes_the_place_of_the_old_and_nothing_else_is_left(old: Path) -> None:
    with replaced_whole(old) as work:
        (work / "manifest.json").write_text("new")
        assert content(old) == {"manifest.json": b"old", "gone.onnx": b"old"}
    assert content(old) == {"manifest.json": b"new"}
    assert [path.name for path in old.parent.iterdir()] == ["bundle"]


def test_a_first_bundle_is_made_with_the_folders_above_it(tmp_path: Path) -> None:
    destination = tmp_path / "a" / "b" / "bundle"
    with replaced_whole(destination) as work:
        (work / "manifest.json").write_text("new")
    assert content(destination) == {"manifest.json": b"new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_error_leaves_the_old_folder_and_no_litter(old: Path, error: type[BaseException]) -> None:
    before = content(old)
    with pytest.raises(error):
        write_and_raise(old, "new", error())
    assert content(old) == before
    assert [path.name for path in old.parent.iterdir()] == ["bundle"]


def test_a_failed_gate_keeps_the_new_folder_aside_and_the_old_in_place(old: Path, evidence: Evidence) -> None:
    before = content(old)
    for attempt in ("first", "second"):
        with pytest.raises(ParityError):
            write_and_raise(old, attempt, ParityError(failed_verdict(evidence), ""))
        assert content(old) == before
        assert content(failed_folder(old)) == {"manifest.json": attempt.encode()}


def test_a_process_killed_at_any_moment_leaves_a_whole_bundle(tmp_path: Path) -> None:
    """One process seals bundle after bundle, each with 40 files that agree; it is killed over and over."""
    destination = tmp_path / "bundle"
    code = (
        "import itertools; from pathlib import Path; from signs_export.destination import replaced_whole\n"
        "for i in itertools.count():\n"
        f"    with replaced_whole(Path({str(destination)!r})) as work:\n"
        "        for name in range(40): (work / f'{name}').write_text(str(i))\n"
        "    print(i, flush=True)\n"
    )
    rng = np.random.default_rng(0)
    generations = 0
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()  # the first bundle is there
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        generations += len(process.stdout.readlines())
        process.wait()
        found = content(destination)
        assert found.keys() == {str(name) for name in range(40)}
        assert len(set(found.values())) == 1
    assert generations > 0


def test_a_full_disk_is_an_error_and_leaves_the_old_folder(tmp_path: Path) -> None:
    """A real file system of one megabyte, mounted in a namespace of the test's own."""
    code = (
        "from pathlib import Path; from signs_export.destination import replaced_whole\n"
        f"bundle = Path({str(tmp_path)!r}) / 'bundle'\n"
        "with replaced_whole(bundle) as work: (work / 'manifest.json').write_text('old')\n"
        "try:\n"
        "    with replaced_whole(bundle) as work: (work / 'fp32.onnx').write_bytes(bytes(10**7))\n"
        "except OSError as error: print(error.strerror)\n"
        "print([path.name for path in bundle.parent.iterdir()], (bundle / 'manifest.json').read_text())\n"
    )
    script = f'mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec {sys.executable} -c "$0"'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, code]
    if shutil.which("unshare") is None or subprocess.run([*command[:3], "true"], capture_output=True).returncode:
        pytest.skip("this system lets no test mount a small file system (unshare)")
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    if "mount:" in result.stderr:
        pytest.skip(f"this system lets no test mount a small file system: {result.stderr.strip()}")
    assert result.stdout.splitlines() == ["No space left on device", "['bundle'] old"], result.stderr


@pytest.fixture
def bundle(converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path) -> Path:
    seal_model(converted, Job(reference, dataset, ExportConfig()), tmp_path / "real" / "bundle")
    return tmp_path / "real" / "bundle"


def test_a_destination_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ExportError, match="not overwritten"):
        check_destination(tmp_path, 0)
    with pytest.raises(ExportError, match="not a folder"):
        check_destination(tmp_path / "thesis.tex", 0)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(ExportError, match="not a folder"):
        check_destination(link, 0)
    with pytest.raises(ExportError, match="mount point"):
        check_destination(Path("/proc"), 0)
    (tmp_path / "empty").mkdir()
    check_destination(tmp_path / "empty", 0)
    with pytest.raises(DiskFullError, match="full"):
        check_destination(tmp_path / "empty", 10**18)


def test_a_folder_with_somebody_elses_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"manifest_version": 3}')
    with pytest.raises(ExportError, match="no readable bundle"):
        check_destination(tmp_path, 0)


def test_a_bundle_is_replaced_and_one_with_notes_beside_it_is_not(bundle: Path) -> None:
    check_destination(bundle, 0)
    (bundle / "MY_NOTES.md").write_text("keep me")
    with pytest.raises(ExportError, match=r"holds more than its bundle \(MY_NOTES\.md\)"):
        check_destination(bundle, 0)


def test_a_bundle_of_an_older_schema_is_replaced_and_one_of_a_newer_is_not(tmp_path: Path) -> None:
    for name in ("fp32.onnx", "int8.onnx", "golden.npz", "report.html"):
        (tmp_path / name).touch()
    manifest = tmp_path / "manifest.json"
    for schema in range(1, OLDEST_SCHEMA):
        manifest.write_text(json.dumps({"schema": schema}))
        check_destination(tmp_path, 0)
    for other in (SCHEMA + 1, 0, True, "2", None):
        manifest.write_text(json.dumps({"schema": other}))
        with pytest.raises(
            ExportError, match=f"is of schema {other!r}, but this runtime reads {OLDEST_SCHEMA} to {SCHEMA}"
        ):
            check_destination(tmp_path, 0)
    manifest.write_text(json.dumps({"schema": OLDEST_SCHEMA - 1}))
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ExportError, match=r"holds more than its bundle \(thesis\.tex\)"):
        check_destination(tmp_path, 0)


def test_a_place_for_failures_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    aside = failed_folder(tmp_path / "bundle")
    aside.mkdir()
    for name in FAILED_FILES:
        (aside / name).touch()
    check_destination(tmp_path / "bundle", 0)
    (aside / "thesis.tex").touch()
    with pytest.raises(ExportError, match="holds something else"):
        check_destination(tmp_path / "bundle", 0)
    shutil.rmtree(aside)
    aside.touch()
    with pytest.raises(ExportError, match="holds something else"):
        check_destination(tmp_path / "bundle", 0)


def test_what_a_killed_process_left_is_removed_and_a_living_ones_work_is_not(old: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {number: old.with_name(f".bundle.{platform.node()}.{number}") for number in (dead.pid, os.getppid())}
    for folder in names.values():
        folder.mkdir()
    with replaced_whole(old) as work:
        (work / "manifest.json").write_text("new")
    assert not names[dead.pid].exists()
    assert names[os.getppid()].exists()


def test_a_bundle_keeps_git_from_its_line_endings_and_is_replaced_with_that(bundle: Path) -> None:
    attributes = bundle / ".gitattributes"
    assert attributes.read_bytes() == b"* -text\n"
    assert not any(b"\r\n" in path.read_bytes() for path in bundle.iterdir() if path.suffix in (".json", ".md", ".xml"))
    check_destination(bundle, 0)
    attributes.write_text("*.onnx filter=lfs\n")
    with pytest.raises(ExportError, match=r"holds more than its bundle \(\.gitattributes\)"):
        check_destination(bundle, 0)


def test_a_folder_is_replaced_without_what_only_linux_has(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, which exchanges no folders so, and on Windows, which opens none."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "O_DIRECTORY")
    with replaced_whole(old) as work:
        (work / "manifest.json").write_text("new")
    assert content(old) == {"manifest.json": b"new"}
    assert [path.name for path in old.parent.iterdir()] == ["bundle"]


def test_a_folder_that_a_program_holds_open_stays_and_the_message_says_so(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where a folder with an open file cannot be renamed."""
    rename = os.rename

    def held(source: Path, target: Path) -> None:
        if source == old:
            raise PermissionError(13, "Access is denied", str(source))
        rename(source, target)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "rename", held)
    before = content(old)
    with pytest.raises(ExportError, match="a program has one of its files open"), replaced_whole(old) as work:
        (work / "manifest.json").write_text("new")
    assert content(old) == before
    assert [path.name for path in old.parent.iterdir()] == ["bundle"]


def test_no_process_is_asked_where_asking_ends_it(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows os.kill ends the process: there a day's silence is a dead process's."""

    def kill(process: int, number: int) -> None:
        raise AssertionError(f"{process} would have been ended")

    fresh, abandoned = (old.with_name(f".bundle.{platform.node()}.{number}") for number in (999_998, 999_999))
    for folder in (fresh, abandoned):
        folder.mkdir()
    os.utime(abandoned, (0, 0))
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(placing, "WINDOWS", True)
    placing.remove_leftovers(old.parent, f".bundle.{platform.node()}.")
    assert (fresh.exists(), abandoned.exists()) == (True, False)
