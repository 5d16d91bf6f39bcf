"""The command `signs` as an edge device has it."""

import csv
import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from signs_runtime.bundle.folder import open_bundle
from signs_runtime.commands.signs import signs

from ..colours import LABELS, SIZE
from ..tiny_onnx import colour_classifier


def run(*arguments: object) -> Result:
    return CliRunner().invoke(signs, [str(each) for each in arguments])


def test_help_names_the_edge_commands_and_the_exit_codes() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for word in ("predict", "info", "verify", "tune", "benchmark", "doctor", "Exit codes"):
        assert word in result.output


def test_predict_labels_files_and_folders_in_a_table(bundle: Path, pictures: Path) -> None:
    result = run("predict", bundle, pictures, pictures / "red.png")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()[2:]]
    assert [(Path(row[0]).stem, row[1]) for row in rows] == [(x, x) for x in ("blue", "green", "red", "red")]


def test_predict_speaks_json(bundle: Path, pictures: Path) -> None:
    document = json.loads(run("predict", bundle, pictures / "green.png", "--json").stdout)
    assert document["errors"] == []
    (prediction,) = document["predictions"]
    assert prediction["label"] == "green"
    assert prediction["probabilities"].keys() == set(LABELS)
    assert prediction["probability"] == prediction["probabilities"]["green"]


def test_one_bad_picture_is_reported_and_the_others_are_labelled(bundle: Path, pictures: Path) -> None:
    (pictures / "broken.png").write_text("no picture")
    result = run("predict", bundle, pictures)
    assert result.exit_code == 1
    assert "broken.png: not a picture" in result.stderr
    assert len(result.stdout.splitlines()) == 2 + 3
    document = json.loads(run("predict", bundle, pictures, "--json").stdout)
    assert len(document["predictions"]) == 3
    assert [Path(each["picture"]).name for each in document["errors"]] == ["broken.png"]


def test_strict_stops_at_the_first_bad_picture(bundle: Path, pictures: Path) -> None:
    (pictures / "broken.png").write_text("no picture")
    result = run("predict", bundle, pictures, "--strict")
    assert result.exit_code == 1
    assert [Path(line.split()[0]).name for line in result.stdout.splitlines()[2:]] == ["blue.png"]
    assert "broken.png: not a picture" in result.stderr


def test_predict_writes_csv_with_a_line_for_each_picture(bundle: Path, pictures: Path) -> None:
    (pictures / "broken, and more.png").write_text("no picture")
    result = run("predict", bundle, pictures, "--csv", "--top-k", 2)
    assert result.exit_code == 1
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == ["picture", "label", "probability", "label_2", "probability_2", "error"]
    assert [row["label"] for row in rows] == ["blue", "", "green", "red"]
    assert "not a picture" in rows[1]["error"]
    assert float(rows[0]["probability"]) > float(rows[0]["probability_2"])
    assert run("predict", bundle, pictures, "--csv", "--json").exit_code == 2


def test_predict_shows_the_most_probable_labels_and_what_it_is_unsure_of(bundle: Path, tmp_path: Path) -> None:
    picture = tmp_path / "grey.png"
    Image.new("RGB", (8, 6), (100, 100, 90)).save(picture)
    shown = run("predict", bundle, picture, "--top-k", 2, "--threshold", 0.9).stdout
    assert "unsure" in shown
    assert "red 0.4" in shown
    assert "green 0.4" in shown
    document = json.loads(run("predict", bundle, picture, "--top-k", 2, "--threshold", 0.9, "--json").stdout)
    (prediction,) = document["predictions"]
    assert prediction["label"] == "unsure"
    assert [each["label"] for each in prediction["top"]] == ["red", "green"]
    assert len(prediction["probabilities"]) == 3
    assert run("predict", bundle, picture, "--threshold", 2).exit_code == 2


def test_doctor_and_tune_are_commands(bundle: Path, cache: Path) -> None:
    document = json.loads(run("doctor", bundle, "--json").stdout)
    assert {"onnxruntime", "limits", "cache"} <= {each["check"] for each in document["findings"]}
    assert "--max-memory" in run("tune", "--help").stdout


