"""`build-and-export`, `signs export` and `signs parity`: exit codes, words, and nothing lost whatever happens."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import onnx
import pytest
import tf2onnx
from click.testing import CliRunner, Result

from signs_builder.data.dataset import Dataset
from signs_builder.network.model_file import save_model
from signs_export import variants
from signs_export.commands.export import build_and_export
from signs_export.commands.saved_models import check_ours, note_ours
from signs_export.errors import ExportError
from signs_runtime.commands.signs import signs

from ..networks import network, train_a_little

SCRIPTS = Path(sys.executable).parent


def run(*arguments: object, command: click.Command = build_and_export) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, keras_file: Path, data: Path) -> Path:
    bundle = tmp_path_factory.mktemp("exported") / "bundle"
    assert run("--model", keras_file, data, "-o", bundle).exit_code == 0
    return bundle


@pytest.fixture
def sealed(exported: Path, tmp_path: Path) -> Path:
    """A bundle that a test may put in danger."""
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def test_a_model_that_exists_is_bundled_and_runs(tmp_path: Path, keras_file: Path, data: Path) -> None:
    bundle = tmp_path / "bundle"
    result = run("--model", keras_file, data, "-o", bundle)
    assert result.exit_code == 0, result.output
    for words in (
        "96 train and 24 test",
        "fp32: parity passed on 120 pictures",
        "the same label on 120",
        "signs verify",
    ):
        assert words in result.stdout
    assert run("verify", bundle, command=signs).exit_code == 0
    predicted = json.loads(run("predict", bundle, data / "test_signs", "--json", command=signs).stdout)
    assert len(predicted["predictions"]) == 24
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_export_is_the_same_and_speaks_json(tmp_path: Path, keras_file: Path, data: Path) -> None:
    result = run("export", keras_file, data, "-o", tmp_path / "bundle", "--json", command=signs)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    (variant,) = document["variants"]
    assert variant["parity"]["passed"] is True
    assert variant["parity"]["same_label"] == variant["parity"]["pictures"] == 120
    assert document["keras_test_accuracy"]["total"] == 24


def test_an_h5_model_with_logits_is_bundled(tmp_path: Path, dataset: Dataset, data: Path) -> None:
    model = train_a_little(network(rescales=False, last=None), dataset, "tf")
    model.save(tmp_path / "old.h5")
    result = run("--model", tmp_path / "old.h5", "--scaling", "tf", data, "-o", tmp_path / "bundle")
    assert result.exit_code == 0, result.output


def test_variants_are_proved_timed_and_shown(tmp_path: Path, keras_file: Path, data: Path) -> None:
    bundle = tmp_path / "bundle"
    options = ("--int8", "--variants", "fp16", "--agreement", "0.95", "--calibration-pictures", "60")
    result = run("export", keras_file, data, *options, "-o", bundle, "--json", command=signs)
    assert result.exit_code == 0, result.output
    assert "Warning: int8 is calibrated on 60 pictures; give 100 or more." in result.stderr
    document = json.loads(result.stdout)
    assert "int8 is calibrated on 60 pictures; give 100 or more." in document["warnings"]
    fp32, int8, fp16 = document["variants"]
    assert [each["name"] for each in (fp32, int8, fp16)] == ["fp32", "int8", "fp16"]
    assert fp32["speed"]["speedup"] == 1
    assert int8["budget"]["agreement"] == 0.95
    assert int8["parity"]["test_pairs"].keys() >= {"p_value", "drop", "drop_interval_95"}
    again = run("parity", keras_file, bundle, data, command=signs)
    assert again.exit_code == 0, again.output
    assert all(f"{name}: parity passed" in again.stdout for name in ("fp32", "int8", "fp16"))
    alone = run("parity", keras_file, bundle / "fp16.onnx", data, command=signs)
    assert alone.exit_code == 0, alone.output  # in a float16 file's budget, told by the file
    assert run("verify", bundle, command=signs).exit_code == 0
    shown = run("info", bundle, command=signs).stdout
    assert "times fp32's" in shown
    for name in ("fp32", "int8", "fp16"):
        assert run("predict", bundle, data / "test_signs", "--variant", name, command=signs).exit_code == 0


def test_int8_that_misses_its_agreement_ends_with_3_and_seals_nothing(
    tmp_path: Path, keras_file: Path, data: Path
) -> None:
    """Calibrated on one picture, with no layer to be left in float."""
    options = ("--int8", "--all-int8", "--agreement", "1", "--calibration-pictures", "1")
    result = run("export", keras_file, data, *options, "-o", tmp_path / "bundle", "--json", command=signs)
    assert result.exit_code == 3, result.output
    document = json.loads(result.stdout)
    assert document["passed"] is False
    (variant,) = document["variants"]
    assert variant["name"] == "int8"
    missed = [check for check in variant["parity"]["checks"] if not check["passed"]]
    assert missed[0]["name"] == "agreement"
    assert "Keras's label on" in missed[0]["says"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.failed"]


def test_an_export_says_the_same_things_of_itself_whether_it_passed_or_failed(
    tmp_path: Path, keras_file: Path, data: Path
) -> None:
    options = ("--int8", "-o", tmp_path / "bundle", "--json", "--agreement")
    well, badly = ("0.9", "--calibration-pictures", "60"), ("1", "--calibration-pictures", "1", "--all-int8")
    good, bad = (
        json.loads(run("export", keras_file, data, *options, *how, command=signs).stdout) for how in (well, badly)
    )
    assert (good["passed"], good["bundle"]) == (True, str(tmp_path / "bundle"))
    assert (bad["passed"], bad["bundle"]) == (False, None)
    assert list(bad) == list(good)
    assert list(bad["variants"][0]) == list(good["variants"][1])
    for key in ("labels", "keras_test_accuracy"):
        assert bad[key] == good[key]
    missing = {key for key, value in bad["variants"][0].items() if value is None}
    assert missing == {"file", "tolerance", "in_float", "speed", "peak_memory"}


def test_int8_that_is_worth_nothing_is_left_out_and_the_export_passes(
    tmp_path: Path, keras_file: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "SMALL", 0.5)
    monkeypatch.setattr(variants, "WORTHWHILE", 100.0)  # a network of microseconds may be timed as anything
    result = run("export", keras_file, data, "--int8", "-o", tmp_path / "bundle", "--json", command=signs)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [each["name"] for each in document["variants"]] == ["fp32"]
    (left_out,) = document["left_out"]
    assert left_out["name"] == "int8"
    assert "of fp32's bytes" in left_out["why"]
    assert f"Warning: There is no int8 variant: {left_out['why']}." in result.stderr
    assert run("verify", tmp_path / "bundle", command=signs).exit_code == 0


@pytest.mark.parametrize(
    ("option", "words"), [("int4", "int4: choose from"), ("", "choose from"), ("int8,,", "choose")]
)
def test_an_unknown_variant_is_wrong_usage(keras_file: Path, data: Path, option: str, words: str) -> None:
    result = run("export", keras_file, data, "--variants", option, command=signs)
    assert result.exit_code == 2
    assert words in result.stderr


def test_scaling_twice_is_warned_of(tmp_path: Path, keras_file: Path, data: Path) -> None:
    result = run("--model", keras_file, "--scaling", "unit", data, "-o", tmp_path / "bundle")
    assert "already scales pixels" in result.stderr


def test_a_training_leaves_the_keras_model_beside_the_bundle(tmp_path: Path, data: Path) -> None:
    small = ("--epochs", "1", "--image-size", "37", "--width", "0.125")
    result = run(data, *small, "-o", tmp_path / "out" / "bundle", "--json")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "bundle",
        "bundle.keras",
        "bundle.training",
    ]
    again = run("parity", tmp_path / "out" / "bundle.keras", tmp_path / "out" / "bundle", data, command=signs)
    assert again.exit_code == 0, again.output
    assert "parity passed on 120 pictures" in again.stdout
    manifest = json.loads((tmp_path / "out" / "bundle" / "manifest.json").read_text())
    assert manifest["provenance"]["seed"] == 1
    assert manifest["input"]["height"] == 37
    reported = json.loads((tmp_path / "out" / "bundle" / "report.json").read_text())["training"]
    figures = json.loads((tmp_path / "out" / "bundle.training" / "training.json").read_text())
    assert [reported[key] for key in ("config", "history")] == [figures[key] for key in ("config", "history")]
    assert "<svg" in (tmp_path / "out" / "bundle" / "report.html").read_text(encoding="utf-8")


def test_parity_ends_with_3_on_a_damaged_model(sealed: Path, keras_file: Path, data: Path, tmp_path: Path) -> None:
    exported = onnx.load(sealed / "fp32.onnx")
    tensor = next(each for each in exported.graph.initializer if list(each.dims) == [8, 6])
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[np.abs(values).argmax()] *= 1.01
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(exported, tmp_path / "damaged.onnx")
    result = run("parity", keras_file, tmp_path / "damaged.onnx", data, command=signs)
    assert result.exit_code == 3
    assert "parity FAILED" in result.stderr
    assert "The worst pictures:" in result.stderr
    result = run("parity", keras_file, tmp_path / "damaged.onnx", data, "--json", command=signs)
    assert (result.exit_code, json.loads(result.stdout)["passed"]) == (3, False)


def test_the_folder_that_one_stands_in_is_a_place_too(
    tmp_path: Path, keras_file: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run("--model", keras_file, data, "-o", ".").exit_code == 0
    assert (tmp_path / "here" / "manifest.json").is_file()


@pytest.mark.parametrize("output", ["file/bundle", "x" * 300])
def test_a_place_that_cannot_be_is_explained(tmp_path: Path, keras_file: Path, data: Path, output: str) -> None:
    (tmp_path / "file").touch()
    result = run("--model", keras_file, data, "-o", tmp_path / output)
    assert (result.exit_code, "choose another path" in result.stderr) == (1, True), result.output


def test_a_converter_that_errs_ends_with_3_and_the_old_bundle_stays(
    sealed: Path, keras_file: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = tf2onnx.convert.from_function

    def converts_wrongly(*arguments: Any, **options: Any) -> tuple[onnx.ModelProto, Any]:  # Any: whatever tf2onnx takes
        model, storage = honest(*arguments, **options)
        for tensor in model.graph.initializer:
            if list(tensor.dims) == [8, 6]:  # the last layer: one of its weights changes
                values = onnx.numpy_helper.to_array(tensor).copy()
                values[0, 0] += 0.1
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        return model, storage

    monkeypatch.setattr(tf2onnx.convert, "from_function", converts_wrongly)
    before = content(sealed)
    result = run("--model", keras_file, data, "-o", sealed)
    assert result.exit_code == 3, result.output
    assert "parity FAILED on 120 pictures" in result.stderr
    assert "The worst pictures:" in result.stderr
    assert content(sealed) == before
    assert sorted(content(sealed.parent / "bundle.failed")) == ["fp32.onnx", "junit.xml", "report.html", "report.json"]
    result = run("--model", keras_file, data, "-o", sealed, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["passed"], document["bundle"]) == (3, False, None)
    assert document["variants"][0]["parity"]["worst"][0]["keras"].keys() == set("012345")


def broken_models(folder: Path) -> dict[str, tuple[keras.Model, str]]:
    a, b = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(keras.layers.Add()([a, b]))
    sick = network()
    sick.layers[-1].kernel.assign(np.full(sick.layers[-1].kernel.shape, np.nan))
    return {
        "two inputs": (keras.Model([a, b], keras.layers.Dense(6)(flat)), "2 inputs"),
        "nan weights": (sick, "not finite"),
        "no scaling": (network(rescales=False), "--scaling none|unit|tf|torch|caffe"),
    }


@pytest.mark.parametrize("name", ["two inputs", "nan weights", "no scaling"])
def test_a_model_that_is_refused_leaves_the_old_bundle(sealed: Path, data: Path, name: str) -> None:
    model, words = broken_models(sealed)[name]
    before, path = content(sealed), sealed.parent / "broken.keras"
    save_model(model, path)
    result = run("--model", path, data, "-o", sealed)
    assert (result.exit_code, words in result.stderr) == (1, True), result.output
    assert content(sealed) == before
    assert sorted(each.name for each in sealed.parent.iterdir()) == ["broken.keras", "bundle"]


def test_an_output_that_holds_something_else_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    result = run("-o", tmp_path)
    assert (result.exit_code, "not overwritten" in result.stderr) == (1, True)
    assert content(tmp_path) == {"thesis.tex": b"years of work"}
    assert not (tmp_path.parent / f"{tmp_path.name}.keras").exists()


def test_a_model_of_other_classes_than_the_data_is_refused(tmp_path: Path, keras_file: Path, data: Path) -> None:
    for picture in (data / "test_signs").iterdir():
        target = tmp_path / "train" / ("low" if picture.name[0] in "012" else "high") / picture.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture.read_bytes())
    result = run("--model", keras_file, tmp_path, "-o", tmp_path / "bundle")
    assert (result.exit_code, "6 classes, but the data has 2 labels" in result.stderr) == (1, True)
    assert not (tmp_path / "bundle").exists()


def test_a_bad_picture_stops_the_export_with_its_name(tmp_path: Path, keras_file: Path, data: Path) -> None:
    for split in ("train_signs", "test_signs"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for picture in (data / split).iterdir():
            (tmp_path / "data" / split / picture.name).write_bytes(picture.read_bytes())
    (tmp_path / "data" / "test_signs" / "1_IMG_bad.png").write_text("no picture")
    result = run("--model", keras_file, tmp_path / "data", "-o", tmp_path / "bundle")
    assert (result.exit_code, "1_IMG_bad.png: not a picture" in result.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    "arguments",
    [["--scaling", "unit"], ["--model", "a.keras", "--epochs", "3"], ["--scaling", "guess"], ["--nonsense"]],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [["export", "m.keras"], ["evaluate", "m.keras"], ["evaluate", "bundle"], ["parity", "m.keras", "bundle"]],
)
def test_a_model_without_pictures_is_wrong_usage_that_is_explained(arguments: list[str]) -> None:
    """A model of somebody's was measured on the hands that this project draws, and sealed as hands."""
    result = run(*arguments, command=signs)
    assert (result.exit_code, "DATA is missing" in result.stderr) == (2, True), result.output


