"""Small trained networks and their conversions, shared by the tests that only look at them."""

from collections.abc import Iterator
from pathlib import Path

import keras
import onnx
import pytest

from signs_builder.data.dataset import Dataset
from signs_builder.network.model_file import save_model
from signs_export import variants
from signs_export.config import ExportConfig
from signs_export.convert.convert import convert
from signs_export.gate.evidence import Evidence, collected
from signs_export.int8.calibration import Calibration, choose_calibration
from signs_export.job import Job
from signs_export.source.reference import Reference, examine
from signs_runtime import InputSpec

from .networks import hands, mobile_network, network, straight_network, train_a_little


@pytest.fixture(autouse=True)
def int8_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """int8 is worth its place: of networks as small as these it may be as large as float32, and timed as anything."""
    monkeypatch.setattr(variants, "SMALL", 10.0)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return hands()


@pytest.fixture(scope="session")
def pictures() -> Dataset:
    """Enough to calibrate int8 on, and to train on until int8 is worth a look."""
    return hands(480, 60)


@pytest.fixture(scope="session")
def model(dataset: Dataset) -> keras.Model:
    return train_a_little(network(), dataset)


@pytest.fixture(scope="session")
def reference(model: keras.Model) -> Reference:
    return examine(model)


@pytest.fixture(scope="session")
def converted(reference: Reference, dataset: Dataset) -> onnx.ModelProto:
    return convert(reference, dataset.labels, ExportConfig())


@pytest.fixture(scope="session")
def evidence(reference: Reference, dataset: Dataset) -> Iterator[Evidence]:
    with collected(Job(reference, dataset, ExportConfig())) as evidence:
        yield evidence


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """The small data set as files, in CS230's layout."""
    folder = tmp_path_factory.mktemp("data")
    for name, split in (("train_signs", dataset.train), ("test_signs", dataset.test)):
        split.files(folder / name, dataset.labels)
    return folder


@pytest.fixture(scope="session")
def keras_file(tmp_path_factory: pytest.TempPathFactory, model: keras.Model) -> Path:
    path = tmp_path_factory.mktemp("keras") / "small.keras"
    save_model(model, path)
    return path


@pytest.fixture(scope="session")
def mobile(pictures: Dataset) -> Reference:
    return examine(train_a_little(mobile_network(), pictures, epochs=25))


@pytest.fixture(scope="session")
def straight(pictures: Dataset) -> keras.Model:
    return train_a_little(straight_network(), pictures, epochs=10)


@pytest.fixture(scope="session")
def straight_onnx(straight: keras.Model, pictures: Dataset) -> onnx.ModelProto:
    return convert(examine(straight), pictures.labels, ExportConfig())


@pytest.fixture(scope="session")
def calibration(pictures: Dataset) -> Calibration:
    return choose_calibration(pictures, InputSpec(32, 32), 100)


@pytest.fixture
def file(converted: onnx.ModelProto, tmp_path: Path) -> Path:
    """The conversion of the one that most tests look at, a.onnx."""
    onnx.save(converted, tmp_path / "a.onnx")
    return tmp_path / "a.onnx"
