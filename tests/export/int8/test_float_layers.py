"""As few layers in float as it takes, in few trials, and no trial longer than it tells something."""

from collections.abc import Collection

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_export.int8 import float_layers
from signs_export.int8.float_layers import TRIALS, Trial, leave_in_float
from signs_export.int8.prepare import Prepared
from signs_export.onnx_graph import answers


@pytest.mark.parametrize("needed", [1, 2, 3, 7, 20, 59])
def test_the_noisiest_layers_stay_in_float_as_few_as_trials_can_tell(
    needed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = {f"layer{i}": 0.7**i for i in range(60)}
    tried: list[int] = []

    def quantize(prepared: Prepared, in_float: Collection[str]) -> onnx.ModelProto:
        assert list(in_float) == list(noise)[: len(in_float)]  # the noisiest
        tried.append(len(in_float))
        return onnx.ModelProto(ir_version=len(in_float))

    monkeypatch.setattr(float_layers, "quantize", quantize)
    prepared = Prepared(onnx.ModelProto(), {}, {})
    found = leave_in_float(prepared, noise, lambda candidate: candidate.ir_version >= needed)
    assert len(tried) <= TRIALS
    assert found is not None
    assert needed <= found.ir_version <= max(1.5 * needed, needed + 2)
    assert found.ir_version == min(count for count in tried if count >= needed)


def test_where_no_number_of_layers_is_enough_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float_layers, "quantize", lambda prepared, in_float: onnx.ModelProto())
    prepared = Prepared(onnx.ModelProto(), {}, {})
    for noise in ({"one": 0.1}, {f"layer{i}": 0.5**i for i in range(30)}, {f"layer{i}": 1.0 for i in range(300)}):
        assert leave_in_float(prepared, noise, lambda candidate: False) is None


def test_a_trial_judges_all_pictures_in_their_order_and_stops_at_one_flip_too_many(
    straight_onnx: onnx.ModelProto, pictures: Dataset
) -> None:
    images = np.asarray(pictures.test.pictures)
    expected = answers(straight_onnx, images)
    judged: list[NDArray[np.float32]] = []

    def passes(given: NDArray[np.float32]) -> bool:
        judged.append(given)
        return True

    assert Trial(images, expected, passes, flips=0, thresholds=())(straight_onnx)
    assert np.allclose(judged[0], expected, atol=1e-6)
    assert not Trial(images, expected[:, ::-1], passes, flips=len(images) // 4, thresholds=())(straight_onnx)
    assert len(judged) == 1  # it was not asked
