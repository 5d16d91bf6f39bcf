"""`signs predict -o` writes a row for every picture, once, whatever happens to it on the way."""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from signs_runtime import Classifier

from ..colours import LABELS
from .jobs import COMMAND, colour_of, draw, label, rows, started, summary

pytest.importorskip("pyarrow")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return draw(tmp_path / "many", 23)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_every_picture_becomes_a_row_with_the_classifiers_own_answer(bundle: Path, many: Path, out: Path) -> None:
    result = label(bundle, many, "-o", out, "--block-size", 5, "--top-k", 2, "--json")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [
        *("_job.json", "_pictures.arrow", "_summary.json"),
        *(f"part-{i:06d}.parquet" for i in range(5)),
    ]
    classifier, found = Classifier(bundle), rows(out)
    assert [Path(row["picture"]) for row in found] == sorted(many.rglob("*.png"))
    for row in found:
        own = classifier.predict(row["picture"])
        top = [(row["label"], row["probability"]), (row["label_2"], row["probability_2"])]
        assert top == [(name, pytest.approx(value)) for name, value in own.top_k(2)]
        assert (row["label"], row["error"]) == (colour_of(row["picture"]), None)
    document = summary(result)
    assert (document["pictures"], document["errors"], document["files"]) == (23, 0, 5)
    assert document["labels"] == {"red": 8, "green": 8, "blue": 7}


def test_a_table_shows_how_many_pictures_have_each_label(bundle: Path, many: Path, out: Path) -> None:
    result = label(bundle, many, "-o", out)
    assert [line.split() for line in result.stdout.splitlines()[2:]] == [
        ["red", "8", "34.8%"],
        ["green", "8", "34.8%"],
        ["blue", "7", "30.4%"],
    ]
    assert "23 rows in " in result.stderr


def test_pandas_and_duckdb_read_the_folder(bundle: Path, many: Path, out: Path) -> None:
    duckdb, pandas = pytest.importorskip("duckdb"), pytest.importorskip("pandas")
    assert label(bundle, many, "-o", out, "--block-size", 5).exit_code == 0
    frame = pandas.read_parquet(out)
    assert frame["label"].value_counts().to_dict() == {"red": 8, "green": 8, "blue": 7}
    query = f"select label, count(*) from '{out}/*.parquet' where error is null group by label"
    assert dict(duckdb.sql(query).fetchall()) == {"red": 8, "green": 8, "blue": 7}


def test_a_bad_picture_is_a_row_with_its_error(bundle: Path, many: Path, out: Path) -> None:
    (many / "0" / "broken.png").write_text("no picture")
    (many / "0" / "gone.png").symlink_to("nowhere.png")
    result = label(bundle, many, "-o", out, "--block-size", 4, "--json")
    assert (result.exit_code, summary(result)["errors"]) == (1, 2)
    bad = {Path(row["picture"]).name: row for row in rows(out) if row["error"]}
    assert bad.keys() == {"broken.png", "gone.png"}
    assert "broken.png: not a picture" in bad["broken.png"]["error"]
    assert (bad["broken.png"]["label"], bad["broken.png"]["probability"]) == (None, None)
    assert len(rows(out)) == 25
    strict = label(bundle, many, "-o", out.with_name("strict"), "--block-size", 4, "--strict")
    assert strict.exit_code == 1
    assert "--resume" in strict.stderr


def test_a_name_that_is_no_text_is_escaped(bundle: Path, many: Path, out: Path) -> None:
    os.rename(os.fsencode(many / "0" / "0000-red.png"), os.fsencode(many / "0") + b"/caf\xe9-red.png")
    assert label(bundle, many, "-o", out).exit_code == 0
    assert sum(row["picture"].endswith("caf\\udce9-red.png") for row in rows(out)) == 1


def test_a_killed_job_goes_on_where_it_was(bundle: Path, tmp_path: Path, out: Path) -> None:
    many = draw(tmp_path / "many", 2000)
    arguments = (bundle, many, "-o", out, "--block-size", 7, "--batch-size", 1)
    kept: dict[str, int] = {}
    for i in range(3):
        with started(*arguments, *(["--resume"] if i else [])) as child:
            while len(list(out.glob("*.parquet"))) < 12 * (i + 1) and child.poll() is None:
                time.sleep(0.002)
        now = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
        assert kept.items() <= now.items()  # what was written is not written again
        kept = now
    assert 0 < len(kept) < 286
    result = label(*arguments, "--resume", "--json")
    assert result.exit_code == 0, result.output
    assert Counter(row["picture"] for row in rows(out)) == Counter(map(str, many.rglob("*.png")))
    assert all(row["label"] == colour_of(row["picture"]) for row in rows(out))
    assert 0 < summary(result)["labelled_now"] < 2000
    assert not list(out.glob(".*"))


def test_a_finished_job_has_nothing_left_to_resume(bundle: Path, many: Path, out: Path) -> None:
    label(bundle, many, "-o", out)
    again = label(bundle, many, "-o", out, "--resume", "--json")
    assert (again.exit_code, summary(again)["labelled_now"], summary(again)["pictures"]) == (0, 0, 23)


