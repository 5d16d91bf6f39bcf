"""Small Keras classifiers, one for each kind of layer and joint that a classifier can hold."""

from collections.abc import Callable

import keras
from keras import layers, ops

from signs_builder.data.hands import LABELS

SIDE = 32
Body = Callable[[keras.KerasTensor], keras.KerasTensor]

BODIES: dict[str, Body] = {}  # from scaled pixels (n, SIDE, SIDE, 3) to features, (n, ...) of any rank


def body(function: Body) -> Body:
    """Register a network by its function's name."""
    BODIES[function.__name__] = function
    return function


def small_network(name: str, side: int = SIDE) -> keras.Model:
    """The network of this name, untrained: pixels of 0 to 255 in, as many probabilities out as hands have labels.

    Some of them take no other `side`.
    """
    image = keras.Input((side, side, 3))
    x = BODIES[name](layers.Rescaling(1 / 127.5, offset=-1)(image))
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x)
    elif len(x.shape) == 3:
        x = layers.GlobalAveragePooling1D()(x)
    if x.shape[-1] != len(LABELS):
        x = layers.Dense(len(LABELS))(x)
    return keras.Model(image, layers.Softmax()(x) if name == "softmax_layer" else layers.Activation("softmax")(x))


@keras.saving.register_keras_serializable("signs_zoo")  # type: ignore[untyped-decorator]
def squared_relu(x: keras.KerasTensor) -> keras.KerasTensor:
    """A function of the user's own, as an activation."""
    return ops.square(ops.relu(x)) / 4


@keras.saving.register_keras_serializable("signs_zoo")
class ChannelScale(layers.Layer):  # type: ignore[misc]  # Keras has no usable types
    """A layer of the user's own: a factor for each channel, as ConvNeXt's layer scale."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.factor = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(0.1))

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return x * self.factor


def _convolved(
    x: keras.KerasTensor, filters: int, size: int = 3, strides: int = 1, activation: str | None = "relu"
) -> keras.KerasTensor:
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return x if activation is None else layers.Activation(activation)(x)


def _stem(x: keras.KerasTensor, filters: int = 16) -> keras.KerasTensor:
    return _convolved(x, filters, strides=2)


def _excited(x: keras.KerasTensor, *, convolutions: bool = False, gate: str = "sigmoid") -> keras.KerasTensor:
    channels = x.shape[-1]
    s = layers.GlobalAveragePooling2D(keepdims=convolutions)(x)
    if convolutions:
        s = layers.Conv2D(channels // 4, 1, activation="relu")(s)
        return layers.Multiply()([x, layers.Conv2D(channels, 1, activation=gate)(s)])
    s = layers.Dense(channels // 4, activation="relu")(s)
    s = layers.Reshape((1, 1, channels))(layers.Dense(channels, activation=gate)(s))
    return layers.Multiply()([x, s])


@body
def separable_normed(x: keras.KerasTensor) -> keras.KerasTensor:
    """Xception's: no bias, a batch norm behind, the rectifier before the next."""
    x = _stem(x)
    for filters in (24, 32):
        shortcut = _convolved(x, filters, 1, 2, activation=None)
        for _ in range(2):
            x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(layers.Activation("relu")(x))
            x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Add()([layers.MaxPooling2D(3, 2, padding="same")(x), shortcut])
    return x


@body
def separable_plain(x: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.SeparableConv2D(16, 3, strides=2, activation="relu")(x)
    x = layers.SeparableConv2D(32, 3, depth_multiplier=2, activation="relu", padding="same")(x)
    return layers.SeparableConv2D(32, 5, activation="swish")(x)


@body
def transposed(x: keras.KerasTensor) -> keras.KerasTensor:
    x = _convolved(_stem(x), 24, strides=2)
    x = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(16, 4, strides=2, padding="valid", use_bias=False)(x)
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))


