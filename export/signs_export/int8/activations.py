"""Runs the calibration pictures through a float32 model once, and records what int8 needs of its activations."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_export.int8.convolution_windows import some_rows
from signs_export.onnx_graph import BATCH, inner_values

_ROWS = 2000  # random windows of calibration pictures on which a layer's rounding is learned


@dataclass
class Observations:
    """Random windows of the convolutions' inputs, and the extremes of tensors (n, channels, ...).

    `rows` maps layers to (groups, rows, k). `lowest` and `highest` map tensors to (channels,), or to (1,) for tensors
    that are not observed channel by channel.
    """

    rows: dict[str, NDArray[np.float32]]
    lowest: dict[str, NDArray[np.float32]]
    highest: dict[str, NDArray[np.float32]]

    def largest(self) -> dict[str, NDArray[np.float32]]:
        """The largest |value| of each channel, by tensor."""
        return {name: np.maximum(-self.lowest[name], high) for name, high in self.highest.items()}

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The (lowest, highest) value by tensor; the range includes 0."""
        return {
            name: (min(0.0, float(self.lowest[name].min())), max(0.0, float(high.max())))
            for name, high in self.highest.items()
        }

    def divide(self, convolutions: Iterable[onnx.NodeProto], factors: dict[str, NDArray[np.float32]]) -> None:
        """Adjust the observations, in place, as if the model had divided its tensors by these factors, (channels,)."""
        for node in convolutions:
            if (factor := factors.get(node.input[0])) is not None:
                rows = self.rows[node.name]
                rows /= np.tile(factor, rows.shape[2] // len(factor))
        for extremes in (self.lowest, self.highest):
            for name in extremes.keys() & factors.keys():
                extremes[name] = extremes[name] / factors[name]


def observe(
    model: onnx.ModelProto,
    convolutions: Collection[onnx.NodeProto],
    tensors: Collection[str],
    channelwise: Collection[str],
    images: NDArray[np.uint8],
) -> Observations:
    """Run images, uint8 (n, h, w, c), and observe these tensors, those in `channelwise` channel by channel."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[NDArray[np.float32]]] = {node.name: [] for node in convolutions}
    lowest: dict[str, NDArray[np.float32]] = {}
    highest: dict[str, NDArray[np.float32]] = {}
    count = -(-_ROWS * BATCH // len(images))
    names = {node.input[0] for node in convolutions}.union(tensors)
    for batch in inner_values(model, sorted(names), images):
        for node in convolutions:
            rows[node.name].append(some_rows(batch[node.input[0]], node, count, rng))
        for name, values in batch.items():
            if values.dtype == np.float32:
                channels = len(values[0]) if name in channelwise else 1
                low, high = (_over_pictures(values, reduce, channels) for reduce in (np.minimum, np.maximum))
                lowest[name] = np.minimum(lowest.get(name, low), low)
                highest[name] = np.maximum(highest.get(name, high), high)
    joined = {name: np.concatenate(found, axis=1) for name, found in rows.items()}
    return Observations(joined, lowest, highest)


def _over_pictures(values: NDArray[np.float32], reduce: np.ufunc, channels: int) -> NDArray[np.float32]:
    """(n, channels, ...) to (channels,): reduces over pictures first, because this reads memory in order."""
    extreme: NDArray[np.float32] = reduce.reduce(reduce.reduce(np.atleast_1d(values)).reshape(channels, -1), axis=1)
    return extreme
