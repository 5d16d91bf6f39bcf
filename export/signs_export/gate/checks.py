"""The gate's checks other than the answers: each is a value with a text and the stage at fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.numpy_helper import to_array

from signs_export.gate.evidence import Evidence
from signs_export.gate.trace import Stage, first_difference, walk_pixels
from signs_export.int8.saturation import predict_saturation
from signs_export.onnx_graph import inner_values, weights_of
from signs_runtime import Classifier
from signs_runtime.bundle.onnx_metadata import WEIGHTS_KEY
from signs_runtime.pictures.read import read_image
from signs_runtime.proof import checks

PICTURES = 40  # on which int8's ranges and sums are checked
# Allowed share of a tensor's numbers that exceed int8's range by a tenth. Measured: 1e-5; calibrated on noise 8e-4 to
# 8e-2.
MOST_CLIPPED = 2e-4
_BEYOND = 1.1
_SPARED = 8  # numbers of a tensor that may exceed it: in a small tensor, one odd picture would be a large share
# Least used share of int8's ranges, for the median tensor. Measured: 0.65 to 1; calibrated on noise 0.31. A summand
# much smaller than its sum has a wider range than it uses (int8.same_rounding), but those are few.
LEAST_USED = 0.4
FEW = 24  # pictures; fewer than this may leave ranges unused
_AT_BOUND = 1e-4  # share of a stage's numbers at its maximum that shows a cut-off there (ReLU6)
_NOTHING = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Check(checks.Check):
    """One check of the gate, with the stage at fault if it failed."""

    stage: str | None = None  # where it goes wrong; None if the check passed or cannot tell


def check_labels(classifier: Classifier, misnamed: int, evidence: Evidence) -> Check:
    """Check that the labels are the data's, in the order of the outputs. `misnamed`: answers with a wrong label."""
    labels = classifier.labels
    if classifier.thresholds != evidence.thresholds:
        says = f"the export's thresholds are {classifier.thresholds}, but the proof's are {evidence.thresholds}"
        return Check("labels", False, says, "labels")
    wrong = [i for i, (given, wanted) in enumerate(zip(labels, evidence.labels, strict=True)) if given != wanted]
    if wrong:
        shown = ", ".join(f"output {i} is {labels[i]!r}, but {evidence.labels[i]!r} in the data" for i in wrong[:5])
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        return Check("labels", False, f"{shown}{more}", "labels")
    if misnamed:
        return Check("labels", False, f"{misnamed:,} answers have a label that does not match their outputs", "labels")
    return Check("labels", True, f"all {len(labels)}, in the data's order")


def read_differently(classifier: Classifier, evidence: Evidence) -> tuple[Path, tuple[Stage, ...]] | None:
    """The first file that the runtime reads differently from training, with its stages; None if there is none.

    Probes come first: they are made to tell the stages apart.
    """
    probes = [read_image(file, evidence.input) for file in evidence.probes]
    for file, expected in zip((*evidence.probes, *evidence.files), (*probes, *evidence.images), strict=True):
        if not np.array_equal(classifier.preprocess(file), expected):
            return file, walk_pixels(classifier, file, evidence.input)
    return None


def check_pixels(
    classifier: Classifier, evidence: Evidence, difference: tuple[Path, tuple[Stage, ...]] | None
) -> Check:
    """Check that the runtime reads every file to exactly the pixels that Keras saw.

    `difference` is the result of `read_differently`.
    """
    if difference is not None:
        file, stages = difference
        first = first_difference(stages) or stages[-1]
        says = f"{file.name} gives other pixels than in training, from the stage {first.name} on: {first.says}"
        return Check("preprocessing", False, says, first.name)
    if classifier.input != evidence.input:
        says = f"the export reads pictures as {classifier.input}, but training as {evidence.input}"
        return Check("preprocessing", False, says, "resized")
    kinds = f"{len(evidence.probes)} probes of other kinds and sizes"
    says = f"identical pixels for {len(evidence.files):,} files and {kinds}"
    return Check("preprocessing", True, says)


