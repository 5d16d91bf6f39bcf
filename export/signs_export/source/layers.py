"""Lists the layers of a Keras model and records their outputs while it computes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from numpy.typing import NDArray

# Gets a layer's index and its call, and calls it.
Wrapper = Callable[[int, Callable[[], Any]], Any]  # Any: what layers give


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers, including those of nested models, but not models or layers that contain layers (attention)."""
    found: list[keras.layers.Layer] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += layers_of(layer)
        elif not layer._flatten_layers(include_self=False):
            found.append(layer)
    return found


def innermost_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers that contain no others, including those inside other layers and nested models."""
    return [
        layer
        for layer in model._flatten_layers()
        if not isinstance(layer, keras.Model) and not layer._flatten_layers(include_self=False)
    ]


def last_operation(model: keras.Model) -> keras.Operation:
    """The operation that gives a model's output, also inside a nested model."""
    operation = model.outputs[0]._keras_history.operation
    return last_operation(operation) if isinstance(operation, keras.Model) else operation


def readers_of(layer: keras.layers.Layer) -> list[keras.Operation]:
    """The operations that read a layer's outputs in its models; there may be several, or one twice."""
    given = {id(tensor) for node in layer._inbound_nodes for tensor in node.output_tensors}
    return [node.operation for node in layer._outbound_nodes if given & {id(each) for each in node.input_tensors}]


@contextmanager
def wrapped_calls(layers: Sequence[keras.layers.Layer], wrapper: Wrapper) -> Iterator[None]:
    """Within this context, `wrapper` calls these layers, however nested, and gets their indices in `layers`."""
    places = {id(layer): i for i, layer in enumerate(layers)}
    call = keras.layers.Layer.__call__

    def wrapped(self: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if id(self) not in places:
            return call(self, *args, **kwargs)
        return wrapper(places[id(self)], lambda: call(self, *args, **kwargs))

    keras.layers.Layer.__call__ = wrapped
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = call


@contextmanager
def convolving_by_group() -> Iterator[None]:
    """Within this context, grouped convolutions compute group by group.

    Keras has XLA compile them, in uncompiled models again at each call. XLA's versions take many times as long, above
    all in float64.
    """
    base = next(each for each in keras.layers.Conv2D.__mro__ if "convolution_op" in vars(each))
    convolve = base.convolution_op

    def by_group(self: keras.layers.Layer, inputs: Any, kernel: Any) -> Any:
        settings = {
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
        }
        if self.groups == 1 or self.padding == "causal":
            return convolve(self, inputs, kernel)
        even = len(set(self.strides)) == 1 and 1 in (max(self.strides), max(self.dilation_rate))
        if self.rank == 2 and kernel.shape[-2] == 1 and even:
            by_channel = keras.ops.reshape(kernel, (*kernel.shape[:2], self.groups, -1))
            return keras.ops.depthwise_conv(inputs, by_channel, **settings)
        axis = -1 if self.data_format == "channels_last" else 1
        parts = zip(
            keras.ops.split(inputs, self.groups, axis=axis), keras.ops.split(kernel, self.groups, axis=-1), strict=True
        )
        return keras.ops.concatenate([keras.ops.conv(*part, **settings) for part in parts], axis=axis)

    base.convolution_op = by_group
    try:
        yield
    finally:
        base.convolution_op = convolve


def layer_outputs(model: keras.Model, pixels: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Each layer's output, in call order, for a batch of the model's input.

    Layers that are called more than once, or that give more than one tensor, are left out.
    """
    layers = layers_of(model)
    given: dict[str, list[Any]] = {}

    def record(place: int, call: Callable[[], Any]) -> Any:
        output = call()
        given.setdefault(layers[place].name, []).append(output)
        return output

    with wrapped_calls(layers, record), convolving_by_group():
        model(keras.ops.convert_to_tensor(pixels), training=False)
    return {
        name: keras.ops.convert_to_numpy(outputs[0])
        for name, outputs in given.items()
        if len(outputs) == 1 and keras.ops.is_tensor(outputs[0])
    }
