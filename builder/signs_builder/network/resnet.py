"""Builds ResNet-50 as in the course "Convolutional Neural Networks", for any input size and number of classes.

He et al., Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385. The layer names are those of
the ImageNet weights published for Keras.
"""

import keras
import numpy as np
from keras import layers

from signs_builder.errors import ModelError

# (stage, filters of the three convolutions, number of blocks, stride of the first)
STAGES = (
    (2, (64, 64, 256), 3, 1),
    (3, (128, 128, 512), 4, 2),
    (4, (256, 256, 1024), 6, 2),
    (5, (512, 512, 2048), 3, 2),
)
STEM = 64  # filters of conv1
POOL = 2  # the average pool's window and stride
_LANES = 8  # filters are multiples of this, which suits vector units


def _kernels() -> keras.initializers.Initializer:
    """As in the course, each kernel is drawn from seed 0, so kernels of the same shape start equal."""
    return keras.initializers.GlorotUniform(seed=0)


def resnet50(
    input_shape: tuple[int, int, int] = (64, 64, 3), classes: int = 6, *, shortcuts: bool = True, width: float = 1.0
) -> keras.Model:
    """Build an untrained ResNet-50 that takes pixels, 0 to 255 of shape (n, *input_shape), and gives probabilities.

    Every convolution has `width` times ResNet-50's filters, rounded to a multiple of 8. Without `shortcuts` it is the
    plain network that He et al. compare with. Raises ModelError if less than 2x2 is left before the average pool, or
    for fewer than two classes.
    """
    height, across, channels = input_shape
    if final_side(height) < POOL or final_side(across) < POOL:
        raise ModelError(
            f"ResNet-50 cannot take pictures of {height}x{across}; each side must have at least "
            f"{smallest_side()} pixels."
        )
    if classes < 2:
        raise ModelError(f"A classifier needs two classes or more, not {classes}.")
    image = keras.Input((height, across, channels), name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(image)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(_scaled(STEM, width), 7, strides=2, kernel_initializer=_kernels(), name="conv1")(x)
    x = layers.BatchNormalization(name="bn_conv1")(x)
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)  # (n, 15, 15, 64) for 64x64
    for stage, full, blocks, strides in STAGES:
        filters = (_scaled(full[0], width), _scaled(full[1], width), _scaled(full[2], width))
        for block in "abcdef"[:blocks]:
            if not shortcuts:
                x = _main_path(x, 3, filters, stage, block, strides if block == "a" else 1)
                x = layers.Activation("relu", name=f"res{stage}{block}_relu")(x)
            elif block == "a":
                x = convolutional_block(x, 3, filters, stage, block, strides)
            else:
                x = identity_block(x, 3, filters, stage, block)
    x = layers.AveragePooling2D(POOL, name="avg_pool")(x)  # (n, 1, 1, 2048) for 64x64
    x = layers.Flatten(name="flatten")(x)
    probabilities = layers.Dense(
        classes, activation="softmax", kernel_initializer=_kernels(), dtype="float32", name=f"fc{classes}"
    )(x)
    return keras.Model(image, probabilities, name="ResNet50")


def identity_block(
    x: keras.KerasTensor, f: int, filters: tuple[int, int, int], stage: int, block: str
) -> keras.KerasTensor:
    """Three convolutions (the middle one f x f) with an identity shortcut; the shape stays the same."""
    return _join(x, _main_path(x, f, filters, stage, block, strides=1), stage, block)


def convolutional_block(
    x: keras.KerasTensor, f: int, filters: tuple[int, int, int], stage: int, block: str, strides: int = 2
) -> keras.KerasTensor:
    """Like the identity block, but the first convolution has `strides`, and the shortcut is a 1x1 convolution."""
    shortcut = layers.Conv2D(
        filters[2], 1, strides=strides, kernel_initializer=_kernels(), name=f"res{stage}{block}_branch1"
    )(x)
    shortcut = layers.BatchNormalization(name=f"bn{stage}{block}_branch1")(shortcut)
    return _join(shortcut, _main_path(x, f, filters, stage, block, strides), stage, block)


def _main_path(
    x: keras.KerasTensor, f: int, filters: tuple[int, int, int], stage: int, block: str, strides: int
) -> keras.KerasTensor:
    convolutions = (("2a", 1, strides, "valid"), ("2b", f, 1, "same"), ("2c", 1, 1, "valid"))
    for (branch, kernel, stride, padding), n in zip(convolutions, filters, strict=True):
        name = f"{stage}{block}_branch{branch}"
        x = layers.Conv2D(n, kernel, strides=stride, padding=padding, kernel_initializer=_kernels(), name=f"res{name}")(
            x
        )
        x = layers.BatchNormalization(name=f"bn{name}")(x)
        if branch != "2c":
            x = layers.Activation("relu", name=f"res{name}_relu")(x)
    return x


def _join(shortcut: keras.KerasTensor, x: keras.KerasTensor, stage: int, block: str) -> keras.KerasTensor:
    x = layers.Add(name=f"res{stage}{block}")([x, shortcut])
    return layers.Activation("relu", name=f"res{stage}{block}_relu")(x)


def _scaled(filters: int, width: float) -> int:
    """`width` times `filters`, rounded to a multiple of 8; at least 8."""
    return max(_LANES, round(filters * width / _LANES) * _LANES)


def final_side(side: int) -> int:
    """Height or width before the average pool, for a picture's height or width."""
    side = (side + 2 * 3 - 7) // 2 + 1  # conv1, padded by 3
    side = (side - 3) // 2 + 1  # pool1
    for *_, strides in STAGES:
        side = (side - 1) // strides + 1
    return side


def smallest_side() -> int:
    """The smallest height or width that fills the average pool's window."""
    return next(side for side in range(1, 1000) if final_side(side) >= POOL)


def start_independently(model: keras.Model, seed: int) -> None:
    """Draw each kernel from its own random stream, and start every residual block as its shortcut alone.

    Kernels that start equal, as in the course, learn the same. Goyal et al. advise that a block's last batch norm
    starts at 0: https://arxiv.org/abs/1706.02677, section 5.1.
    """
    layers_with_kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    seeds = np.random.SeedSequence(seed).generate_state(len(layers_with_kernels))
    for layer, own in zip(layers_with_kernels, seeds, strict=True):
        layer.kernel.assign(keras.initializers.GlorotUniform(int(own))(layer.kernel.shape))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization) and layer.name.endswith("branch2c"):
            layer.gamma.assign(keras.ops.zeros(layer.gamma.shape))