def test_a_job_is_not_mixed_with_another(bundle: Path, many: Path, out: Path, tmp_path: Path) -> None:
    label(bundle, many, "-o", out, "--block-size", 5)
    before = {path: path.read_bytes() for path in out.iterdir()}
    for arguments, word in (
        ((many,), "--resume"),
        ((many, "--resume", "--block-size", 6), "--block-size 5, not 6"),
        ((many, "--resume", "--block-size", 5, "--top-k", 2), "--top-k 1, not 2"),
        ((many / "0", "--resume", "--block-size", 5), "PICTURES"),
    ):
        result = label(bundle, *arguments, "-o", out)
        assert (result.exit_code, word in result.stderr) == (1, True), result.stderr
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    (other := tmp_path / "other").mkdir()
    (other / "notes.txt").touch()
    assert "is not empty" in label(bundle, many, "-o", other).stderr


def test_rows_of_another_job_are_not_taken_for_ones_own(bundle: Path, many: Path, out: Path, tmp_path: Path) -> None:
    label(bundle, many, "-o", out, "--block-size", 5)
    label(bundle, many / "0", "-o", tmp_path / "half", "--block-size", 5)
    shutil.copy(tmp_path / "half" / "part-000001.parquet", out / "part-000001.parquet")
    result = label(bundle, many, "-o", out, "--block-size", 5, "--resume")
    assert (result.exit_code, "part-000001.parquet was not written by this job" in result.stderr) == (1, True)
    (out / "part-000001.parquet").write_bytes(b"")  # as a store keeps what was cut off: it is written again
    assert label(bundle, many, "-o", out, "--block-size", 5, "--resume").exit_code == 0
    assert len(rows(out)) == 23
    for path in (out / "part-000001.parquet", out / "_pictures.arrow"):
        path.unlink()
    assert "_pictures.arrow is missing" in label(bundle, many, "-o", out, "--block-size", 5, "--resume").stderr
    (out / "_job.json").write_text("{}")
    assert "_job.json is damaged" in label(bundle, many, "-o", out, "--block-size", 5, "--resume").stderr


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system")
def test_a_full_disk_is_explained_and_the_job_goes_on_elsewhere(bundle: Path, tmp_path: Path) -> None:
    many, out = draw(tmp_path / "many", 60), tmp_path / "disk"
    out.mkdir()
    # The rows of one block fit and those of all do not; what was written is copied out of the mount.
    script = f'mount -t tmpfs -o size=24k tmpfs {out} && "$@"; code=$?; cp -r {out} {tmp_path}/saved; exit $code'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *COMMAND]
    arguments = [str(bundle), str(many), "-o", str(out), "--block-size", "5"]
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    child = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert (child.returncode, "free some disk space" in child.stderr) == (1, True), child.stderr
    saved = tmp_path / "saved"
    assert 0 < len(list(saved.glob("*.parquet"))) < 12
    assert not list(saved.glob(".*"))
    result = label(bundle, many, "-o", saved, "--block-size", 5, "--resume")
    assert result.exit_code == 0, result.output
    assert len(rows(saved)) == 60


def test_ctrl_c_leaves_whole_files(bundle: Path, tmp_path: Path, out: Path) -> None:
    many = draw(tmp_path / "many", 2000)
    with started(bundle, many, "-o", out, "--block-size", 7, "--batch-size", 1) as child:
        while len(list(out.glob("*.parquet"))) < 5:
            assert child.poll() is None
            time.sleep(0.002)
        child.terminate()
        _, said = child.communicate()
    assert (child.returncode, "Interrupted" in said) == (143, True)
    assert not list(out.glob(".*"))
    assert label(bundle, many, "-o", out, "--block-size", 7, "--resume").exit_code == 0


def test_options_of_a_job_need_an_output(bundle: Path, many: Path, out: Path) -> None:
    for option in (["--resume"], ["--engine", "ray"], ["--column", "x"]):
        result = label(bundle, many, *option)
        assert (result.exit_code, "-o FOLDER" in result.stderr) == (2, True)
    assert label(bundle, many, "-o", out, "--csv").exit_code == 2


def test_missing_packages_are_named(bundle: Path, many: Path, out: Path) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from signs_runtime.commands.signs import signs; signs()"
    command = [sys.executable, "-c", code, "predict", str(bundle), str(many)]
    child = subprocess.run([*command, "-o", str(out)], capture_output=True, text=True)
    assert (child.returncode, "pip install pyarrow" in child.stderr) == (1, True), child.stderr
    assert subprocess.run(command, capture_output=True).returncode == 0  # no job, no pyarrow


def test_a_missing_model_is_named(many: Path, out: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path / "none"):
        result = label(path, many, "-o", out)
        assert (result.exit_code, str(path) in result.stderr) == (1, True), result.output


def test_a_single_model_file_labels_too(bundle: Path, many: Path, out: Path) -> None:
    arguments = (bundle / "fp32.onnx", many, "-o", out, "--block-size", 9)
    assert label(*arguments).exit_code == 0
    assert label(*arguments, "--resume").exit_code == 0
    assert {row["label"] for row in rows(out)} == set(LABELS)
