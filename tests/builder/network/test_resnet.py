"""ResNet-50 is the seeds', layer for layer: golden values of both blocks, names, shapes and counts."""

import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from signs_builder.errors import ModelError
from signs_builder.network.resnet import convolutional_block, final_side, identity_block, resnet50, smallest_side

IDENTITY_GOLDEN = [0.94822985, 0.0, 1.16101444, 2.747859, 0.0, 1.36677003]
CONVOLUTIONAL_GOLDEN = [0.09018463, 1.23489773, 0.46822017, 0.0367176, 0.0, 0.65516603]


def draw_kernels_as_tensorflow_1(model: keras.Model) -> None:
    """The course's `glorot_uniform(seed=0)`, each kernel drawn in a fresh graph."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            height, width, fan_in, fan_out = layer.kernel.shape
            limit = math.sqrt(6 / (height * width * (fan_in + fan_out)))
            with tf.Graph().as_default(), tf.compat.v1.Session() as session:
                kernel = session.run(tf.compat.v1.random_uniform(layer.kernel.shape, -limit, limit, seed=0))
            layer.kernel.assign(kernel)


@pytest.mark.parametrize(
    ("block", "golden"), [(identity_block, IDENTITY_GOLDEN), (convolutional_block, CONVOLUTIONAL_GOLDEN)]
)
def test_a_block_gives_the_courses_golden_values(block: Callable[..., keras.KerasTensor], golden: list[float]) -> None:
    np.random.seed(1)
    x = np.random.randn(3, 4, 4, 6).astype(np.float32)
    image = keras.Input((4, 4, 6))
    model = keras.Model(image, block(image, 2, (2, 4, 6), 1, "a"))
    draw_kernels_as_tensorflow_1(model)
    out = keras.ops.convert_to_numpy(model(x, training=False))
    assert np.allclose(out[1][1][0], golden, atol=1e-5, rtol=0)


def test_it_has_the_seeds_parameters() -> None:
    model = resnet50()
    assert model.count_params() == 23_600_006
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == 23_546_886


def seeds_summary() -> dict[str, tuple[int, ...]]:
    """Name and output shape (without the batch) of every layer that the seeds name, for 64x64 and six classes."""
    expected: dict[str, tuple[int, ...]] = {"conv1": (32, 32, 64), "bn_conv1": (32, 32, 64)}
    stages = [(2, 15, (64, 64, 256), "abc"), (3, 8, (128, 128, 512), "abcd")]
    stages += [(4, 4, (256, 256, 1024), "abcdef"), (5, 2, (512, 512, 2048), "abc")]
    for stage, side, filters, blocks in stages:
        for block in blocks:
            branches = dict(zip(("2a", "2b", "2c"), filters, strict=True))
            if block == "a":
                branches["1"] = filters[2]
            for branch, n in branches.items():
                for prefix in ("res", "bn"):
                    expected[f"{prefix}{stage}{block}_branch{branch}"] = (side, side, n)
    return expected | {"avg_pool": (1, 1, 2048), "flatten": (2048,), "fc6": (6,)}


def test_it_has_every_layer_of_the_seeds_by_name_and_output_shape() -> None:
    model = resnet50()
    expected = seeds_summary()
    assert len(expected) == 2 + 2 * (16 * 3 + 4) + 3
    assert {name: tuple(model.get_layer(name).output.shape[1:]) for name in expected} == expected
    unnamed = [layer for layer in model.layers if layer.name not in expected]
    kinds = {type(layer).__name__: 0 for layer in unnamed}
    for layer in unnamed:
        kinds[type(layer).__name__] += 1
    # The seeds' own, whose names Keras counted up, and the Rescaling that takes the place of their X / 255.
    assert kinds == {
        "InputLayer": 1,
        "Rescaling": 1,
        "ZeroPadding2D": 1,
        "MaxPooling2D": 1,
        "Activation": 49,
        "Add": 16,
    }
    assert model.get_layer("pool1").output.shape == (None, 15, 15, 64)


def test_the_weights_are_in_the_seeds_order() -> None:
    assert [weight.name for weight in resnet50().get_layer("bn2a_branch2a").weights] == [
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    ]


@pytest.mark.parametrize(("shape", "classes"), [((37, 37, 3), 2), ((96, 128, 3), 10), ((64, 64, 1), 3)])
def test_other_sizes_and_class_counts_fit(shape: tuple[int, int, int], classes: int) -> None:
    model = resnet50(shape, classes)
    assert model.name == "ResNet50"
    assert model.output.shape == (None, classes)
    assert model.layers[-1].name == f"fc{classes}"
    before_pool = model.get_layer("res5c_relu").output.shape
    assert before_pool[1:3] == (final_side(shape[0]), final_side(shape[1]))


def test_a_narrower_network_has_the_same_layers_with_fewer_filters() -> None:
    full, slim, least = resnet50(), resnet50(width=0.375), resnet50(width=0.001)
    assert [layer.name for layer in slim.layers] == [layer.name for layer in full.layers]
    for layer in full.layers:
        if hasattr(layer, "filters"):
            assert slim.get_layer(layer.name).filters == 0.375 * layer.filters  # all are multiples of 64
            assert least.get_layer(layer.name).filters == 8
    assert slim.count_params() == 3_354_966
    assert resnet50(width=0.1).get_layer("conv1").filters == 8


def test_a_size_that_does_not_fit_is_refused_with_the_smallest_that_does() -> None:
    assert smallest_side() == 37
    for shape in ((36, 36, 3), (64, 36, 3), (1, 1, 3), (8, 64, 3)):
        with pytest.raises(ModelError, match="each side must have at least 37 pixels"):
            resnet50(shape)
    with pytest.raises(ModelError, match="two classes"):
        resnet50(classes=1)


def test_probabilities_come_out_and_pixels_are_scaled_inside() -> None:
    model = resnet50((37, 37, 3), 4)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 37, 37, 3), np.uint8)
    probabilities = keras.ops.convert_to_numpy(model(pixels.astype(np.float32), training=False))
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    scaled = keras.Model(model.input, model.get_layer("rescaling").output)(pixels.astype(np.float32))
    assert np.allclose(keras.ops.convert_to_numpy(scaled), pixels / 255, atol=1e-6)