def test_an_answer_that_is_not_a_number_is_an_error_not_a_label(
    bundle: Path, pictures: Path, reseal: Callable[..., None]
) -> None:
    (bundle / "fp32.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=float("nan")))
    reseal(bundle)
    result = run("predict", bundle, pictures / "red.png", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout, parse_constant=pytest.fail)
    assert document["predictions"] == []
    assert "not all probabilities" in document["errors"][0]["error"]
    result = run("verify", bundle, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout, parse_constant=pytest.fail)["variants"][0]["max_difference"] is None


@pytest.mark.parametrize("command", ["predict", "info", "verify", "tune"])
def test_a_missing_bundle_is_explained_and_ends_with_1(command: str, tmp_path: Path) -> None:
    result = run(command, tmp_path / "none", *([tmp_path] if command == "predict" else []))
    assert result.exit_code == 1
    assert "run build-and-export first" in result.stderr
    assert "Traceback" not in result.output


def test_wrong_usage_ends_with_2(bundle: Path) -> None:
    assert run("predict", bundle).exit_code == 2
    assert run("nonsense").exit_code == 2
    assert run("verify", bundle, "--threads", "0").exit_code == 2


def test_info_shows_what_the_bundle_claims(bundle: Path) -> None:
    result = run("info", bundle)
    assert result.exit_code == 0
    for word in (*LABELS, "fp32", "3/3", "colours"):
        assert word in result.stdout
    assert json.loads(run("info", bundle, "--json").stdout)["labels"] == list(LABELS)


def test_verify_passes_a_whole_bundle_and_ends_with_3_on_wrong_answers(
    bundle: Path, reseal: Callable[..., None]
) -> None:
    result = run("verify", bundle)
    assert (result.exit_code, "passed" in result.stdout) == (0, True)
    (bundle / "fp32.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=0.01))
    reseal(bundle)
    result = run("verify", bundle)
    assert (result.exit_code, "FAILED" in result.stdout) == (3, True)
    assert "does not give the golden answers" in result.stderr
    document = json.loads(run("verify", bundle, "--json").stdout)
    assert document["passed"] is False
    assert [(each["name"], each["passed"]) for each in document["checks"]] == [
        ("digests", True),
        ("labels", True),
        ("pictures", True),
        ("answers", False),
    ]


def test_verify_names_the_device_and_the_largest_difference(bundle: Path) -> None:
    shown = run("verify", bundle, "--threads", 1).stdout
    document = json.loads(run("verify", bundle, "--json").stdout)
    device, (variant,) = document["device"], document["variants"]
    for words in (device["cpu"], " ".join(device["features"]), "CPUExecutionProvider", f"{onnxruntime.__version__}"):
        assert words in shown
    assert f"{variant['max_difference']:.1e}" in shown
    assert device["provider"] == "CPUExecutionProvider"
    assert (device["machine"], device["onnxruntime"]) == (platform.machine(), onnxruntime.__version__)
    assert document["digest"] == open_bundle(bundle).manifest.digest
    assert document["digest"] in run("info", bundle).stdout


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
def test_a_name_that_is_no_text_or_that_the_terminal_lacks_is_labelled_and_shown(
    bundle: Path, pictures: Path, encoding: str, form: tuple[str, ...]
) -> None:
    folder = os.fsencode(pictures)
    for name in (b"caf\xe9.png", "Übergröße ✋.png".encode()):
        os.rename(folder + b"/red.png", folder + b"/" + name)
        os.link(folder + b"/" + name, folder + b"/red.png")
    command = [sys.executable, "-c", "from signs_runtime.commands.signs import signs; signs()", "predict"]
    child = subprocess.run(
        [*command, str(bundle), str(pictures), *form],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.count(b"red") >= 3
    if form == ("--json",):
        named = [each["picture"] for each in json.loads(child.stdout)["predictions"]]
        assert set(map(Path, named)) == set(pictures.iterdir())


def test_labels_that_a_code_page_lacks_stop_no_command(bundle: Path, reseal: Callable[..., None]) -> None:
    labels = ("красный", "緑", "blue")
    (bundle / "fp32.onnx").write_bytes(colour_classifier(labels, SIZE))
    reseal(bundle, labels=labels)
    for arguments in (["info"], ["info", "--json"], ["verify"], ["tune", "--json"]):
        command = [sys.executable, "-c", "from signs_runtime.commands.signs import signs; signs()", *arguments]
        child = subprocess.run(
            [*command, str(bundle)], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252:strict"}
        )
        assert b"Traceback" not in child.stderr, child.stderr


def test_paths_that_are_not_there_are_errors_among_the_others(bundle: Path, pictures: Path) -> None:
    (pictures / "gone.png").symlink_to("../not_fetched.png")
    (pictures / "notes.txt").touch()
    arguments = [str(bundle), str(pictures / "none.png"), str(pictures), "--json"]
    result = CliRunner().invoke(signs, ["predict", *arguments])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert [each["label"] for each in document["predictions"]] == ["blue", "green", "red"]
    assert [Path(each["picture"]).name for each in document["errors"]] == ["none.png", "gone.png"]
    assert "were skipped: 1." in result.stderr
    strict = CliRunner().invoke(signs, ["predict", *arguments, "--strict"])
    assert strict.exit_code == 1
    assert "none.png: no such file" in strict.stderr


@pytest.mark.skipif(os.name != "posix", reason="a shell closes the streams")
@pytest.mark.parametrize(
    "arguments", ["predict {bundle} {pictures}", "predict {bundle} {pictures} --csv", "info {bundle}"]
)
@pytest.mark.parametrize("closed", ["2>&-", ">&-"])
def test_a_closed_output_costs_nothing_but_itself(bundle: Path, pictures: Path, arguments: str, closed: str) -> None:
    start = f"{sys.executable} -c 'from signs_runtime.commands.signs import signs; signs()'"
    command = f"{start} {arguments.format(bundle=bundle, pictures=pictures)} {closed}"
    child = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (child.returncode, child.stderr) == (0, "")
    assert "red" in child.stdout or closed == ">&-"
