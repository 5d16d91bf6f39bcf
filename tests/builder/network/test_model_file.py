"""Models are saved whole or not at all, and loaded without running code from the file."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from signs_builder.disk import check_room
from signs_builder.errors import DiskFullError, ModelError
from signs_builder.network.model_file import check_output, load_model, save_model, weights_sha256


def small_model(*layers: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, keras.layers.Flatten(), keras.layers.Dense(3)])


@keras.saving.register_keras_serializable("tests")
class Doubling(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return 2 * x


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_model_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    model = small_model(keras.layers.Conv2D(4, 3))
    path = tmp_path / f"model{suffix}"
    if suffix == ".keras":
        save_model(model, path)
    else:
        model.save(path)
    again = load_model(path)
    assert weights_sha256(again) == weights_sha256(model)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_the_optimizers_state_stays_behind(tmp_path: Path) -> None:
    model = small_model(keras.layers.Conv2D(200, 3))
    save_model(model, tmp_path / "fresh.keras")
    model.compile("adam", "mse")
    model.fit(np.zeros((2, 8, 8, 3)), np.zeros((2, 3)), verbose=0)
    save_model(model, tmp_path / "trained.keras")
    fresh, trained = ((tmp_path / f"{name}.keras").stat().st_size for name in ("fresh", "trained"))
    assert trained == pytest.approx(fresh, rel=0.05)
    assert weights_sha256(load_model(tmp_path / "trained.keras")) == weights_sha256(model)


def test_the_digest_sees_one_changed_weight() -> None:
    model = small_model()
    before = weights_sha256(model)
    kernel = model.layers[-1].kernel.numpy()
    kernel[0, 0] = np.nextafter(kernel[0, 0], np.float32(9))
    model.layers[-1].kernel.assign(kernel)
    assert weights_sha256(model) != before


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_is_not_run(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    trap = tmp_path / "trap"
    target = str(trap)
    code = keras.layers.Lambda(lambda x: [x, os.open(target, os.O_CREAT)][0], output_shape=(8, 8, 3))
    model = small_model(code)
    model.save(path)
    trap.unlink(missing_ok=True)
    with pytest.raises(ModelError, match="Lambda"):
        load_model(path)
    assert not trap.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_custom_layer_is_refused_by_its_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    small_model(Doubling()).save(path)
    code = (
        "from pathlib import Path; from signs_builder.errors import ModelError\n"
        "from signs_builder.network.model_file import load_model\n"
        f"try: load_model(Path({str(path)!r}))\nexcept ModelError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "custom class" in said
    assert "Doubling" in said


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    small_model().save(path)
    whole = path.read_bytes()
    for content, words in (
        (b"", "is empty"),
        (b"nonsense", "is damaged"),
        (whole[: len(whole) // 2], "cut off"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=words):
            load_model(path)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No Keras model"):
        load_model(tmp_path / "none.keras")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_save_that_fails_leaves_the_old_model_and_no_litter(tmp_path: Path) -> None:
    import resource  # not on Windows

    path = tmp_path / "model.keras"
    save_model(small_model(), path)
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))  # the kernel refuses to write a larger file
    try:
        with pytest.raises(OSError, match="large"):
            save_model(small_model(keras.layers.Conv2D(200, 3)), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["model.keras"]


def test_an_output_that_cannot_be_is_refused_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder"):
        check_output(tmp_path, small_model())
    with pytest.raises(DiskFullError, match="MB are needed"):
        check_room(tmp_path / "new", 10**18)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        check_room(tmp_path / "file" / "new", 0)
    code = (
        "import os; from pathlib import Path; from signs_builder.disk import check_room; os.setuid(65534)\n"
        "try: check_room(Path('/new'), 0)\nexcept PermissionError as error: print(error)"
    )
    if hasattr(os, "getuid") and os.getuid() == 0:  # who may write everywhere, unless he becomes nobody
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "not writable" in said.stdout, said.stderr
    assert not (tmp_path / "new").exists()
