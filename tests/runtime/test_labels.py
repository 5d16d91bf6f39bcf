"""Labels that people cannot tell apart are refused wherever a bundle is opened."""

from pathlib import Path

import pytest

from signs_runtime import BundleFormatError, Classifier
from signs_runtime.bundle.manifest import check_labels
from signs_runtime.labels import find_lookalikes

from .colours import SIZE
from .tiny_onnx import colour_classifier


@pytest.mark.parametrize(
    "other",
    [
        "cat ",
        " cat",
        "ca\u200bt",
        "cat\u200f",
        "\u202acat",
        "c\u00adat",
        "cat\u3000",
        "\ufeffcat",
        "cat\ufe0f",
        "ca\u034ft",
        "\u115fcat",
        "\u2800cat",
    ],
)
def test_labels_that_look_the_same_are_found_and_refused(tmp_path: Path, other: str) -> None:
    labels = ("cat", "dog", other)
    assert find_lookalikes(labels) == ("cat", other)
    path = tmp_path / "model.onnx"
    path.write_bytes(colour_classifier(labels, SIZE))
    with pytest.raises(BundleFormatError, match="look the same"):
        Classifier(path)
    with pytest.raises(BundleFormatError, match="look the same"):
        check_labels(labels)


def test_an_accent_may_be_written_in_one_way_only_and_a_label_shows_something() -> None:
    assert find_lookalikes(("caf\u00e9", "cafe\u0301")) is not None
    assert find_lookalikes(("a", "\u200b")) == ("", "\u200b")


def test_labels_of_all_scripts_and_cases_can_be_told_apart() -> None:
    assert find_lookalikes(("cat", "Cat", "c a t", "می\u200cخواهم", "👩\u200d🚀", "T-shirt/top", "0", "00")) is None