def test_a_model_without_pictures_is_not_sealed_as_hands(tmp_path: Path, keras_file: Path) -> None:
    result = run("--model", keras_file, "-o", tmp_path / "bundle")
    assert (result.exit_code, "DATA is missing" in result.stderr) == (2, True), result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["hands.keras", "hands.trained.keras"])
def test_a_keras_model_that_this_command_did_not_save_is_not_replaced(
    tmp_path: Path, keras_file: Path, data: Path, name: str
) -> None:
    shutil.copy(keras_file, tmp_path / name)
    result = run(data, "-o", tmp_path / "hands", "--epochs", "1")
    assert (result.exit_code, f"{name} would be replaced" in result.stderr) == (1, True), result.output
    assert "train and" not in result.stdout  # before any work
    assert content(tmp_path) == {name: keras_file.read_bytes()}


def test_the_keras_model_of_a_bundle_is_known_as_its_own(sealed: Path, keras_file: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(keras_file, tmp_path / "bundle.keras"))
    training = tmp_path / "bundle.training"
    check_ours(path, sealed, training)  # by its weights
    with pytest.raises(ExportError, match="did not save it"):
        check_ours(path, tmp_path / "none", training)
    note_ours(path, training)
    check_ours(path, tmp_path / "none", training)  # by what the training noted
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ExportError, match="did not save it"):
        check_ours(path, tmp_path / "none", training)