@body
def dilated(x: keras.KerasTensor) -> keras.KerasTensor:
    x = _stem(x)
    for rate in (2, 4):
        x = layers.Conv2D(24, 3, dilation_rate=rate, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
    return layers.DepthwiseConv2D(3, dilation_rate=2, activation="relu")(x)


@body
def grouped(x: keras.KerasTensor) -> keras.KerasTensor:
    x = _stem(x)
    for groups in (4, 2):
        x = layers.Conv2D(32, 3, groups=groups, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
    return _convolved(x, 32, 1)


@body
def depthwise_multiplied(x: keras.KerasTensor) -> keras.KerasTensor:
    x = _stem(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6)(layers.BatchNormalization(momentum=0.9)(x))
    return _convolved(x, 24, 1)


@body
def squeeze_excite(x: keras.KerasTensor) -> keras.KerasTensor:
    return _excited(_convolved(_excited(_stem(x)), 32, strides=2), convolutions=True)


@body
def cbam(x: keras.KerasTensor) -> keras.KerasTensor:
    """Channel attention by both pools through shared layers, then spatial attention by both over channels."""
    x = _convolved(_stem(x), 24)
    inner, outer = layers.Dense(6, activation="relu"), layers.Dense(24)
    pools = [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)]
    gate = layers.Activation("sigmoid")(layers.Add()([outer(inner(pool)) for pool in pools]))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 24))(gate)])
    both = layers.Concatenate()([ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)])
    return layers.Multiply()([x, layers.Conv2D(1, 7, padding="same", activation="sigmoid")(both)])


@body
def attention(x: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Reshape((64, 24))(_convolved(_stem(x), 24, strides=2))
    x = layers.Add()([x, layers.MultiHeadAttention(2, 12)(x, x)])
    return layers.LayerNormalization()(x)


@body
def vision_transformer(x: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Reshape((16, 32))(layers.Conv2D(32, 8, strides=8)(x))
    for _ in range(2):
        normed = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 8)(normed, normed)])
        inner = layers.Dense(64, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
        x = layers.Add()([x, layers.Dense(32)(inner)])
    return layers.LayerNormalization(epsilon=1e-6)(x)


@body
def mixer(x: keras.KerasTensor) -> keras.KerasTensor:
    """Dense layers over patches and over channels in turn."""
    x = layers.Reshape((16, 32))(layers.Conv2D(32, 8, strides=8)(x))
    for _ in range(2):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        y = layers.Dense(16)(layers.Dense(32, activation="gelu")(y))
        x = layers.Add()([x, layers.Permute((2, 1))(y)])
        y = layers.Dense(32)(layers.Dense(64, activation="gelu")(layers.LayerNormalization()(x)))
        x = layers.Add()([x, y])
    return x


@body
def convnext_blocks(x: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(24, 4, strides=4)(x))
    for _ in range(2):
        y = layers.DepthwiseConv2D(7, padding="same")(x)
        y = layers.Dense(96)(layers.LayerNormalization(epsilon=1e-6)(y))
        y = layers.Dense(24)(layers.Activation("gelu")(y))
        x = layers.Add()([x, ChannelScale()(y)])
    return layers.LayerNormalization(epsilon=1e-6)(layers.GlobalAveragePooling2D()(x))


@body
def conv_mixer(x: keras.KerasTensor) -> keras.KerasTensor:
    """A batch norm behind each activation."""
    x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(32, 4, strides=4, activation="gelu")(x))
    for _ in range(2):
        y = layers.DepthwiseConv2D(5, padding="same", activation="gelu")(x)
        x = layers.Add()([x, layers.BatchNormalization(momentum=0.9)(y)])
        x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(32, 1, activation="gelu")(x))
    return x


@body
def group_normed(x: keras.KerasTensor) -> keras.KerasTensor:
    for filters in (16, 32):
        x = layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = layers.Activation("relu")(layers.GroupNormalization(4)(x))
    return x


