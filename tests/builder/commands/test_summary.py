"""`signs summary`."""

import json
import shutil
from pathlib import Path

import pytest

from .invoke import run


def test_summary_prints_the_layer_table_with_its_totals() -> None:
    result = run("summary")
    assert result.exit_code == 0
    for word in ("res2a_branch2a", "fc6", "23,600,006", "23,546,886", "53,120", "Connected to"):
        assert word in result.stdout
    document = json.loads(run("summary", "--image-size", "96x64", "--classes", "10", "--json").stdout)
    assert document["layers"][0]["output_shape"] == [None, 96, 64, 3]
    assert document["layers"][-1] == {
        "name": "fc10",
        "type": "Dense",
        "output_shape": [None, 10],
        "parameters": 2048 * 10 + 10,
    }
    assert document["parameters"]["total"] - document["parameters"]["trainable"] == 53_120


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs graphviz's dot")
def test_the_architecture_is_drawn(tmp_path: Path) -> None:
    result = run("summary", "--plot", tmp_path / "new" / "model.svg")
    assert result.exit_code == 0, result.output
    drawing = (tmp_path / "new" / "model.svg").read_text()
    assert all(name in drawing for name in ("res2a_branch2a", "fc6", "<svg"))


def test_a_machine_without_dot_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("summary", "--plot", tmp_path / "model.svg")
    assert (result.exit_code, "install graphviz" in result.stderr) == (1, True)
