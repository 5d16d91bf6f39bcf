"""Sums that can leave 16 bits are predicted, layer by layer."""

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_export.config import Int8Config
from signs_export.int8.calibration import Calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import quantize
from signs_export.int8.saturation import LARGEST, predict_saturation
from signs_export.onnx_graph import attribute, inner_values, weights_of

NAIVE = Int8Config(
    equalization=0, summed_ranges=False, learned_rounding=False, bias_correction=False, exact_everywhere=False
)


def test_the_predictor_names_every_layer_that_saturates_by_hand(
    straight_onnx: onnx.ModelProto, calibration: Calibration
) -> None:
    images = calibration.images[:10]
    naive = quantize(prepare(straight_onnx, calibration, NAIVE))
    predicted = {layer.layer: layer for layer in predict_saturation(naive, images)}
    assert set(predicted) == {"conv0", "conv1", "conv2", "conv3"}
    by_hand = {name: largest_pair_sum(naive, name, images) for name in predicted}
    assert any(largest > LARGEST for largest in by_hand.values())  # else the test proves nothing
    for name, largest in by_hand.items():
        assert predicted[name].bound >= largest
        assert predicted[name].saturates == (largest > LARGEST)
        if predicted[name].at_risk:  # only pairs that some picture could saturate are measured
            assert predicted[name].measured == largest_pair_sum(naive, name, images, at_risk=True)
    safe = quantize(prepare(straight_onnx, calibration, Int8Config()))
    assert not any(layer.at_risk for layer in predict_saturation(safe, images))
    assert max(largest_pair_sum(safe, name, images) for name in predicted) <= LARGEST


def largest_pair_sum(model: onnx.ModelProto, layer: str, images: NDArray[np.uint8], *, at_risk: bool = False) -> int:
    """The largest |sum of two neighbouring products| of a 3x3 convolution with padding 'same', position by position.

    With `at_risk`, only of the pairs whose weights let a sum leave 16 bits.
    """
    made_by = {name: node for node in model.graph.node for name in node.output}
    node = next(node for node in model.graph.node if node.name == layer)
    weights = onnx.numpy_helper.to_array(weights_of(model)[made_by[node.input[1]].input[0]]).astype(int)
    source = made_by[node.input[0]].input[0]
    stride = attribute(node, "strides", [1, 1])[0]
    before, after = attribute(node, "pads", None)[0], attribute(node, "pads", None)[2]
    filters = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)
    even = filters[:, : filters.shape[1] // 2 * 2]
    of_one_sign = [np.maximum(sign * even[:, ::2], 0) + np.maximum(sign * even[:, 1::2], 0) for sign in (1, -1)]
    counted = (255 * np.maximum(*of_one_sign) > LARGEST) | (not at_risk)  # (o, pairs)
    largest = 0
    for batch in inner_values(model, [source], images):
        values = np.pad(batch[source].astype(int), ((0, 0), (0, 0), (before, after), (before, after)))
        for y in range(0, values.shape[2] - 2, stride):
            for x in range(0, values.shape[3] - 2, stride):
                window = values[:, :, y : y + 3, x : x + 3].transpose(0, 2, 3, 1).reshape(len(values), -1)
                products = window[:, None] * filters  # (n, o, k)
                whole = products[:, :, : products.shape[2] // 2 * 2]
                sums = whole[:, :, ::2] + whole[:, :, 1::2]
                largest = max(largest, int(np.abs(sums * counted).max()))
    return largest
