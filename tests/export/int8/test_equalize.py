"""Equalizing brings channels closer and changes no answer."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_export.int8.equalize import equalize, find_streams
from signs_export.onnx_graph import answers, inner_values


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_equalizing_changes_ranges_and_no_answer(
    straight_onnx: onnx.ModelProto, pictures: Dataset, strength: float
) -> None:
    images = np.asarray(pictures.test.pictures)
    before = answers(straight_onnx, images)
    changed = onnx.ModelProto()
    changed.CopyFrom(straight_onnx)
    streams = find_streams(changed)
    assert len(streams) == 3  # between four convolutions; behind the last comes no reader that can take a factor
    names = [name for stream in streams for name in stream.tensors]

    def maxima() -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}
        for batch in inner_values(changed, names, images):
            for name, values in batch.items():
                found[name] = np.maximum(found.get(name, 0), values.max(axis=(0, 2, 3)))
        return found

    def spread() -> float:
        return max(float(largest.max() / largest[largest > 0].min()) for largest in maxima().values())

    apart = spread()
    equalize(changed, streams, maxima(), strength)
    assert np.allclose(answers(changed, images), before, atol=1e-5)
    assert spread() < (1.01 if strength == 1 else apart**0.6)
