"""`signs inspect` says what a model was trained on, and `--scaling measured` takes what it is sure of."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from signs_builder.data.hands import LABELS
from signs_export.commands.export import export
from signs_export.commands.inspect import inspect
from signs_export.commands.parity import parity
from signs_runtime.bundle.manifest import parse_manifest
from signs_runtime.pictures.input_spec import Reading

from ..inspection.cases import Case, made


def run(command: click.Command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    _, dataset = made(Case("tf"))
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        for i, label in enumerate(LABELS):
            split.part((split.labels == i).nonzero()[0]).files(folder / name / label, LABELS)
    return folder


def saved(case: Case, path: Path) -> Path:
    made(case)[0].model.save(path)
    return path


def test_inspect_tells_the_options_and_writes_the_labels_in_their_order(data: Path, tmp_path: Path) -> None:
    case = Case("tf", Reading(channels="BGR"), (5, 4, 3, 2, 1, 0))
    model = saved(case, tmp_path / "model.keras")
    labels = tmp_path / "labels.json"
    result = run(inspect, model, data, "--write-labels", labels)
    assert result.exit_code == 0, result.output
    assert "The model was trained with --scaling tf --channels BGR" in result.stdout
    assert json.loads(labels.read_text()) == list("543210")
    document = json.loads(run(inspect, model, data, "--labels", labels, "--json").stdout)
    assert (document["sure"], document["order"]["labels"]) == (True, None)
    assert document["options"] == ["--scaling", "tf", "--channels", "BGR"]
    wrong = run(export, model, data, "--scaling", "tf", "--labels", labels, "-o", tmp_path / "bundle")
    assert (wrong.exit_code, "--channels BGR" in wrong.stderr) == (3, True), wrong.stderr
    options = (*document["options"], "--labels", labels)
    assert run(export, model, data, *options, "-o", tmp_path / "bundle").exit_code == 0


def test_without_a_scaling_it_says_what_the_pictures_tell_and_measured_takes_it(data: Path, tmp_path: Path) -> None:
    model = saved(Case("tf"), tmp_path / "model.keras")
    result = run(export, model, data, "-o", tmp_path / "bundle")
    assert result.exit_code == 1
    assert "The model was trained with --scaling tf" in result.stderr
    assert "--scaling measured" in result.stderr
    result = run(export, model, data, "--scaling", "measured", "-o", tmp_path / "bundle")
    assert result.exit_code == 0, result.output
    assert parse_manifest((tmp_path / "bundle" / "manifest.json").read_bytes()).provenance.scaling == "tf"
    page = (tmp_path / "bundle" / "report.html").read_text(encoding="utf-8")
    assert "Scaling and reading were measured" in page
    assert "Measured scaling and reading" in page
    tried = json.loads((tmp_path / "bundle" / "report.json").read_text())["inspection"]
    assert tried[0]["options"] == "--scaling tf"
    assert tried[0]["p_value"] is None
    assert {each["options"] for each in tried} >= {"--scaling unit", "--scaling tf --channels BGR"}
    result = run(parity, model, tmp_path / "bundle", data, "--scaling", "measured")
    assert (result.exit_code, "'measured' is not one of" in result.stderr) == (2, True)


def test_measured_takes_nothing_that_the_pictures_do_not_settle(data: Path, tmp_path: Path) -> None:
    model = saved(Case("tf", order=(1, 0, 2, 3, 4, 5)), tmp_path / "model.keras")
    result = run(export, model, data, "--scaling", "measured", "-o", tmp_path / "bundle")
    assert (result.exit_code, "cannot decide it" in result.stderr) == (1, True)
    assert "in the order 1, 0, 2, 3, 4, 5" in result.stderr
