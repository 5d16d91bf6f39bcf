"""Refuses a model that signs-edge would not export, before onnxruntime sees a byte of it.

`onnx_file` reads the file and allows only what it knows. `sizes` walks through the graph and computes how large each of
its `values` gets, by the rules of `operators`, `layers`, `layout` and `recurrent`.
"""

from signs_runtime.model_check.onnx_file import ModelRefusedError, read_graph
from signs_runtime.model_check.sizes import check_sizes

__all__ = ["ModelRefusedError", "check_model"]


def check_model(content: bytes) -> None:
    """Refuse an ONNX file that is not a plain, self-contained picture classifier of bounded memory and work.

    Raises ModelRefusedError, a BundleFormatError, which names the broken rule.
    """
    check_sizes(read_graph(content))
