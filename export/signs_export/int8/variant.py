"""The int8 variant: quantized, and where it misses its budget repaired by leaving the worst layers in float."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.progress import Progress, no_progress
from signs_export.config import Int8Config
from signs_export.int8.calibration import Calibration
from signs_export.int8.prepare import Prepared, prepare
from signs_export.int8.quantize import layers_in_float, quantize
from signs_export.int8.saturation import Saturation, predict_saturation
from signs_export.int8.sensitivity import PICTURES, measure_noise
from signs_export.onnx_graph import answers


@dataclass(frozen=True)
class Int8:
    """An int8 model and what was found out about its layers."""

    model: onnx.ModelProto
    everywhere: onnx.ModelProto  # without any layer in float
    noise: dict[str, float]  # what each layer, alone in int8, brings into the answers; see `measure_noise`
    saturation: list[Saturation]

    @property
    def in_float(self) -> tuple[str, ...]:
        """The layers that stayed in float, those that do most damage first."""
        return tuple(sorted(layers_in_float(self.model), key=lambda layer: -self.noise.get(layer, 0)))


def make_int8(
    model: onnx.ModelProto,
    calibration: Calibration,
    images: NDArray[np.uint8],
    passes: Callable[[NDArray[np.float32]], bool],
    config: Int8Config,
    *,
    progress: Progress = no_progress,
) -> Int8:
    """Quantize a folded float32 model so that its probabilities (n, labels) for `images`, uint8 (n, h, w, c), pass.

    Where they do not, the layers that bring most noise stay in float, as few as it takes. Whether that suffices from
    the picture files on is the parity gate's to say.
    """
    prepared = prepare(model, calibration, config, progress=progress)
    with progress("Quantizing", 0):
        everywhere = quantize(prepared)
    noise = measure_noise(prepared, everywhere, calibration.images[:PICTURES], progress=progress)

    def is_good(candidate: onnx.ModelProto) -> bool:
        return passes(answers(candidate, images))

    chosen = everywhere
    if config.float_layers and not is_good(everywhere):
        with progress("Leaving layers in float", 0):
            chosen = _repaired(prepared, sorted(noise, key=lambda layer: -noise[layer]), is_good)
    return Int8(chosen, everywhere, noise, predict_saturation(chosen, calibration.images))


def _repaired(prepared: Prepared, ranked: list[str], is_good: Callable[[onnx.ModelProto], bool]) -> onnx.ModelProto:
    """Leave the first few of the ranked layers in float: twice as many until it suffices, then as few as do."""
    most = max(1, len(ranked) - 1)
    too_few, count = 0, 1
    while not is_good(model := quantize(prepared, ranked[:count])):
        if count == most:
            return model
        too_few, count = count, min(2 * count, most)
    while count - too_few > 1:
        middle = (too_few + count) // 2
        if is_good(fewer := quantize(prepared, ranked[:middle])):
            model, count = fewer, middle
        else:
            too_few = middle
    return model