@body
def other_norms(x: keras.KerasTensor) -> keras.KerasTensor:
    """Constant scales and offsets left out, a norm first, behind a pool, behind a rectifier, unit norm."""
    x = layers.BatchNormalization(momentum=0.9, scale=False)(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization(momentum=0.9, center=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(layers.MaxPooling2D(2)(x))
    x = layers.Conv2D(24, 3, strides=2, activation="relu")(x)
    return layers.UnitNormalization()(layers.GlobalAveragePooling2D()(x))


@body
def prelu(x: keras.KerasTensor) -> keras.KerasTensor:
    for filters, shared in ((16, (1, 2)), (24, None)):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.PReLU(shared_axes=shared)(layers.BatchNormalization(momentum=0.9)(x))
    return layers.PReLU()(layers.Dense(24)(layers.GlobalAveragePooling2D()(x)))


def _activated(name: str) -> Body:
    def make(x: keras.KerasTensor) -> keras.KerasTensor:
        x = _convolved(x, 16, strides=2, activation=name)
        x = layers.Add()([x, _convolved(x, 16, activation=name)])
        return layers.Conv2D(24, 3, strides=2, activation=name)(x)

    make.__name__ = f"activation_{name}"
    return make


for _name in ("swish", "mish", "hard_sigmoid", "hard_swish", "gelu", "elu", "selu", "leaky_relu", "softplus", "tanh"):
    body(_activated(_name))


@body
def own_function(x: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Conv2D(16, 3, strides=2, activation=squared_relu)(x)
    return ChannelScale()(layers.Conv2D(24, 3, strides=2, activation=squared_relu)(x))


@body
def joined_oddly(x: keras.KerasTensor) -> keras.KerasTensor:
    """Sums and products that are broadcast, a concatenation over height, maxima, differences."""
    x = _stem(x)
    line = layers.AveragePooling2D((16, 1))(x)  # (1, 16) pixels
    x = layers.Multiply()([layers.Add()([x, line]), layers.Conv2D(1, 1, activation="sigmoid")(x)])
    x = layers.Concatenate(axis=1)([x, layers.Cropping2D(((3, 4), (0, 0)))(x)])
    one, other = layers.Conv2D(16, 3, padding="same")(x), layers.Conv2D(16, 1)(x)
    joined = [layers.Maximum()([one, other]), layers.Subtract()([one, other]), layers.Average()([one, other])]
    return layers.Activation("relu")(layers.Concatenate()(joined))


@body
def nested(x: keras.KerasTensor) -> keras.KerasTensor:
    """A functional model inside a Sequential, as Teachable Machine makes them."""
    inside = keras.Input((16, 16, 16))
    block = keras.Model(inside, layers.Add()([inside, _convolved(inside, 16)]))
    return keras.Sequential([block, layers.Conv2D(24, 3, strides=2), layers.ReLU(), layers.GlobalMaxPooling2D()])(
        _stem(x)
    )


@body
def shared_layers(x: keras.KerasTensor) -> keras.KerasTensor:
    """Each layer called twice, and a model."""
    x = _stem(x)
    convolution, norm = layers.Conv2D(16, 3, padding="same", use_bias=False), layers.BatchNormalization(momentum=0.9)
    inside = keras.Input((16, 16, 16))
    model = keras.Model(inside, layers.Conv2D(16, 1, activation="relu")(inside))
    for _ in range(2):
        x = layers.Add()([x, model(layers.Activation("relu")(norm(convolution(x))))])
    return x


@body
def branches(x: keras.KerasTensor) -> keras.KerasTensor:
    """Inception's, with an average pool of edge windows and factorized convolutions."""
    x = _stem(x)
    for _ in range(2):
        wide = layers.Conv2D(12, (7, 1), padding="same", activation="relu")(
            layers.Conv2D(12, (1, 7), padding="same", activation="relu")(x)
        )
        pooled = _convolved(layers.AveragePooling2D(3, 1, padding="same")(x), 8, 1)
        x = layers.Concatenate()([_convolved(x, 8, 1), _convolved(_convolved(x, 8, 1), 12), wide, pooled])
    return x


@body
def global_max(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.GlobalMaxPooling2D()(_convolved(_stem(x), 32, strides=2))


@body
def rescaled_oddly(x: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Rescaling(2.0, offset=0.5)(_stem(x))
    x = layers.Normalization(mean=[0.5] * 16, variance=[0.25] * 16)(x)
    return layers.Rescaling([0.5] * 24, offset=[0.1] * 24)(_convolved(x, 24, strides=2))


@body
def pixel_normalized(x: keras.KerasTensor) -> keras.KerasTensor:
    """EfficientNet's way in: a norm with constants of its own for each colour."""
    x = layers.Normalization(mean=[0.1, 0.0, -0.1], variance=[0.25, 0.2, 0.3])(x)
    return _excited(_convolved(x, 24, strides=2, activation="swish"), convolutions=True, gate="hard_sigmoid")


@body
def preactivated(x: keras.KerasTensor) -> keras.KerasTensor:
    """ResNetV2's: padded pools, norms and rectifiers before convolutions, pools as shortcuts."""
    x = layers.Conv2D(16, 7, strides=2)(layers.ZeroPadding2D(3)(x))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    for strides in (1, 2):
        before = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
        shortcut = layers.MaxPooling2D(1, strides=strides)(x) if strides > 1 else x
        y = _convolved(before, 8, 1)
        y = layers.Conv2D(16, 3, strides=strides)(layers.ZeroPadding2D(1)(y))
        x = layers.Add()([shortcut, y])
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))


@body
def dense_blocks(x: keras.KerasTensor) -> keras.KerasTensor:
    """DenseNet's: each layer reads all before it; a tensor is normed anew for each reader."""
    x = _stem(x)
    for _ in range(4):
        y = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Concatenate()([x, layers.Conv2D(8, 3, padding="same", use_bias=False)(y)])
    x = layers.AveragePooling2D(2)(_convolved(x, 24, 1))
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))


@body
def inverted_residuals(x: keras.KerasTensor) -> keras.KerasTensor:
    """MobileNetV3's: hard-swish, squeeze and excite inside, linear bottlenecks."""
    x = _convolved(x, 16, strides=2, activation="hard_swish")
    for filters, strides in ((16, 1), (24, 2), (24, 1)):
        y = _convolved(x, 4 * filters, 1, activation="hard_swish")
        y = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(y)
        y = layers.Activation("hard_swish")(layers.BatchNormalization(momentum=0.9)(y))
        y = _convolved(_excited(y, convolutions=True, gate="hard_sigmoid"), filters, 1, activation=None)
        x = layers.Add()([x, y]) if strides == 1 else y
    return x


@body
def plain_stack(x: keras.KerasTensor) -> keras.KerasTensor:
    """VGG's: biases, pools, dense layers on flattened features, dropout."""
    for filters in (16, 32):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    x = layers.Dense(48, activation="relu")(layers.Flatten()(x))
    return layers.Dense(48, activation="relu")(layers.Dropout(0.3)(x))


@body
def dense_only(x: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    return layers.Dense(32, activation="relu")(layers.BatchNormalization(momentum=0.9)(layers.Dense(64)(x)))


@body
def rows_in_sequence(x: keras.KerasTensor) -> keras.KerasTensor:
    """Pixels' rows as steps: convolutions in one dimension."""
    x = layers.Reshape((SIDE, SIDE * 3))(x)
    x = layers.Conv1D(32, 5, strides=2, activation="relu")(x)
    return layers.MaxPooling1D(2)(layers.Conv1D(32, 3, activation="relu")(x))


@body
def softmax_layer(x: keras.KerasTensor) -> keras.KerasTensor:
    """Ends in a Softmax layer; pictures are enlarged and shrunk on the way."""
    x = layers.UpSampling2D(2)(_convolved(_stem(x), 16, strides=2))
    return layers.Resizing(12, 12)(_convolved(x, 24))


@body
def uneven_windows(x: keras.KerasTensor) -> keras.KerasTensor:
    """Even kernels, strides that differ or leave a rest, padding on one side."""
    x = layers.Conv2D(16, (4, 2), strides=(2, 3), padding="same", activation="relu")(x)
    x = layers.ZeroPadding2D(((0, 1), (2, 0)))(x)
    x = layers.MaxPooling2D((2, 3), strides=(3, 2), padding="same")(x)
    return layers.Conv2D(24, 2, strides=2, padding="same", activation="relu")(x)


@body
def pooled_by_attention(x: keras.KerasTensor) -> keras.KerasTensor:
    """A weighted mean over places, by a softmax and a product of matrices."""
    x = layers.Reshape((64, 24))(_convolved(_stem(x), 24, strides=2))
    weights = layers.Softmax(axis=1)(layers.Dense(2)(x))
    return layers.Flatten()(layers.Dot(axes=1)([weights, x]))
