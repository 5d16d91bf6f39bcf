"""What is labelled: lists, rows of Parquet files, and clear errors for what is none of these."""

from pathlib import Path
from typing import Any

import pytest

from ..colours import LABELS
from ..serving.running import file_of
from .jobs import colour_of, draw, label, rows, summary

pyarrow = pytest.importorskip("pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet")

COLOURS = [LABELS[i % 3] for i in range(50)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_list_names_pictures_relative_to_itself(bundle: Path, tmp_path: Path, out: Path) -> None:
    many = draw(tmp_path / "many", 6)
    listed = [f"many/0/0000-{LABELS[0]}.png", "", str(many / "1" / f"0001-{LABELS[1]}.png"), "many/gone.png"]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    result = label(bundle, tmp_path / "list.txt", "-o", out, "--json")
    assert (result.exit_code, summary(result)["pictures"], summary(result)["errors"]) == (1, 3, 1)
    assert [row["label"] for row in rows(out)] == [LABELS[0], LABELS[1], None]


@pytest.mark.parametrize("kind", ["binary", "struct"])
def test_rows_of_parquet_are_pictures(bundle: Path, tmp_path: Path, out: Path, kind: str) -> None:
    files: list[Any] = [file_of(colour) for colour in COLOURS]
    files[20], files[30] = None, b"no picture"
    if kind == "struct":
        files = [each and {"bytes": each, "path": None} for each in files]
    table = pyarrow.table({"id": list(range(50)), "image": files})
    parquet.write_table(table, tmp_path / "hands.parquet", row_group_size=8)  # 7 groups, cut by blocks of 11
    result = label(bundle, tmp_path / "hands.parquet", "-o", out, "--block-size", 11, "--json")
    assert (result.exit_code, summary(result)["errors"]) == (1, 2), result.output
    found = rows(out)
    assert [row["picture"] for row in found] == [f"{tmp_path}/hands.parquet#{i}" for i in range(50)]
    assert [row["label"] for row in found] == [None if i in (20, 30) else COLOURS[i] for i in range(50)]
    assert "hands.parquet#20: cannot be read (no picture in this row)" in found[20]["error"]
    assert "hands.parquet#30: not a picture" in found[30]["error"]


def test_parquet_and_pictures_lie_in_one_folder(bundle: Path, tmp_path: Path, out: Path) -> None:
    many = draw(tmp_path / "many", 5)
    parquet.write_table(pyarrow.table({"image": [file_of("red")] * 3}), many / "more.parquet")
    parquet.write_table(pyarrow.table({"name": ["a"]}), many / "about.parquet")
    arguments = (bundle, many, many / "more.parquet", "-o", out, "--block-size", 4)
    assert label(*arguments).exit_code == 0
    assert len(rows(out)) == 5 + 3 + 3  # what is named twice is labelled twice


def test_the_column_is_named_where_several_hold_bytes(bundle: Path, tmp_path: Path, out: Path) -> None:
    path = tmp_path / "two.parquet"
    parquet.write_table(pyarrow.table({"image": [file_of("red")], "mask": [file_of("blue")], "n": [1]}), path)
    refused = label(bundle, path, "-o", out)
    assert (refused.exit_code, "--column" in refused.stderr, "image, mask" in refused.stderr) == (1, True, True)
    for column, words in (("n", "holds no bytes"), ("x", "does not exist")):
        assert words in label(bundle, path, "-o", out, "--column", column).stderr
    assert label(bundle, path, "-o", out, "--column", "mask").exit_code == 0
    assert [row["label"] for row in rows(out)] == ["blue"]


def test_bad_sources_are_errors_with_a_reason_and_write_no_job(bundle: Path, tmp_path: Path, out: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    (tmp_path / "corrupt.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    parquet.write_table(pyarrow.table({"n": [1]}), tmp_path / "numbers.parquet")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)))
    for source, words in (
        (tmp_path / "none", "no such file or folder"),
        (empty, "no pictures here"),
        (tmp_path / "corrupt.parquet", "not a readable Parquet file"),
        (tmp_path / "numbers.parquet", "must be binary"),
        (tmp_path / "binary.txt", "is not text"),
        (tmp_path / "none.txt", "none.txt"),
        ("s3://key:secret@bucket/x", "holds credentials"),
        ("ftp9://host/x", "cannot be used"),
    ):
        result = label(bundle, source, "-o", out)
        assert (result.exit_code, words in result.stderr) == (1, True), result.output
        assert "secret" not in result.stderr
    assert label(bundle, draw(tmp_path / "many", 3), "-o", out).exit_code == 0  # nothing was left in its way


def test_a_parquet_file_that_changes_under_a_job_costs_its_rows_only(bundle: Path, tmp_path: Path, out: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"image": [file_of("red")] * 6}), path)
    many = draw(tmp_path / "many", 6)
    assert label(bundle, path, many, "-o", out, "--block-size", 3).exit_code == 0
    for i in (0, 3):
        (out / f"part-{i:06d}.parquet").unlink()
    path.write_bytes(b"PAR1")
    result = label(bundle, path, many, "-o", out, "--block-size", 3, "--resume")
    assert result.exit_code == 1
    found = rows(out)
    assert [bool(row["error"]) for row in found] == [True] * 3 + [False] * 9
    assert "the Parquet file cannot be read" in found[0]["error"]
    assert all(row["label"] == colour_of(row["picture"]) for row in found[6:])
