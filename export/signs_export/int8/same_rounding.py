"""Adjusts ranges so that every CPU rounds sums and products of two int8 tensors the same way.

The sum of levels a and b is round(a * r + b * s), where r and s are the inputs' scales divided by the output's. A
product is round(a * b * r). On x86, onnxruntime computes this in float32 and rounds halves to even. On ARM, it computes
sums in 22-bit integers and rounds halves away from zero (mlas/lib/qladd.cpp). So the CPUs differ on halves, and on
results that float32 rounds to a half.

If r = p / q and s = t / q, with whole numbers and q odd, no sum is nearer to a half than 1 / (2 q), and both
arithmetics lose less than that.
"""

from collections import Counter
from collections.abc import Mapping
from math import ceil, floor, frexp

import onnx

LEVELS = 255
# For ratios from 1 to 2, q of a sum is below 2**9: ARM loses at most 2**-13 in each of two products, float32 less.
_SUM_BITS = 9
# A range may be widened by this factor. A tensor that only its sum reads may be widened more: the sum loses its steps.
_LITTLE = 1.1
_MOST_Q = 4095  # of a product: float32 loses at most 2**-14 of a level
# Operators whose outputs are on their inputs' levels.
_KEEP_LEVELS = ("MaxPool", "AveragePool", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze")

# Fixed ranges: a Clip cuts off at its ends, pixels have their own scale, and a HardSigmoid's ends are known.
_FIXED = ("Clip", "DequantizeLinear", "HardSigmoid")

Ranges = dict[str, tuple[float, float]]


def round_the_same(model: onnx.ModelProto, ranges: Ranges, counted: Mapping[str, str]) -> Ranges:
    """Widen the ranges (lowest, highest) of activations slightly, so that sums and products have no halves.

    `counted` maps each activation to the one in `ranges` whose range it uses. From the model's end to its start, each
    operator fits its inputs to its output. An input that a later operator has fitted is not changed again. If an input
    of a sum cannot be fitted, CPUs may round this sum differently.
    """
    ranges = dict(ranges)
    made_by = {name: node for node in model.graph.node for name in node.output}

    def owner(name: str) -> str:
        """The activation in `ranges` that determines the levels of this one."""
        while name in made_by and made_by[name].op_type in _KEEP_LEVELS:
            name = made_by[name].input[0]
        return counted.get(name, name)

    readers = Counter(
        owner(name) for node in model.graph.node for name in node.input if owner(node.output[0]) != owner(name)
    )
    fitted: set[str] = set()
    for node in model.graph.node:
        if node.op_type in _FIXED:
            fitted.add(owner(node.output[0]))
        if node.op_type == "HardSigmoid":  # quantize.py gives it the levels of 0 to 1
            ranges[owner(node.output[0])] = (0.0, 1.0)
    for node in reversed(model.graph.node):
        if node.op_type not in ("Add", "Mul"):
            continue
        output, inputs = owner(node.output[0]), [owner(name) for name in node.input]
        scales = [_scale(ranges, name) for name in (output, *inputs)]
        if len(set(inputs)) < 2 or output in inputs or not all(scales):
            continue
        free = [name for name in inputs if name not in fitted]
        factors: dict[str, float] = {}
        if node.op_type == "Add" and len(free) == 2:
            factors = dict(zip(inputs, _sum_factors(scales[0], scales[1:]), strict=True))
        elif node.op_type == "Mul" and free:
            factors = {free[0]: _product_factor(scales[1] * scales[2] / scales[0])}
        if all(factor <= _LITTLE or readers[name] == 1 for name, factor in factors.items()):
            for name, factor in factors.items():
                ranges[name] = (ranges[name][0] * factor, ranges[name][1] * factor)
            fitted.update(inputs if factors else ())
        fitted.add(output)
    return ranges


def _scale(ranges: Ranges, name: str) -> float:
    low, high = ranges.get(name, (0.0, 0.0))
    return (high - low) / LEVELS


def _sum_factors(output: float, inputs: list[float]) -> list[float]:
    """The factors for two summands' scales, 1 or slightly more."""
    ratios = [scale / output for scale in inputs]
    exponent = max(frexp(max(ratios))[1] - 1, -2)  # power of two; float32 also adds the zero point, of up to 8 bits
    q = max(2 ** (_SUM_BITS - exponent) - 1, 1)
    return [max(ceil(ratio * q), 1) / (ratio * q) for ratio in ratios]


def _product_factor(ratio: float) -> float:
    """The factor for the scale of one of a product's inputs, 1 or slightly more."""
    fractions = []
    for p in range(1, 17):
        q = min(floor(p / ratio), _MOST_Q)
        q -= 1 - q % 2
        if q > 0:
            fractions.append(p / q / ratio)
    return min(fractions, default=1.0)
