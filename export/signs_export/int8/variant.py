"""Makes the int8 variant: quantizes, and leaves the worst layers in float if int8 misses its budget."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import onnx

from signs_builder.progress import Progress, no_progress
from signs_export.config import Int8Config
from signs_export.errors import ExportError
from signs_export.int8.calibration import Calibration
from signs_export.int8.float_layers import TRIALS, leave_in_float
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import layers_in_float, quantize
from signs_export.int8.saturation import Saturation, predict_saturation
from signs_export.int8.sensitivity import PICTURES, measure_noise
from signs_export.onnx_graph import precision_of

SKETCHED = 8  # pictures


@dataclass(frozen=True)
class Int8:
    """An int8 model and the measurements of its layers."""

    model: onnx.ModelProto
    everywhere: onnx.ModelProto  # with no layer in float
    noise: dict[str, float]  # what each layer, alone in int8, adds to the answers; see `measure_noise`
    saturation: list[Saturation]

    @property
    def in_float(self) -> tuple[str, ...]:
        """The layers that stayed in float, the noisiest first."""
        return tuple(sorted(layers_in_float(self.model), key=lambda layer: -self.noise.get(layer, 0)))


class NotWorthwhileError(ExportError):
    """int8 is left out: it would be neither smaller nor faster, or miss its budget. The message has the reason."""


def make_int8(
    model: onnx.ModelProto,
    calibration: Calibration,
    is_good: Callable[[onnx.ModelProto], bool],
    check_worth: Callable[[onnx.ModelProto], None],
    config: Int8Config,
    *,
    progress: Progress = no_progress,
) -> Int8:
    """Quantize a folded float32 model so that it is good, and worth its place in a bundle.

    If it is not good, the noisiest layers stay in float, as few as possible. The parity gate then decides, from the
    picture files on. Raises NotWorthwhileError, as `check_worth` does.
    """
    if not _is_smaller(model):
        check_worth(_sketch(model, calibration, config))  # before minutes of rounding
    prepared = prepare(model, calibration, config, progress=progress)
    with progress("Quantizing", 0):
        everywhere = quantize(prepared)
    _check_integers(everywhere)
    check_worth(everywhere)  # with layers in float it is larger, and slower
    noise = measure_noise(prepared, everywhere, calibration.images[:PICTURES], progress=progress)
    chosen = everywhere
    if config.float_layers and not is_good(everywhere):
        repaired = leave_in_float(prepared, noise, is_good, progress=progress)
        if repaired is None:
            raise NotWorthwhileError(
                f"int8 missed its budget, even in up to {TRIALS} trials with its noisiest layers in float. The budget "
                f"is Keras's label on {config.agreement:.2%} of the pictures, close probabilities and no worse accuracy"
            )
        _check_integers(repaired)
        check_worth(repaired)
        chosen = repaired
    return Int8(chosen, everywhere, noise, predict_saturation(chosen, calibration.images))


def _is_smaller(model: onnx.ModelProto) -> bool:
    """Whether int8 halves the bytes: convolutions shrink to a quarter, so they must be two thirds of all weights."""
    sizes = {each.name: each.ByteSize() for each in model.graph.initializer}
    convolved = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    return bool(3 * sum(sizes[name] for name in convolved if name in sizes) >= 2 * sum(sizes.values()))


def _sketch(model: onnx.ModelProto, calibration: Calibration, config: Int8Config) -> onnx.ModelProto:
    """A quick int8 model, as large and as fast as the final one, from a few pictures; its weights do not matter."""
    few = replace(calibration, images=calibration.images[:SKETCHED])
    quick = replace(config, learned_rounding=False, summed_ranges=False, bias_correction=False)
    sketched = quantize(prepare(model, few, quick))
    _check_integers(sketched)
    return sketched


def _check_integers(model: onnx.ModelProto) -> None:
    """Refuse a model with nothing in int8. Raises NotWorthwhileError."""
    if precision_of(model) != "int8":
        raise NotWorthwhileError("no layer of this model would be in int8")
