"""Starts onnxruntime sessions: without telemetry, and only on the requested execution provider."""

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

# By default, these may compute float32 with fewer bits than Keras did: CUDA in TF32, OpenVINO in the device's own
# precision.
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
    spin: bool  # whether waiting threads spin in a loop


def import_onnxruntime() -> Any:  # Any: onnxruntime has no type hints
    """Import onnxruntime with its telemetry off, unless the user has set ORT_DISABLE_TELEMETRY.

    Raises OnnxruntimeMissingError, which names the three ways to install one.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reads it when the library is loaded
    try:
        import onnxruntime

        onnxruntime.InferenceSession, onnxruntime.get_available_providers  # noqa: B018  # an empty folder has neither
    except Exception as error:  # a broken installation may raise anything
        raise OnnxruntimeMissingError(
            f"No onnxruntime could be imported ({error}). `signs doctor` shows what is wrong.\n"
            "Install the one for this device:\n"
            "  pip install onnxruntime           any CPU\n"
            "  pip install onnxruntime-gpu       NVIDIA with CUDA\n"
            "  pip install onnxruntime-openvino  Intel"
        ) from error
    return onnxruntime


def built_devices() -> list[str]:
    """The devices that the installed onnxruntime was built for, whether or not this machine has them."""
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
    """Load a model from bytes or a file, and optimise it if `optimize`; `save_to` keeps the optimised graph.

    `engines` is the folder in which TensorRT keeps its engines.

    onnxruntime itself would fall back to the CPU with only a warning. This raises ProviderError instead, and
    BundleFormatError if onnxruntime cannot load the model.
    """
    onnxruntime = import_onnxruntime()
    provider = require_provider(setting.device)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised below; onnxruntime would also print them
    options.intra_op_num_threads = setting.threads
    options.add_session_config_entry(_SPIN, str(int(setting.spin)))
    # Threads that spin after a run occupy cores; stopping them costs nothing (benchmarks/runtime/session_settings.py).
    options.add_session_config_entry(_STOP_SPINNING, "1")
    # Without the arena it is as fast, and int8 peaks at 97 MiB instead of 107 (the same benchmark).
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
        onnxruntime.set_default_logger_severity(4)  # a provider that fails to start uses the default logger
    content = model if isinstance(model, bytes) else os.fspath(model)
    own = {"num_of_threads": str(setting.threads)} if setting.device == "openvino" else {}
    if engines is not None:
        own |= dict.fromkeys(("trt_engine_cache_enable", "trt_timing_cache_enable"), "1")
        own |= {name: os.fspath(engines) for name in ("trt_engine_cache_path", "trt_timing_cache_path")}
    providers = [(provider, {**_PROVIDER_OPTIONS.get(setting.device, {}), **own})]
    with recording(onnxruntime, options, always=setting.device != "cpu") as count:
        try:
            # The fallback to the CPU would print to stdout; it is refused below.
            session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            _explain_provider(setting.device, provider, str(error))
            raise BundleFormatError(f"onnxruntime cannot load the model: {error}") from error
        if session.get_providers()[0] != provider:
            _explain_provider(setting.device, provider)
            raise ProviderError(
                f"device={setting.device!r}: {provider} did not start here; its libraries may be missing. "
                f"Run `signs doctor --device {setting.device}`."
            )
        session.disable_fallback()  # otherwise a failed run would print a line and run again on the CPU
        try:
            nodes = count(session)
        except Exception as error:  # counting may run the model, which may raise anything
            _explain_provider(setting.device, provider, str(error))
            raise ProviderError(f"device={setting.device!r}: {provider} fails to run the model: {error}") from error
    if nodes is not None and provider not in nodes:
        raise ProviderError(
            f"device={setting.device!r}: {provider} takes none of the model's nodes; all would run on "
            f"{', '.join(nodes)}. Choose another device or variant."
        )
    return session


def require_provider(device: str) -> str:
    """The execution provider of a device, if onnxruntime was built for it. Raises ProviderError if not."""
    provider = PROVIDERS.get(device)
    if provider is None:
        raise ProviderError(f"device={device!r} is unknown; choose one of auto, {', '.join(PROVIDERS)}.")
    available = import_onnxruntime().get_available_providers()
    if provider not in available:
        raise ProviderError(
            f"device={device!r} needs {provider}, but this onnxruntime has only {', '.join(available)}. "
            "Install an onnxruntime that has it (`signs doctor` says which), or choose another device."
        )
    return provider


def _explain_provider(device: str, provider: str, said: str = "") -> None:
    """Raise ProviderError if a provider's own library does not load, or if the message `said` mentions the provider."""
    from signs_runtime.engine.provider_libraries import how_to_get_library, why_not_loadable

    reason = why_not_loadable(provider)
    if reason is not None:
        raise ProviderError(f"device={device!r} cannot be used. {reason}\nTo fix it, {how_to_get_library(reason)}.")
    if device != "cpu" and provider.removesuffix("ExecutionProvider").lower() in said.lower():
        raise ProviderError(f"device={device!r} cannot be used: {said}")


def _load_cuda(onnxruntime: Any) -> None:  # Any: the module
    """Load CUDA's libraries from pip, which the dynamic loader does not find; hide what onnxruntime prints."""
    import contextlib
    import io

    if hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()
