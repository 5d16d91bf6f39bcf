"""One small trained network and its conversion, shared by the tests that only look at them."""

from collections.abc import Iterator
from pathlib import Path

import keras
import onnx
import pytest
from networks import hands, network, train_a_little

from signs_builder.data.dataset import Dataset
from signs_builder.network.model_file import save_model
from signs_export.config import ExportConfig
from signs_export.convert.convert import convert
from signs_export.gate.evidence import Evidence, collected
from signs_export.source.reference import Reference, examine


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
    with collected(reference, dataset, ExportConfig()) as evidence:
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
