"""Computes layers of a training by faster operators of TensorFlow on CPUs, with results equal up to rounding."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras

Tensor = Any  # a tensor of TensorFlow, which Keras's back end may not be
FEW_PIXELS = 4  # convolutions of larger maps are faster than copying a kernel's patches for a matrix product


@contextmanager
def faster_layers(model: keras.Model) -> Iterator[None]:
    """Inside this context, TensorFlow traces a model's layers with faster operators, if it computes on CPUs alone.

    Keras computes a batch norm with a dozen operators; here it is one. Before each convolution, TensorFlow rearranges
    its kernel; where a map has few pixels, that takes longer than to multiply. So convolutions with 1x1 kernels, and
    others on up to FEW_PIXELS pixels, are matrix products here. What benchmarks/training/epoch_time.py measures, on
    ResNet-50 and 64x64 pixels: an epoch takes three quarters of the time.
    """
    with ExitStack() as changed:
        for layer in model.layers if _computes_on_cpus() else ():
            if type(layer) is keras.layers.BatchNormalization:
                changed.enter_context(_replaced(layer, "call", _batch_norm))
            if type(layer) is keras.layers.Conv2D:
                changed.enter_context(_replaced(layer, "convolution_op", _convolution))
        try:
            yield
        finally:  # traced functions must not outlive the context
            model.train_function = model.test_function = model.predict_function = None


def _computes_on_cpus() -> bool:
    is_tensorflow = keras.backend.backend() == "tensorflow"
    return is_tensorflow and all(device.startswith("cpu") for device in keras.distribution.list_devices())


@contextmanager
def _replaced(layer: keras.layers.Layer, method: str, faster: Callable[..., Tensor]) -> Iterator[None]:
    """Inside this context, the layer's method is `faster`, which also gets the layer and its former method."""
    setattr(layer, method, partial(faster, layer, getattr(layer, method)))
    try:
        yield
    finally:
        delattr(layer, method)


def _batch_norm(
    layer: keras.layers.BatchNormalization,
    plain: Callable[..., Tensor],
    inputs: Tensor,
    training: bool | None = None,
    mask: Tensor = None,
) -> Tensor:
    import tensorflow as tf

    is_usual = inputs.dtype == layer.compute_dtype == "float32" and len(inputs.shape) == 4 and layer.axis in (-1, 3)
    if not (is_usual and training and layer.trainable) or layer.renorm or layer.synchronized or mask is not None:
        return plain(inputs, training=training, mask=mask)
    channels = layer.moving_mean.shape
    normed, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.ones(channels) if layer.gamma is None else tf.convert_to_tensor(layer.gamma),
        offset=tf.zeros(channels) if layer.beta is None else tf.convert_to_tensor(layer.beta),
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=layer.epsilon,
        is_training=True,
    )
    pixels = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
    variance = unbiased * tf.maximum(pixels - 1, 1) / pixels  # as Keras keeps it
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    return normed


def _convolution(layer: keras.layers.Conv2D, plain: Callable[..., Tensor], inputs: Tensor, kernel: Tensor) -> Tensor:
    import tensorflow as tf

    (rows, columns), (down, across) = layer.kernel_size, layer.strides
    if layer.groups != 1 or set(layer.dilation_rate) != {1} or layer.data_format != "channels_last":
        return plain(inputs, kernel)
    if (rows, columns) == (1, 1):
        patches = inputs[:, ::down, ::across] if (down, across) != (1, 1) else inputs
    else:
        _, height, width, _ = inputs.shape
        is_small = None not in (height, width) and height * width <= FEW_PIXELS
        if not is_small or layer.padding != "same" or (down, across) != (1, 1):
            return plain(inputs, kernel)
        around = [((size - 1) // 2, size // 2) for size in (rows, columns)]
        padded = tf.pad(inputs, [(0, 0), *around, (0, 0)])
        windows = [padded[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
        patches = tf.concat(windows, axis=-1)
    return tf.tensordot(patches, tf.reshape(kernel, (-1, layer.filters)), axes=1)
