"""Starts onnxruntime: telemetry off, and on the execution provider that was asked for or not at all."""

import os
from typing import Any

from signs_runtime.errors import BundleFormatError, OnnxruntimeMissingError, ProviderError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}


def import_onnxruntime() -> Any:  # Any: onnxruntime has no type hints
    """Import onnxruntime with its telemetry off, unless the user has set the variable himself.

    Raises OnnxruntimeMissingError with the three ways to install one.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
    try:
        import onnxruntime
    except ImportError as error:
        raise OnnxruntimeMissingError(
            f"No onnxruntime could be imported ({error}); install the one for this device:\n"
            "  pip install 'signs-runtime[cpu]'       any CPU\n"
            "  pip install 'signs-runtime[gpu]'       NVIDIA with CUDA\n"
            "  pip install 'signs-runtime[openvino]'  Intel"
        ) from error
    return onnxruntime


def start_session(model: bytes, device: str, threads: int | None) -> Any:  # Any: onnxruntime.InferenceSession
    """Load a model on `device` ("cpu", "cuda", "openvino"), with `threads` for one operator (None: as many as cores).

    onnxruntime itself falls back to the CPU with no more than a warning. Raises ProviderError instead, and
    BundleFormatError for bytes that are not an ONNX model.
    """
    onnxruntime = import_onnxruntime()
    provider = PROVIDERS.get(device)
    if provider is None:
        raise ProviderError(f"device={device!r} is unknown; choose one of {', '.join(PROVIDERS)}.")
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise ProviderError(
            f"device={device!r} needs {provider}, and this onnxruntime has {', '.join(available)}; "
            f"install signs-runtime's extra for it, or choose another device."
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised below; onnxruntime would also print it
    options.intra_op_num_threads = threads or 0
    try:
        session = onnxruntime.InferenceSession(model, options, providers=[provider])
    except Exception as error:  # onnxruntime's exceptions share no base class but this
        raise BundleFormatError(f"onnxruntime cannot load the model: {error}") from error
    if session.get_providers()[0] != provider:
        raise ProviderError(f"device={device!r}: {provider} did not start here; its libraries may be missing.")
    session.disable_fallback()  # or a failed run would print a line and start again on the CPU
    return session