def closed_pipe() -> int:
    """What `| true` leaves of stdout."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("options", [("--json",), ()])
def test_a_pipe_that_nobody_reads_costs_no_work_and_no_traceback(
    tmp_path: Path, data: Path, options: tuple[str, ...]
) -> None:
    command = [str(SCRIPTS / "build-and-export"), str(data), "--epochs", "1", "--image-size", "37", "--width", "0.125"]
    stdout = closed_pipe()
    result = subprocess.run(
        [*command, "-o", str(tmp_path / "bundle"), *options], stdout=stdout, stderr=subprocess.PIPE, text=True
    )
    os.close(stdout)
    assert result.returncode in (1, 141), result.stderr
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle.keras", "bundle.training"]


def test_copies_between_splits_are_said_wherever_an_accuracy_is(tmp_path: Path, keras_file: Path, data: Path) -> None:
    for split in ("train_signs", "test_signs"):
        shutil.copytree(data / "train_signs", tmp_path / "data" / split)
    (tmp_path / "data" / "unused").mkdir()
    caveat = "96 of the 96 test pictures also occur among the training pictures."
    result = run("--model", keras_file, tmp_path / "data", "-o", tmp_path / "bundle", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["caveats"] == [caveat]
    assert "not read: unused/" in result.stderr
    report = json.loads((tmp_path / "bundle" / "report.json").read_text())
    assert (report["caveats"], report["data"]["passed_over"]) == ([caveat], ["unused"])
    page = (tmp_path / "bundle" / "report.html").read_text(encoding="utf-8")
    assert page.count(caveat) == 3  # in the head, by the variants, by Keras's accuracy
    assert caveat in (tmp_path / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    arguments = (tmp_path / "bundle", tmp_path / "data")
    assert json.loads(run("evaluate", *arguments, "--json", command=signs).stdout)["caveats"] == [caveat]
    assert caveat in run("parity", keras_file, *arguments, command=signs).stdout


@pytest.mark.parametrize("delay", [0.5, 4.0, 9.0, 14.0])
def test_ctrl_c_leaves_the_old_bundle_and_no_litter(sealed: Path, data: Path, delay: float) -> None:
    """At the start, while TensorFlow loads, and while it builds or trains: a real process, a real signal."""
    before = content(sealed)
    process = subprocess.Popen(
        [SCRIPTS / "build-and-export", data, "--epochs", "500", "--image-size", "37", "-o", sealed],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Interrupted" in stderr
    assert content(sealed) == before
    left = {path.name for path in sealed.parent.iterdir()} - {"bundle"}
    assert left <= {"bundle.training"}  # from the first complete epoch on, its checkpoint
    assert bool(left) == ("continue with --resume" in stderr)


INTERRUPTED = """
import os, signal, sys
import numpy, onnxruntime, tf2onnx
where, number, *arguments = sys.argv[1:]
owner, name = {"convert": (tf2onnx.convert, "from_function"), "prove": (onnxruntime.InferenceSession, "run"),
               "seal": (numpy, "savez")}[where]
original = getattr(owner, name)

def interrupted(*arguments, **options):
    os.kill(os.getpid(), int(number))
    return original(*arguments, **options)

setattr(owner, name, interrupted)
from signs_export.commands.export import build_and_export
build_and_export(arguments, prog_name="build-and-export")
"""


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("convert", signal.SIGINT),
        ("prove", signal.SIGTERM),
        ("seal", signal.SIGINT),
        ("seal", signal.SIGTERM),
    ],
)
def test_a_signal_at_each_stage_of_an_export_leaves_the_old_bundle_and_no_litter(
    sealed: Path, keras_file: Path, data: Path, where: str, number: signal.Signals
) -> None:
    """The library that a stage calls is made to send the signal to its own process."""
    before = content(sealed)
    arguments = (where, int(number), "--model", keras_file, data, "-o", sealed)
    result = subprocess.run([sys.executable, "-c", INTERRUPTED, *map(str, arguments)], capture_output=True, text=True)
    assert (result.returncode, "Interrupted" in result.stderr) == (128 + number, True), result.stderr
    assert content(sealed) == before
    assert [path.name for path in sealed.parent.iterdir()] == ["bundle"]
