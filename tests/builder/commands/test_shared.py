"""The builder's share of `signs`, found through entry points where signs-edge is installed."""

import subprocess
import sys

import pytest

from .invoke import run


def test_one_tool_grows_with_what_is_installed() -> None:
    result = run("--help")
    for command in (
        "cross-validate",
        "draw",
        "evaluate",
        "export",
        "info",
        "parity",
        "predict",
        "summary",
        "train",
        "verify",
    ):
        assert f"  {command} " in result.output


def test_help_starts_neither_keras_nor_numpy() -> None:
    code = (
        "import sys; from click.testing import CliRunner\n"
        "from signs_runtime.commands.signs import signs; from signs_export.commands.export import build_and_export\n"
        "for command, arguments in ((signs, []), (signs, ['train']), (signs, ['parity']), (build_and_export, [])):\n"
        "    assert CliRunner().invoke(command, [*arguments, '--help']).exit_code == 0\n"
        "print({'numpy', 'PIL', 'keras', 'tensorflow', 'onnx', 'onnxruntime', 'h5py', 'rich'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["summary", "--image-size", "36"], 1, "each side must have at least 37 pixels"),
        (["summary", "--image-size", "big"], 2, "not a size such as"),
        (["summary", "--image-size", "0x64"], 2, "not a size such as"),
        (["summary", "none.keras", "--classes", "10"], 2, "MODEL has its own"),
        (["summary", "none.keras"], 1, "No Keras model at none.keras"),
        (["train", "none"], 1, "No data set at none"),
        (["train", __file__], 1, "it is a file, but DATA must be a folder of pictures"),
        (["train", "-o", "model.h5"], 2, "must end in .keras"),
        (["train", "--epochs", "0"], 2, "0 is not in the range"),
        (["train", "--recipe", "secret"], 2, "'secret' is not"),
        (["train", "--learning-rate", "0"], 2, "0"),
        (["train", "--strategy", "mirrored"], 1, "two devices or more"),
        (["train", "--strategy", "data-parallel", "--validate"], 1, "cannot validate"),
        (["train", "--decode-to", "notes.txt"], 2, "must end in .npy"),
        (["train", "--init-weights", "none.h5"], 1, "No weights at none.h5"),
        (["cross-validate", "--resume"], 2, "No such option"),
        (["train", "--channels", "BGR"], 2, "No such option"),
        (["cross-validate", "--folds", "1"], 2, "1 is not in the range"),
        (["evaluate", "none.keras", "synthetic"], 1, "No Keras model at none.keras"),
        (["evaluate", "none.onnx", "synthetic", "--scaling", "unit"], 2, "leave it out for an export"),
        (["summary", "--plot", "model.gif"], 2, "must end in .svg"),
    ],
)
def test_bad_input_is_explained(arguments: list[str], code: int, words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, words in result.stderr) == (code, True), result.output
    assert "Traceback" not in result.output
