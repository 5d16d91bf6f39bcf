"""What pixels are scaled to is said by the user or by the model, never guessed."""

from typing import Any

import keras
import pytest

from signs_builder.network.resnet import resnet50
from signs_export.errors import ExportError
from signs_export.source.reference import examine
from signs_export.source.scaling import scaling_layer
from signs_runtime import InputSpec, SignsError

layers = keras.layers


def classifier(*between: keras.layers.Layer, shape: tuple[int | None, ...] = (16, 16, 3)) -> keras.Model:
    return keras.Sequential(
        [keras.Input(shape), *between, layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")]
    )


def refused(words: str, model: keras.Model, **options: Any) -> None:  # Any: whatever `examine` takes
    with pytest.raises(ExportError, match=words) as caught:
        examine(model, **options)
    assert isinstance(caught.value, SignsError)


def test_a_model_that_rescales_needs_no_scaling() -> None:
    reference = examine(classifier(layers.Rescaling(1 / 255)))
    assert reference.scaling == "none"
    assert reference.input == InputSpec(16, 16)
    assert reference.classes == 3
    assert not reference.gives_logits


def test_a_model_that_does_not_rescale_needs_to_be_told() -> None:
    refused(r"--scaling none\|unit\|tf\|torch\|caffe", classifier(layers.Conv2D(4, 3)))
    assert examine(classifier(layers.Conv2D(4, 3)), scaling="torch").scaling == "torch"


def test_a_scaling_layer_counts_only_before_anything_is_learned() -> None:
    inner = keras.Sequential([keras.Input((16, 16, 3)), layers.Rescaling(1 / 255), layers.Conv2D(3, 1)])
    assert scaling_layer(classifier(inner)) is not None
    normalization = layers.Normalization(mean=[120.0] * 3, variance=[3000.0] * 3)
    assert scaling_layer(classifier(layers.RandomFlip(), layers.ZeroPadding2D(), normalization)) is not None
    assert scaling_layer(classifier(layers.Conv2D(4, 3), layers.Rescaling(2.0))) is None
    assert scaling_layer(resnet50((37, 37, 3))) == "rescaling"


@pytest.mark.parametrize(
    "layer",
    [
        layers.Rescaling(2.0, offset=-1.0),
        layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.05, 0.05, 0.05]),
    ],
)
def test_a_layer_made_for_pixels_of_0_to_1_does_not_count_as_scaling(layer: keras.layers.Layer) -> None:
    refused("no layer that scales pixels of 0 to 255", classifier(layer, layers.Conv2D(4, 3)))
    assert examine(classifier(layer, layers.Conv2D(4, 3)), scaling="unit").scaling == "unit"
