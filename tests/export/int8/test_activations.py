"""What is observed of activations follows what is done to the model."""

import numpy as np
import onnx

from signs_export.int8.activations import observe
from signs_export.int8.calibration import Calibration
from signs_export.int8.equalize import equalize, find_streams


def test_observations_divided_are_those_of_the_equalized_model(
    straight_onnx: onnx.ModelProto, calibration: Calibration
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(straight_onnx)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    streams = find_streams(model)
    names = [name for stream in streams for name in stream.tensors]
    divided = observe(model, convolutions, names, names, calibration.images)
    factors = equalize(model, streams, divided.largest(), 0.5)
    assert len(factors) == len(names)
    assert all(factor.min() < 0.9 for factor in factors.values())  # else the test proves nothing
    divided.divide(convolutions, factors)
    seen = observe(model, convolutions, names, names, calibration.images)
    for these, those in ((divided.rows, seen.rows), (divided.lowest, seen.lowest), (divided.highest, seen.highest)):
        for name, values in those.items():
            assert np.allclose(these[name], values, rtol=1e-4, atol=1e-5)
