"""Starts onnxruntime: telemetry off, and on the execution provider that was asked for or not at all."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signs_runtime.engine.nodes import recording
from signs_runtime.errors import BundleFormatError, OnnxruntimeMissingError, ProviderError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}

# By default these may compute float32 with fewer bits than Keras did: CUDA in TF32, OpenVINO in what the device has.
_PROVIDER_OPTIONS: Mapping[str, dict[str, str]] = {
    "cuda": {"use_tf32": "0"},
    "openvino": {"device_type": "CPU", "precision": "ACCURACY"},
}

_SPIN, _STOP_SPINNING = "session.intra_op.allow_spinning", "session.force_spinning_stop"


@dataclass(frozen=True)
class Setting:
    """How a session computes."""

    device: str  # one of PROVIDERS
    threads: int  # that compute one operator together
    spin: bool  # threads that wait for their part of an operator do so in a loop


def import_onnxruntime() -> Any:  # Any: onnxruntime has no type hints
    """Import onnxruntime with its telemetry off, unless the user has set the variable himself.

    Raises OnnxruntimeMissingError with the three ways to install one.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
    try:
        import onnxruntime

        onnxruntime.InferenceSession, onnxruntime.get_available_providers  # noqa: B018  # an empty folder has neither
    except Exception as error:  # a broken installation raises whatever is missing first
        raise OnnxruntimeMissingError(
            f"No onnxruntime could be imported ({error}); `signs doctor` says what is wrong. Install the one for this "
            "device:\n"
            "  pip install 'signs-runtime[cpu]'       any CPU\n"
            "  pip install 'signs-runtime[gpu]'       NVIDIA with CUDA\n"
            "  pip install 'signs-runtime[openvino]'  Intel"
        ) from error
    return onnxruntime


def built_devices() -> list[str]:
    """The devices that the installed onnxruntime was built for, whether or not they are here."""
    available = import_onnxruntime().get_available_providers()
    return [device for device, provider in PROVIDERS.items() if provider in available]


def start_session(
    model: bytes | Path,
    setting: Setting,
    *,
    optimize: bool = True,
    save_to: Path | None = None,
    engines: Path | None = None,
) -> Any:  # Any: onnxruntime.InferenceSession
    """Load a model, or the file of one, and optimise it unless it was; `save_to` keeps the optimised graph.

    `engines` is the folder in which TensorRT keeps its engines.

    onnxruntime itself falls back to the CPU with no more than a warning. Raises ProviderError instead, and
    BundleFormatError for what is not an ONNX model.
    """
    onnxruntime = import_onnxruntime()
    provider = require_provider(setting.device)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised below; onnxruntime would also print it
    options.intra_op_num_threads = setting.threads
    options.add_session_config_entry(_SPIN, str(int(setting.spin)))
    # Spinning on after a run takes the core from others; stopping costs nothing (benchmarks/session_settings.py).
    options.add_session_config_entry(_STOP_SPINNING, "1")
    # As fast without, and int8 peaks at 97 MiB instead of 107 (the same benchmark).
    options.enable_cpu_mem_arena = False
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save_to is not None:
        options.optimized_model_filepath = os.fspath(save_to)
        prefix = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(f"{prefix}file_name", f"{save_to.stem}.bin")  # mapped into memory when loaded
        options.add_session_config_entry(f"{prefix}min_size_in_bytes", "1024")
    if setting.device in ("cuda", "tensorrt"):
        _load_cuda(onnxruntime)
    if setting.device != "cpu":
        onnxruntime.set_default_logger_severity(4)  # a provider that does not start logs apart from its session
    content = model if isinstance(model, bytes) else os.fspath(model)
    own = {"num_of_threads": str(setting.threads)} if setting.device == "openvino" else {}
    if engines is not None:
        own |= dict.fromkeys(("trt_engine_cache_enable", "trt_timing_cache_enable"), "1")
        own |= {name: os.fspath(engines) for name in ("trt_engine_cache_path", "trt_timing_cache_path")}
    providers = [(provider, {**_PROVIDER_OPTIONS.get(setting.device, {}), **own})]
    with recording(onnxruntime, options, always=setting.device != "cpu") as count:
        try:
            # Its fallback to the CPU prints to stdout, and is refused below.
            session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            _explain_provider(setting.device, provider, str(error))
            raise BundleFormatError(f"onnxruntime cannot load the model: {error}") from error
        if session.get_providers()[0] != provider:
            _explain_provider(setting.device, provider)
            raise ProviderError(
                f"device={setting.device!r}: {provider} did not start here; its libraries may be missing."
            )
        session.disable_fallback()  # or a failed run would print a line and start again on the CPU
        try:
            nodes = count(session)
        except Exception as error:  # a run may be part of it, which fails as runs do
            _explain_provider(setting.device, provider, str(error))
            raise ProviderError(f"device={setting.device!r}: {provider} fails to run the model: {error}") from error
    if nodes is not None and provider not in nodes:
        raise ProviderError(
            f"device={setting.device!r}: {provider} takes none of the model's nodes, which would all run on "
            f"{', '.join(nodes)}; choose another device or variant."
        )
    return session


def require_provider(device: str) -> str:
    """Onnxruntime's name for a device that it was built for. Raises ProviderError with what it has."""
    provider = PROVIDERS.get(device)
    if provider is None:
        raise ProviderError(f"device={device!r} is unknown; choose one of auto, {', '.join(PROVIDERS)}.")
    available = import_onnxruntime().get_available_providers()
    if provider not in available:
        raise ProviderError(
            f"device={device!r} needs {provider}, and this onnxruntime has {', '.join(available)}; "
            f"install signs-runtime's extra for it, or choose another device."
        )
    return provider


def _explain_provider(device: str, provider: str, said: str = "") -> None:
    """Raise ProviderError where a provider's own library does not load, or `said` names the provider as the reason."""
    from signs_runtime.engine.provider_libraries import how_to_get_library, why_not_loadable

    reason = why_not_loadable(provider)
    if reason is not None:
        raise ProviderError(f"device={device!r} cannot be used. {reason}\nTo mend it: {how_to_get_library(reason)}.")
    if device != "cpu" and provider.removesuffix("ExecutionProvider").lower() in said.lower():
        raise ProviderError(f"device={device!r} cannot be used: {said}")


def _load_cuda(onnxruntime: Any) -> None:  # Any: the module
    """Load CUDA's libraries that pip installed, which the dynamic loader does not find; it prints what it misses."""
    import contextlib
    import io

    if hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()
