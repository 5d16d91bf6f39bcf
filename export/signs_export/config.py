"""The settings of an export, as frozen dataclasses that import quickly enough for the commands' --help."""

from dataclasses import dataclass
from typing import Literal, get_args

from signs_runtime.bundle.manifest import Budget, Precision

Scaling = Literal["none", "unit", "tf", "torch", "caffe"]
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)


# An int8 or float16 variant may differ from Keras by this many times what its precision alone costs in Keras.
COARSE_MULTIPLE = 4
# Allowed mean differences of a probability. Measured on SIGNS: float16 3e-5, int8 1.3e-4; on other people's models
# up to 1.1e-3 and 2.3e-3.
LEAST_FLOAT16, INT8_MEAN = 1e-3, 5e-3
VariantName = Literal["fp32", "int8", "fp16"]
VARIANTS: tuple[VariantName, ...] = get_args(VariantName)  # to choose from; the first is the default
INT8_GEMM = "int8-gemm"  # int8's integers, with late convolutions as matrix products; comes with int8
FILES = ("fp32", "int8", INT8_GEMM, "fp16")  # the variants of a bundle, in its order


@dataclass(frozen=True)
class Int8Config:
    """How an int8 variant is made, and which agreement it must reach to be sealed.

    `benchmarks/export/int8_methods.py` measures the effect of each choice.
    """

    calibration_pictures: int = 200
    equalization: float = 0.5  # 0: none; 1: all channels of a tensor get the same range
    summed_ranges: bool = True
    learned_rounding: bool = True
    bias_correction: bool = True
    exact_everywhere: bool = True  # False: weights use all 8 bits, and CPUs without VNNI may saturate
    agreement: float = 0.99  # least share of pictures with Keras's label; also for float16
    float_layers: bool = True  # leave layers in float if that share is missed


@dataclass(frozen=True)
class ExportConfig:
    """How a model is exported, proved and sealed."""

    opset: int = 17  # tf2onnx is tested up to 18; static quantization has had problems from 21 on
    batch_sizes: tuple[int, ...] = (1, 2, 17)
    parity_pictures: int = 2000  # first those of the test split, then others, evenly chosen
    golden_pictures: int = 24  # at least; one for each label that occurs, up to `golden_bytes`
    golden_bytes: int = 8 * 2**20  # for their pixels and answers
    variants: tuple[VariantName, ...] = ("fp32",)
    int8: Int8Config = Int8Config()
    speed_rounds: int = 3
    seed: int | None = None  # of the training; None if this project did not train the model
    command: str = ""
    as_is: bool = False  # seal even if the pictures contradict the model
    calibrate: bool = False  # divide the logits by a temperature, so that a probability matches how often it is right
    others: str | None = None  # a folder of pictures that show none of the labels, or `drawn`

    def budget(self, precision: Precision, float32_tolerance: float, float16_noise: float = 0.0) -> Budget:
        """The limits that the gate sets for a variant of this precision; for float32 see `noise_floor`.

        `float16_noise` is the mean difference of probabilities that float16's rounding causes in Keras itself.
        """
        if precision == "float32":
            return Budget(1.0, float32_tolerance, None)
        if precision == "float16":
            mean = min(max(LEAST_FLOAT16, COARSE_MULTIPLE * float16_noise), INT8_MEAN)
            return Budget(self.int8.agreement, None, mean)
        return Budget(self.int8.agreement, None, INT8_MEAN)