def check_layers(stages: Sequence[Stage], evidence: Evidence) -> Check:
    """Check that each stage of the model is what Keras computes there."""
    first = first_difference(stages)
    pictures = len(evidence.stages.images)
    if first is not None:
        return Check(
            "layers", False, f"the first of {len(stages)} stages that differs is {first.name}: {first.says}", first.name
        )
    worst = max(stages, key=lambda stage: stage.error / stage.limit, default=None)
    closest = "" if worst is None else f"; closest to its limit is {worst.name}, {worst.says}"
    return Check("layers", True, f"{len(stages)} stages compared on {pictures} pictures{closest}")


def check_batches(answers: Mapping[int, NDArray[np.float32]], limit: float) -> Check:
    """Check that a picture gets the same answer in every batch; `answers` (n, labels) by batch size."""
    together = np.stack(list(answers.values()))
    spread = float(np.nan_to_num(np.ptp(together, axis=0), nan=np.inf).max())
    passed = spread <= limit
    sizes = ", ".join(map(str, answers))
    says = f"answers at batch sizes {sizes} differ by up to {spread:.1e}, allowed {limit:.1e}"
    return Check("batch sizes", passed, says, None if passed else "batch")


def check_ranges(model: onnx.ModelProto, evidence: Evidence, images: NDArray[np.uint8]) -> Check:
    """Check that int8's ranges fit real pictures; wrongly calibrated ranges clip activations or are hardly used."""
    levels = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    # Requantized values, as in a hard sigmoid, are skipped: they are clipped on purpose, and were counted before.
    entries = [node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] not in levels]
    parameters = weights_of(model)
    bounded = {name for name, values in evidence.stages.values.items() if (values == values.max()).mean() > _AT_BOUND}
    clipped = dict.fromkeys((node.input[0] for node in entries), 0)
    total, reach = dict.fromkeys(clipped, 0), dict.fromkeys(clipped, 0.0)
    for batch in inner_values(model, list(clipped), images):
        for node in entries:
            name, values = node.input[0], batch[node.input[0]]
            scale, zero = (to_array(parameters[each]) for each in node.input[1:3])
            above = np.iinfo(zero.dtype).max - int(zero)
            reach[name] = max(reach[name], min(1.0, float(values.max()) / max(above * float(scale), _NOTHING)))
            if name not in bounded:
                clipped[name] += int((values > (_BEYOND * above + 0.5) * float(scale)).sum())
            total[name] += values.size
    shares = {name: max(0, clipped[name] - _SPARED) / total[name] for name in clipped}
    used = float(np.median(list(reach.values()))) if reach else 1.0
    says = (
        f"up to {max(shares.values(), default=0.0):.1e} of a tensor's numbers are far above int8's range, allowed "
        f"{MOST_CLIPPED:.0e}; the median range is used to {used:.0%}, required {LEAST_USED:.0%}"
    )
    first = next((name for name, share in shares.items() if share > MOST_CLIPPED), None)
    if first is None and used < LEAST_USED and len(images) >= FEW:
        first = min(reach, key=lambda name: reach[name])
    return Check("calibration", first is None, says, first)


def check_sums(model: onnx.ModelProto, images: NDArray[np.uint8]) -> Check:
    """Check that no sum of two products can overflow the 16 bits in which CPUs without VNNI add them."""
    layers = predict_saturation(model, images)
    risky = [layer for layer in layers if layer.at_risk]
    if not risky:
        return Check("every CPU", True, f"none of {len(layers)} int8 layers can overflow 16 bits on any CPU")
    names = ", ".join(layer.layer for layer in risky[:5])
    more = f" and {len(risky) - 5} more" if len(risky) > 5 else ""
    says = f"{len(risky)} of {len(layers)} int8 layers can overflow 16 bits on x86 without VNNI: {names}{more}"
    return Check("every CPU", False, says, risky[0].layer)


def check_weights(model: onnx.ModelProto, evidence: Evidence) -> Check:
    """Check that the file's metadata names the Keras model's weights."""
    said = next((each.value for each in model.metadata_props if each.key == WEIGHTS_KEY), None)
    if said == evidence.weights_sha256:
        return Check("weights", True, f"made from Keras's weights {said[:12]}")
    whose = "names none" if said is None else f"was made from {said[:12]}"
    return Check(
        "weights",
        False,
        f"the Keras model has the weights {evidence.weights_sha256[:12]}, but the file {whose}",
        "weights",
    )
