"""A model in onnxruntime's own format answers as the bundle, and its operators are listed."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from signs_export.deploy import small
from signs_export.deploy.platforms import SmallConfig
from signs_export.deploy.small import deploy_small
from signs_export.errors import ExportError
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.commands.signs import signs

STORED = Path(__file__).parents[2] / "runtime/bundle/stored/schema6"


@pytest.mark.parametrize("processor", ["arm", "amd64"])
def test_it_answers_the_golden_pictures_and_names_every_operator(tmp_path: Path, processor: str) -> None:
    output = tmp_path / "small"
    words = ["deploy", "small", str(STORED), "--processor", processor, "-o", str(output)]
    result = CliRunner().invoke(signs, words)
    assert result.exit_code == 0, result.output
    (model,) = output.glob("*.ort")
    bundle = open_bundle(STORED)
    golden = bundle.golden()
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"image": golden.images})
    assert np.abs(given - golden.probabilities).max() <= bundle.variant().tolerance
    listed = (output / "operators.config").read_text()
    assert str(tmp_path) not in listed
    nodes = onnx.load(STORED / bundle.variant().file.path).graph.node
    assert {node.op_type for node in nodes} <= set(re.findall(r"[,;]([A-Z][A-Za-z]+)", listed))
    assert model.name in (output / "README.md").read_text()
    assert {path.name for path in output.iterdir()} == {
        model.name,
        "operators.config",
        "README.md",
        "manifest.json",
        "golden.npz",
    }


def test_a_conversion_that_changes_the_answers_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = small._convert

    def other(onnx_file: Path, *rest: object) -> None:
        model = onnx.load(onnx_file)
        sharpness = model.graph.initializer[0]
        sharpness.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(sharpness), sharpness.name))
        onnx.save(model, tmp_path / onnx_file.name)
        convert(tmp_path / onnx_file.name, *rest)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(small, "_convert", other)
    with pytest.raises(ExportError, match="conversion changed it"):
        deploy_small(STORED, tmp_path / "small", SmallConfig())
    assert not (tmp_path / "small").exists()
