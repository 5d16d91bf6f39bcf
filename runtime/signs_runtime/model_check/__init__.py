"""Refuses a model that no exported classifier is, before onnxruntime sees a byte of it.

`onnx_file` reads the file and allows no more than it knows; `sizes` walks the graph and works out, by the rules of
`operators` and `layers`, how large each of its `values` gets.
"""

from signs_runtime.model_check.onnx_file import ModelRefusedError, read_graph
from signs_runtime.model_check.sizes import check_sizes

__all__ = ["ModelRefusedError", "check_model"]


def check_model(content: bytes) -> None:
    """Refuse an ONNX file that is not a plain, self-contained picture classifier of bounded memory and work.

    Raises ModelRefusedError, a BundleFormatError, with the rule that it breaks.
    """
    check_sizes(read_graph(content))
