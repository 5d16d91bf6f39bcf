"""What an export is set to: one frozen value, light enough for the commands' --help."""

from dataclasses import dataclass
from typing import Literal, get_args

Scaling = Literal["none", "unit", "tf", "torch", "caffe"]
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)


@dataclass(frozen=True)
class ExportConfig:
    """`tolerance` is the largest |probability difference| to Keras that passes, on any picture at any batch size."""

    opset: int = 17  # tf2onnx is tested up to 18; static quantization has had trouble from 21 on
    tolerance: float = 1e-5  # measured on the 1,200 pictures of SIGNS: at most 6e-7
    batch_sizes: tuple[int, ...] = (1, 2, 17)
    parity_pictures: int = 2000  # the test split's first, then others, evenly chosen
    golden_pictures: int = 24
    seed: int | None = None  # of the training; None where this project did not train the model
    command: str = ""
