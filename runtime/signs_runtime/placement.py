"""Decides where a model runs and says why: what is asked for by name, or the first of several that proves itself."""

from collections.abc import Iterator
from dataclasses import dataclass

from signs_runtime.errors import ProviderError
from signs_runtime.limits import Limits
from signs_runtime.session import PROVIDERS, Setting, built_devices

AUTO = "auto"

# Tried without a measurement, in this order; the others only where `signs tune` has measured them, or by name.
_ACCELERATORS = ("cuda", "directml", "migraphx", "openvino", "coreml")


@dataclass(frozen=True)
class Placement:
    """Where a classifier runs."""

    requested: str  # "auto" or one of PROVIDERS
    device: str  # one of PROVIDERS
    provider: str  # onnxruntime's name for it
    why: str  # a sentence
    variant: str  # of the bundle, or the model file's name
    threads: int  # that compute one operator together
    spin: bool  # they wait for work in a loop
    nodes: dict[str, int] | None  # of the optimised graph, by provider; None where onnxruntime does not tell


@dataclass(frozen=True)
class Choice:
    """A setting to try, and why it."""

    setting: Setting
    why: str
    must_prove: bool = False  # nobody asked for this device and nothing was measured on it


def setting_for(device: str, threads: int | None, limits: Limits) -> Setting:
    """How a session on this device computes: with the threads asked for, or with as many as may run at once."""
    chosen = limits.threads if threads is None else threads
    if chosen < 1:
        raise ValueError(f"threads={threads} computes nothing; give a number from 1, or None for what is allowed.")
    return Setting(device, chosen, spin=limits.may_spin and 1 < chosen <= limits.cores)


def choices(requested: str, threads: int | None, limits: Limits, *, is_provable: bool) -> Iterator[Choice]:
    """The settings to try in turn, where nothing was measured: the device asked for, or auto's, and the CPU last.

    Raises ProviderError for an unknown device.
    """
    if requested != AUTO:
        if requested not in PROVIDERS:
            raise ProviderError(f"device={requested!r} is unknown; choose one of {AUTO}, {', '.join(PROVIDERS)}.")
        yield Choice(setting_for(requested, threads, limits), "asked for by name")
        return
    built = built_devices()
    for device in _ACCELERATORS if is_provable else ():
        if device in built:
            why = f"this onnxruntime was built for {PROVIDERS[device]}, which answers the golden pictures as Keras did"
            yield Choice(setting_for(device, threads, limits), why, must_prove=True)
    others = [device for device in built if device != "cpu"]
    why = "this onnxruntime has no other device" if not others else "no other device was measured or proved here"
    yield Choice(setting_for("cpu", threads, limits), why)
